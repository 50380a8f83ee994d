"""The method MonoGaussianAvatar (SIGGRAPH 2024)."""

from headbench.methods.monogaussianavatar.config import MonoGaussianAvatarConfig
from headbench.methods.monogaussianavatar.model import MonoGaussianAvatar

__all__ = ["MonoGaussianAvatar", "MonoGaussianAvatarConfig"]
