"""The method SplattingAvatar (CVPR 2024)."""

from headbench.methods.splattingavatar.config import SplattingAvatarConfig
from headbench.methods.splattingavatar.model import SplattingAvatar

__all__ = ["SplattingAvatar", "SplattingAvatarConfig"]
