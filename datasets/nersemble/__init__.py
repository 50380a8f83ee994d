"""Reader of the NeRSemble benchmark's task mono FLAME avatar, from the files that its downloader leaves."""
