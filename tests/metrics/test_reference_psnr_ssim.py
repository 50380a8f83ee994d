"""PSNR and SSIM against independent implementations."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch

from headbench.harness.image import ssim_map
from headbench.metrics.protocol import SsimRule
from headbench.metrics.psnr import psnr
from headbench.metrics.ssim import ssim

ZERO = SsimRule(window=11, sigma=1.5, padding="zero", channels="rgb")
VALID = SsimRule(window=11, sigma=1.5, padding="valid", channels="rgb")


@pytest.fixture(scope="module")
def pairs(portrait):
    """Two batches (3, 3, 96, 128): a mild, a strong and a flat degradation."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(portrait[0].shape, generator=generator)
    truth = portrait[0].expand(3, -1, -1, -1)
    renders = torch.stack([portrait[1], 0.7 * portrait[0] + 0.3 * noise, torch.full_like(noise, 0.9)])
    return renders, truth


def scipy_ssim_map(a, b, mode):
    """One channel, float64, by scipy's Gaussian filter of radius 5; outside is black."""

    def blur(x):
        return scipy.ndimage.gaussian_filter(x, 1.5, mode="constant", cval=0.0, radius=5)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + 0.01**2) * (2 * covariance + 0.03**2)
    full = numerator / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2))
    return full if mode == "zero" else full[5:-5, 5:-5]


@pytest.mark.parametrize("rule", [ZERO, VALID], ids=["zero", "valid"])
def test_ssim_agrees_with_scipy(pairs, rule):
    renders, truth = pairs
    for index in range(3):
        channels = zip(renders[index].double().numpy(), truth[index].double().numpy(), strict=True)
        maps = np.stack([scipy_ssim_map(a, b, rule.padding) for a, b in channels])
        ours = ssim_map(renders[index : index + 1].double(), truth[index : index + 1].double(), padding=rule.padding)
        np.testing.assert_allclose(ours[0].numpy(), maps, atol=1e-10)
        single = ssim(renders[index : index + 1], truth[index : index + 1], rule)
        assert single.item() == pytest.approx(maps.mean(), abs=1e-9)


def test_valid_ssim_agrees_with_scikit_image(pairs):
    metrics = pytest.importorskip("skimage.metrics")
    renders, truth = pairs
    ours = ssim(renders, truth, VALID)
    for index in range(3):
        _, whole = metrics.structural_similarity(
            renders[index].double().numpy(),
            truth[index].double().numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=0,
            full=True,
        )
        assert ours[index].item() == pytest.approx(whole[:, 5:-5, 5:-5].mean(), abs=1e-9)


@pytest.mark.slow
def test_valid_ssim_agrees_with_torchmetrics(pairs, torchmetrics_image):
    # torchmetrics pads by reflection; inside the border its map holds whole windows only.
    renders, truth = pairs
    _, whole = torchmetrics_image.structural_similarity_index_measure(
        renders.double(), truth.double(), data_range=1.0, sigma=1.5, reduction="none", return_full_image=True
    )
    theirs = whole[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
    np.testing.assert_allclose(ssim(renders, truth, VALID).numpy(), theirs.numpy(), atol=1e-9)


def test_the_border_that_torchmetrics_counts_makes_its_ssim_another(pairs, torchmetrics_image):
    renders, truth = pairs
    theirs = torchmetrics_image.structural_similarity_index_measure(
        renders.double(), truth.double(), data_range=1.0, sigma=1.5, reduction="none"
    )
    assert all((theirs - ssim(renders, truth, rule)).abs().max() > 1e-4 for rule in (VALID, ZERO))


def test_psnr_agrees_with_torchmetrics_and_scikit_image_frame_by_frame(pairs, torchmetrics_image):
    metrics = pytest.importorskip("skimage.metrics")
    renders, truth = pairs
    ours = psnr(renders, truth)
    theirs = torchmetrics_image.peak_signal_noise_ratio(renders, truth, data_range=1.0, reduction="none", dim=(1, 2, 3))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-4)
    for index in range(3):
        single = metrics.peak_signal_noise_ratio(
            truth[index].double().numpy(), renders[index].double().numpy(), data_range=1.0
        )
        assert ours[index].item() == pytest.approx(single, abs=1e-5)


def test_channel_mean_psnr_is_the_mean_of_three_channel_values(pairs):
    renders, truth = pairs
    by_hand = [
        np.mean([-10 * math.log10(((r - t) ** 2).mean()) for r, t in zip(a, b, strict=True)])
        for a, b in zip(renders.double().numpy(), truth.double().numpy(), strict=True)
    ]
    np.testing.assert_allclose(psnr(renders, truth, "channel_mean").numpy(), by_hand, atol=1e-5)
    assert (psnr(renders, truth, "channel_mean") > psnr(renders, truth)).all()


def test_a_constant_error_has_its_textbook_psnr():
    a = torch.full((1, 3, 16, 16), 0.5)
    assert psnr(a, a + 0.1).item() == pytest.approx(20.0, abs=1e-5)
    assert psnr(a, a).item() == math.inf
    assert ssim(a, a, ZERO).item() == 1.0
    with pytest.raises(ValueError, match="reduction pooled or channel_mean"):
        psnr(a, a, "mean")


def test_errors_name_shape_and_range():
    good = torch.rand(1, 3, 16, 16)
    with pytest.raises(ValueError, match=r"in \[0, 1\], got \(1, 3, 16, 16\) float32 in .* and .* float32 in \[2, 2\]"):
        psnr(good, torch.full_like(good, 2.0))
    with pytest.raises(ValueError, match=r"got \(1, 3, 16, 16\) .* and \(1, 3, 16, 8\)"):
        psnr(good, good[..., :8])
    with pytest.raises(ValueError, match="nan"):
        ssim(good, torch.full_like(good, torch.nan), ZERO)
    with pytest.raises(ValueError, match="uint8"):
        psnr(good, torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
