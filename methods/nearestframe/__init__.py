"""The nearest-frame baseline."""

from headbench.methods.nearestframe.config import NearestFrameConfig
from headbench.methods.nearestframe.model import NearestFrame

__all__ = ["NearestFrame", "NearestFrameConfig"]
