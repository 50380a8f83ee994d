"""The method FateAvatar (FATE, CVPR 2025), its monocular training."""

from headbench.methods.fateavatar.config import FateAvatarConfig
from headbench.methods.fateavatar.model import FateAvatar

__all__ = ["FateAvatar", "FateAvatarConfig"]
