"""Stage ``bake``: Gaussians on a surface become continuous UV maps."""

from headbench.stages.bake.avatar import BakedAvatar
from headbench.stages.bake.config import BakeConfig, BakedConfig
from headbench.stages.bake.maps import Maps
from headbench.stages.bake.stage import BakeStage

__all__ = ["BakeConfig", "BakeStage", "BakedAvatar", "BakedConfig", "Maps"]
