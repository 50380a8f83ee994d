"""The nearest-frame baseline: a method without training that every other one must beat."""

from headbench.methods.nearestframe.config import NearestFrameConfig
from headbench.methods.nearestframe.model import NearestFrame

__all__ = ["NearestFrame", "NearestFrameConfig"]
