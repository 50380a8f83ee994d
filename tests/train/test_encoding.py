"""Frequency encoding, against NumPy."""

import numpy as np
import torch

from headbench.harness.blocks.encoding import encode


def test_encoding_is_the_point_then_sines_and_cosines_of_doubling_frequency() -> None:
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = encode(x, 6).numpy()
    p = x.numpy()
    expected = [p] + [f(2.0**k * p) for k in range(6) for f in (np.sin, np.cos)]
    np.testing.assert_allclose(found, np.concatenate(expected, 1))
    assert found.shape == (7, 39)
    assert torch.equal(encode(x, 0), x)
