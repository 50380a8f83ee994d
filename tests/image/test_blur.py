"""Filtering on a CPU equals torch's convolutions, of which it takes the place."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from headbench.harness.image.blur import blurred
from headbench.harness.image.pooling import max_pool
from headbench.harness.image.ssim import gaussian_window

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("height", "width", "window", "pad"),
    [
        (40, 53, 11, 5),
        (40, 53, 11, 0),
        (40, 53, 11, 10),
        (12, 20, 3, 2),
        pytest.param(12, 20, 7, 3, marks=pytest.mark.slow),  # each length of window is compiled
        (5, 6, 11, 5),
        (11, 30, 11, 0),
        (64, 64, 3, 1),
    ],
)
def test_it_is_torchs_convolution_with_zeros_around(
    kind: torch.dtype, height: int, width: int, window: int, pad: int
) -> None:
    planes = torch.randn(3, height, width, generator=torch.Generator().manual_seed(0), dtype=kind)
    weights = gaussian_window(window, 1.5, kind, CPU)
    rows = functional.conv2d(planes[:, None], weights.view(1, 1, 1, -1), padding=(0, pad))
    expected = functional.conv2d(rows, weights.view(1, 1, -1, 1), padding=(pad, 0))[:, 0]
    found = blurred(planes, weights, pad)
    assert found.shape == expected.shape and found.dtype == kind
    torch.testing.assert_close(found, expected, rtol=0, atol=8 * torch.finfo(kind).eps)
    # Planes that lie in memory otherwise, and each alone.
    assert torch.equal(blurred(planes.transpose(1, 2).contiguous().transpose(1, 2), weights, pad), found)
    assert torch.equal(blurred(planes[1:2], weights, pad), found[1:2])


@pytest.mark.parametrize("window", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_a_value_that_is_not_finite_spoils_its_windows_alone(window: int) -> None:
    planes, pad = torch.zeros(1, 20, 20), window // 2
    planes[0, 10, 10] = torch.nan
    found = blurred(planes, gaussian_window(window, 1.5, torch.float32, CPU), pad)
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[10 - pad : 11 + pad, 10 - pad : 11 + pad] = True
    assert torch.equal(found[0].isnan(), expected)


@pytest.mark.parametrize(("side", "stride"), [(3, 2), (2, 2), (2, 1), (3, 3)])
@pytest.mark.parametrize("size", [(3, 3), (8, 9), (31, 20)])
def test_maxima_along_both_axes_are_those_of_windows(side: int, stride: int, size: tuple[int, int]) -> None:
    image = torch.randn(2, 5, *size, generator=torch.Generator().manual_seed(0))
    image[0, 0, 0, 0], image[1, 2, 1, 2] = torch.nan, -torch.inf
    expected = functional.max_pool2d(image, side, stride)
    torch.testing.assert_close(max_pool(image, side, stride), expected, rtol=0, atol=0, equal_nan=True)
    wanted = image.nan_to_num().requires_grad_()
    assert max_pool(wanted, side, stride).requires_grad
