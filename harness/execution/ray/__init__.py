"""Executor that brings cells to Ray: a cluster of this machine's own, or one that runs already."""
