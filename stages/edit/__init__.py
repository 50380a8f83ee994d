"""Stage ``edit``: a stack of edits of a baked avatar's maps."""
