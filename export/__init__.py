"""Exports of trained avatars to files that other programs open: points of Gaussians, meshes, pictures and videos.

This door needs no torch; `headbench.export.write` has the export itself.
"""

from headbench.export.formats import FORMATS, Format, format_of

__all__ = ["FORMATS", "Format", "format_of"]
