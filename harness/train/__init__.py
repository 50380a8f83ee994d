"""Training of avatars: one loop for every method, the table of Gaussians and its edits, checkpoints."""

from headbench.harness.train.checkpoint import LoadedPortrait, load_portrait
from headbench.harness.train.refined import refined_params
from headbench.harness.train.setup import identity_of
from headbench.harness.train.stage import train_stage
from headbench.harness.train.table import GaussianTable
from headbench.harness.trained import TrainSummary, latest_checkpoint

__all__ = [
    "GaussianTable",
    "LoadedPortrait",
    "TrainSummary",
    "identity_of",
    "latest_checkpoint",
    "load_portrait",
    "refined_params",
    "train_stage",
]
