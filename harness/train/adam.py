"""Adam over one group of tensors, by torch's fused kernel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

__all__ = ["MOMENTS", "Adam"]

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Keys of both moments in a parameter's state."""


class Adam:
    """Adam without weight decay: values, state and their names are those of `torch.optim.Adam` with ``fused=True``.

    Making or stepping torch's class imports torch's compiler, which takes two seconds that no training needs.

    Args:
        params: tensors that require a gradient; each may move only in steps that find one.
        lr: learning rate; a tensor () on the parameters' device is read there, also when a CUDA graph is replayed.
        betas: decay per step of the first and the second moment, each in [0, 1).
        eps: added to the root of the second moment.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float | Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(params), "lr": lr, "betas": betas, "eps": eps}]
        """One group, laid out as those of torch's optimizers."""
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        """Parameter -> step (), exp_avg and exp_avg_sq of the parameter's shape; empty before its first step."""

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    def begin(self, parameter: Tensor) -> None:
        """Make the state of a parameter where it has none: no step taken, moments of zero."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            for key in MOMENTS:
                state[key] = torch.zeros_like(parameter, memory_format=torch.preserve_format)

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient, and their state."""
        (group,) = self.param_groups
        moving = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not moving:
            return
        for parameter in moving:
            self.begin(parameter)
        states = [self.state[parameter] for parameter in moving]
        beta1, beta2 = group["betas"]
        adam(
            moving,
            [parameter.grad for parameter in moving],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
        )
