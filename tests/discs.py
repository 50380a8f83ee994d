"""Synthetic subjects that cost less: discs in place of pictures for tests of what is tracked, or less hair."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest

from headbench.datasets.synthetic import around, hair, write
from headbench.datasets.synthetic.picture import Picture


def _disc(sitting, w2c, K, size: int) -> Picture:
    """A disc in the middle, wherever the head is, of a grey that tells poses apart."""
    scene, params = sitting
    y, x = np.mgrid[:size, :size] - size / 2
    inside = (np.hypot(x, y) < size / 3).astype(np.uint8)
    plane = inside * np.uint8(60 + float(params.expression.abs().sum() * 997) % 180)
    # Without hair, which takes longer to pose than all else.
    vertices = scene.vertices(params).astype(np.float32)
    rgba = np.stack([plane, plane, plane, inside * 255], -1)
    return Picture(rgba, plane, plane, inside.astype(np.uint16), vertices)


@contextlib.contextmanager
def drawn_as_discs() -> Iterator[None]:
    """Within, `write_synthetic` in one process draws discs."""
    with pytest.MonkeyPatch.context() as patch, thin_hair():  # none of it is seen
        for module in (write, around):
            patch.setattr(module, "sit", lambda scene, params: (scene, params))
            patch.setattr(module, "take", _disc)
        yield


@contextlib.contextmanager
def thin_hair() -> Iterator[None]:
    """Within, `write_synthetic` in one process grows a tenth of the hair, most of what rays are cast at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hair, "STRANDS", hair.STRANDS // 10)
        yield
