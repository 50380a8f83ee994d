"""Reader of the INSTA layout: metrical-tracker's FLAME fits, exported by INSTA's scripts."""
