"""Reader of the layout that VHAP exports and GaussianAvatars trains on."""
