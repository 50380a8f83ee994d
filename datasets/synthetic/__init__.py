"""Synthetic subjects on the open head, rendered by ray casts, in the layouts of real datasets."""

from headbench.datasets.synthetic.write import LAYOUTS, write_synthetic

__all__ = ["LAYOUTS", "write_synthetic"]
