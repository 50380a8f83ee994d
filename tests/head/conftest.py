"""A tiny random head, small enough for finite differences, and parameters for any head."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headbench.harness.head import HeadArrays, HeadModel
from headbench.harness.types import HeadParams, Identity, Similarity


@pytest.fixture(scope="session")
def tiny_arrays():
    """12 vertices, 3 shape and 4 expression directions, 20 faces of an icosahedron, eyelids, two regions."""
    rng = np.random.default_rng(5)
    golden = (1 + 5**0.5) / 2
    template = np.array([(0, a, b * golden) for a in (-1, 1) for b in (-1, 1)])
    template = np.concatenate([np.roll(template, turn, 1) for turn in range(3)])
    near = np.linalg.norm(template[:, None] - template[None], axis=2).round(6) == 2
    faces = [
        (i, j, k) for i in range(12) for j in range(i) for k in range(j) if near[i, j] and near[j, k] and near[i, k]
    ]
    weights = rng.random((12, 5))
    regressor = rng.random((5, 12))
    return HeadArrays(
        tag="openhead",
        topology="open",
        template=template,
        shape_dirs=rng.normal(size=(12, 3, 3)),
        expression_dirs=rng.normal(size=(12, 3, 4)),
        pose_dirs=rng.normal(size=(36, 36)) * 0.1,
        joint_regressor=regressor / regressor.sum(1, keepdims=True),
        weights=weights / weights.sum(1, keepdims=True),
        parents=(-1, 0, 1, 1, 1),
        faces=np.array(faces),
        eyelid_dirs=rng.normal(size=(2, 12, 3)),
        regions={"lips": np.arange(12) < 3, "face": np.arange(12) < 9},
    )


@pytest.fixture
def tiny(tiny_arrays):
    """The tiny head in float64."""
    return HeadModel(tiny_arrays).double()


@pytest.fixture
def draw():
    """draw(head, batch, seed, ...) -> random HeadParams of a head, in its type."""

    def make(head, batch=2, seed=0, expression=None, angle=0.4, eyelids=False, similarity=False):
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(head.template)

        size = head.sizes[1] if expression is None else expression
        turn = torch.linalg.qr(normal(batch, 3, 3)).Q
        turn = turn * torch.linalg.det(turn)[:, None, None]
        return HeadParams(
            head=head.tag,
            expression=normal(batch, size),
            **{name: normal(batch, 3) * angle for name in ("root", "neck", "jaw", "eye_left", "eye_right")},
            translation=normal(batch, 3),
            eyelids=normal(batch, 2).sigmoid() if eyelids else None,
            similarity=Similarity(normal(batch).exp(), turn, normal(batch, 3)) if similarity else None,
        )

    return make


@pytest.fixture
def identify():
    """identify(head, seed, static=False) -> a random Identity of a head."""

    def make(head, seed=1, size=None, static=False):
        generator = torch.Generator().manual_seed(seed)
        count = head.sizes[0] if size is None else size
        zero = torch.zeros(1, head.sizes[1]).to(head.template)
        offset = torch.randn(1, len(head.template), 3, generator=generator).to(head.template)
        return Identity(
            head=head.tag,
            shape=torch.randn(1, count, generator=generator).to(head.template),
            mean_expression=zero,
            var_expression=zero,
            first=None,
            camera=None,
            static_offset=offset * 0.1 if static else None,
        )

    return make
