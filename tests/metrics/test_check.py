"""The check of a metric's two images refuses what is no pair, and waits for the device once."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from headbench.metrics.check import check_pair


class Reads(TorchDispatchMode):
    """Counts values that the host reads of tensors, for each of which it waits for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def image(*values: float) -> Tensor:
    """A picture of 2 x 3 pixels that holds these values."""
    made = torch.full((1, 3, 2, 3), 0.5)
    made.view(-1)[: len(values)] = torch.tensor(values)
    return made


def test_a_good_pair_is_known_by_one_read() -> None:
    with Reads() as reads:
        check_pair(image(0.0, 1.0), image(1.0))
        assert reads.count == 1
        check_pair(image(-3.0, 5.0), image(0.0), bounded=False)
        assert reads.count == 2


@pytest.mark.parametrize(
    ("a", "b", "bounded"),
    [
        (image(1.01), image(), True),
        (image(-0.01), image(), True),
        (image(), image(1.01), True),
        (image(), image(-0.01), True),
        (image(float("nan")), image(), True),
        (image(), image(float("nan")), False),
        (image(float("inf")), image(), False),
        (image(-2e6), image(), False),
        (image(), image(1.01), False),
        (image(), image().expand(2, -1, -1, -1), True),
        (image(), image()[0], True),
        (image()[:, :2], image()[:, :2], True),
        (image()[:0], image()[:0], True),
        (image().int(), image(), True),
    ],
)
def test_any_other_pair_is_refused(a: Tensor, b: Tensor, bounded: bool) -> None:
    with pytest.raises(ValueError, match=r"expected two \(B, 3, H, W\) float images of one shape in \[0, 1\], got \("):
        check_pair(a, b, bounded)
