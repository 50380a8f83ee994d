"""Plugin of the built-in executors, registered like a stranger's."""

from __future__ import annotations

from collections.abc import Callable

from headbench.harness.plugins.hookspecs import hookimpl
from headbench.harness.plugins.specs import ExecutorSpec

__all__ = ["LOCAL", "RAY", "SLURM", "register_executors"]

LOCAL = ExecutorSpec(
    "local",
    "headbench.harness.execution.local:Local",
    "on this machine, beside each other with --workers N or --gpus 0,1; they end when `bench run` does",
)

SLURM = ExecutorSpec(
    "slurm",
    "headbench.harness.execution.slurm.executor:Slurm",
    "on the nodes of a Slurm cluster, as job arrays; they outlive `bench run`, which finds them again",
    needs=frozenset({"sbatch", "squeue", "scancel", "sinfo", "srun", "scontrol"}),
    elsewhere=True,
)


RAY = ExecutorSpec(
    "ray",
    "headbench.harness.execution.ray.executor:Ray",
    "as tasks of a Ray cluster, a running one or one of this machine that ends with `bench run`; GPUs can be shared",
    elsewhere=True,
)


@hookimpl
def register_executors(register: Callable[[ExecutorSpec], None]) -> None:
    """Register the built-in executors."""
    register(LOCAL)
    register(SLURM)
    register(RAY)
