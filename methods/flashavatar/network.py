"""Offset network of FlashAvatar: from a Gaussian's place and the codes of the face to changes of the Gaussian."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from headbench.harness.blocks.dense import dense
from headbench.harness.head import axis_angle_to_matrix
from headbench.harness.types import HeadParams

from .config import FlashAvatarConfig

__all__ = ["OUTPUTS", "OffsetNetwork", "code_size", "codes"]

OUTPUTS = 10
"""Number of the network's outputs: position 3, quaternion 4, scale 3."""


def code_size(expressions: int, config: FlashAvatarConfig) -> int:
    """Length C of the codes for `expressions` coefficients and the form of rotations in `config`."""
    return expressions + 3 * (6 if config.rotations == "6d" else 3) + 2 * config.eyelids


def codes(params: HeadParams, expressions: int, config: FlashAvatarConfig) -> Tensor:
    """Codes of the face that the network takes, (B, C): expression, jaw, left eye, right eye, eyelids.

    Args:
        params: B poses.
        expressions: number of coefficients that count; missing ones are 0, further ones are left out.
        config: form of rotations, and whether eyelids and gradients count.
    """
    given = params.expression[:, :expressions]
    turns = torch.stack((params.jaw, params.eye_left, params.eye_right), 1)
    if config.rotations == "6d":
        turns = axis_angle_to_matrix(turns)[..., :2, :]
    parts = [functional.pad(given, (0, expressions - given.shape[1])), turns.flatten(1)]
    if config.eyelids:
        parts.append(given.new_zeros(len(given), 2) if params.eyelids is None else params.eyelids)
    codes = torch.cat(parts, 1)
    return codes.detach() if config.detach_codes else codes


class OffsetNetwork(nn.Module):
    """Network of hidden layers with ReLU and ten outputs through tanh, the changes of a Gaussian.

    Args:
        positions: length P of an encoded position.
        codes: length C of the codes.
        config: sizes of the layers and start of the last one.
        generator: gives the first weights as PyTorch's Linear does, uniform within 1 / sqrt(inputs); on the CPU.
    """

    def __init__(self, positions: int, codes: int, config: FlashAvatarConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.positions = positions
        self.tf32 = config.products == "tf32"
        sizes = [positions + codes, *[config.hidden] * config.layers, OUTPUTS]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inside, out in itertools.pairwise(sizes):
            bound = inside**-0.5
            self.weights.append(torch.empty(out, inside).uniform_(-bound, bound, generator=generator))
            self.biases.append(torch.empty(out).uniform_(-bound, bound, generator=generator))
        if config.last_layer == "zero":
            nn.init.zeros_(self.weights[-1])
            nn.init.zeros_(self.biases[-1])

    def forward(self, encoded: Tensor, codes: Tensor) -> Tensor:
        """Changes of all Gaussians in all frames: encoded (N, P), codes (B, C) -> (B, N, 10) in (-1, 1).

        The first layer's two parts are applied before they are added: positions are the same for all frames and codes
        for all Gaussians, so neither is repeated.
        """
        weights, biases = list(self.weights), list(self.biases)
        here, face = weights[0].split((self.positions, weights[0].shape[1] - self.positions), dim=1)
        from_codes = functional.linear(codes, face, biases[0])
        if len(codes) == 1 and encoded.is_cuda:
            # For one frame the codes' part is a bias of the positions' part.
            x = dense(encoded, here, from_codes[0], "relu", self.tf32)[None]
        else:
            x = (dense(encoded, here, None, "none", self.tf32) + from_codes[:, None]).relu()
        for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
            x = dense(x, weight, bias, "relu", self.tf32)
        return dense(x, weights[-1], biases[-1], "none", self.tf32).tanh()
