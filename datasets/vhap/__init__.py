"""The layout that VHAP exports and GaussianAvatars trains on."""
