"""The HTML page of a report: one file that needs no network, in which tables, curves and frames answer each other."""

from headbench.reports.html.figure import Figure
from headbench.reports.html.scene import Embed, Scene, Source

__all__ = ["Embed", "Figure", "Scene", "Source"]
