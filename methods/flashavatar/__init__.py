"""The method FlashAvatar (CVPR 2024)."""

from headbench.methods.flashavatar.config import FlashAvatarConfig
from headbench.methods.flashavatar.model import FlashAvatar

__all__ = ["FlashAvatar", "FlashAvatarConfig"]
