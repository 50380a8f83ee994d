"""The method GaussianAvatars (CVPR 2024)."""

from headbench.methods.gaussianavatars.config import GaussianAvatarsConfig
from headbench.methods.gaussianavatars.model import GaussianAvatars

__all__ = ["GaussianAvatars", "GaussianAvatarsConfig"]
