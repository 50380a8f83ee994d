"""Reader of the IMAvatar layout: DECA's FLAME fits, also of PointAvatar's, NerFace's and EmoTalk3D's people."""
