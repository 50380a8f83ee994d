"""Viewer of trained avatars: controls of a head, comparing pictures, overlays and camera paths, and the page."""
