"""The IMAvatar layout: DECA's FLAME fits, also of PointAvatar's and NerFace's people."""
