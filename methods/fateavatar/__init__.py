"""FateAvatar (FATE, CVPR 2025), monocular training."""

from headbench.methods.fateavatar.config import FateAvatarConfig
from headbench.methods.fateavatar.model import FateAvatar

__all__ = ["FateAvatar", "FateAvatarConfig"]
