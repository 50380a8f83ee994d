"""Stage ``complete``: the unseen part of a head, trained on views that a prior makes."""
