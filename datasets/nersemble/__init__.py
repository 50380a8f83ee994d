"""The files of the NeRSemble benchmark's task mono FLAME avatar, as they lie on disk."""
