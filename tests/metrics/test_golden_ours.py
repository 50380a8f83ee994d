"""Protocols that no original gave numbers for, on a golden pair, against the formulas written in NumPy and SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from golden_pairs import FIELD, make_pair
from numpy.typing import NDArray
from PIL import Image

from headbench.metrics import GroundTruth, Scores, load_protocol, protocol_names, score_frames

Floats = NDArray[np.float64]
PAIR = make_pair("A")
PARTS = ("face", "eyes", "mouth", "ears", "hair", "bare-neck", "cloth")
SIDE = PAIR.matte.shape[0]
STRIPES = {name: np.arange(SIDE)[:, None] // 8 == k for k, name in enumerate(PARTS)}
"""Region -> rows that stand for it; they lie in the matte in part."""
MASKS = {
    "seen": np.tile(np.arange(SIDE) < SIDE // 2, (SIDE, 1)),
    **{f"region-{name}": np.tile(rows, (1, SIDE)) for name, rows in STRIPES.items()},
    "region-neck": np.tile(STRIPES["bare-neck"] | STRIPES["cloth"], (1, SIDE)),
}
LIKE = {"fateavatar-tracked": "fateavatar"}
"""Protocol that differs from another in its test-time tracking alone, which comes before scoring -> that other."""
OURS = ("headbench", "headbench-around", "headbench-regions", "fateavatar-8bit", "fateavatar-tracked-8bit")


def truth() -> GroundTruth:
    """Truth of two frames that are alike, with masks as if a head had been projected."""
    planes = {name: torch.from_numpy(mask[None].astype(np.uint8) * 255) for name, mask in MASKS.items()}
    given: dict[str, Callable[[str], torch.Tensor]] = {name: (lambda _, p=plane: p) for name, plane in planes.items()}
    return GroundTruth(lambda _: PAIR.truth().pixels("a"), head=lambda: None, computed=given)


def written(folder: Path) -> tuple[dict[str, Path], list[Floats]]:
    """The golden render as 8-bit pictures, once as it is and once mirrored: files, and images in [0, 1]."""
    levels = np.rint(PAIR.render.clip(0, 1).astype(np.float64) * 255).astype(np.uint8)
    files = {}
    for name, picture in (("a", levels), ("b", levels[:, ::-1].copy())):
        files[name] = folder / f"{name}.png"
        Image.fromarray(picture).save(files[name])
    return files, [levels / 255, levels[:, ::-1] / 255]


def composite() -> Floats:
    """The truth on white, rounded to 8 bit."""
    alpha = PAIR.matte[..., None] / 255
    return np.rint((PAIR.gt / 255 * alpha + 1 - alpha) * 255) / 255


def decibels(render: Floats, image: Floats, counted: NDArray[np.bool_] | None = None) -> float:
    squared = (render - image) ** 2
    return -10 * math.log10((squared if counted is None else squared[counted]).mean())


def ssim(render: Floats, image: Floats, padding: str) -> float:
    def blur(x: Floats) -> Floats:
        return scipy.ndimage.gaussian_filter(x, 1.5, mode="constant", radius=5, axes=(0, 1))

    a, b = blur(render), blur(image)
    spread = blur(render * render) - a * a + blur(image * image) - b * b
    like = (2 * a * b + 1e-4) * (2 * (blur(render * image) - a * b) + 9e-4) / ((a * a + b * b + 1e-4) * (spread + 9e-4))
    return float((like if padding == "zero" else like[5:-5, 5:-5]).mean())


def detail(image: Floats, inside: NDArray[np.bool_]) -> float:
    grey = image @ np.array([0.299, 0.587, 0.114])
    return float(np.sqrt((scipy.ndimage.laplace(grey, mode="constant")[inside] ** 2).mean()))


def by_hand(renders: list[Floats], padding: str) -> dict[str, float]:
    """Values of the second frame by metric key."""
    image, render = composite(), renders[1]
    covered = PAIR.matte >= 128
    found = {"psnr": decibels(render, image), "ssim": ssim(render, image, padding)}
    for part, mask in (("visible", MASKS["seen"]), ("hidden", ~MASKS["seen"]), ("all", np.ones_like(covered))):
        found[f"psnr-foreground/{part}"] = decibels(render, image, covered & mask)
    for name in (*PARTS, "neck"):
        found[f"psnr-region/{name}"] = decibels(render, image, covered & MASKS[f"region-{name}"])
    found["flicker-difference"] = 255 * float(np.abs(renders[1] - renders[0])[covered].mean())
    inside = scipy.ndimage.binary_erosion(covered, np.ones((5, 5)))
    return found | {"sharpness": detail(render, inside) / detail(image, inside)}


def scored(label: str, folder: Path, nets: tuple[str, ...] = ()) -> tuple[Scores, dict[str, float]]:
    files, renders = written(folder)
    protocol = load_protocol(label)
    padding = protocol.ssim.padding if protocol.ssim else "valid"
    return score_frames(files, truth(), protocol, nets=nets), by_hand(renders, padding)


LABELS = [label for label in protocol_names() if label.partition("@")[0] in OURS]


def test_every_built_in_protocol_is_pinned() -> None:
    names = {label.partition("@")[0] for label in protocol_names()}
    assert names == {*FIELD, *LIKE, *OURS}
    for name, other in LIKE.items():
        values = [load_protocol(f"{each}@1").model_dump() for each in (name, other)]
        assert {key for key in values[0] if values[0][key] != values[1][key]} == {
            *("name", "summary", "test_time_tracking")
        }


@pytest.mark.parametrize("label", LABELS)
def test_our_protocols_give_the_numbers_of_the_formulas(label: str, tmp_path: Path, empty_home: Path) -> None:
    scores, wanted = scored(label, tmp_path)
    keys = [key for key in scores.metrics if not key.startswith("lpips/")]
    assert keys and {key: scores.frames[1].value(key) for key in keys} == pytest.approx(
        {key: wanted[key] for key in keys}, abs=1e-5
    )


@pytest.mark.slow
def test_our_protocols_give_the_lpips_of_the_package(tmp_path: Path, lpips_home: Path, lpips_package: Any) -> None:
    scores, _ = scored("headbench@1", tmp_path, ("alex", "vgg"))
    pair = [
        torch.from_numpy(each.transpose(2, 0, 1)[None].copy()).float()
        for each in (written(tmp_path)[1][1], composite())
    ]
    for net in ("alex", "vgg"):
        with torch.no_grad():
            theirs = lpips_package(net)(*pair, normalize=True).item()
        assert scores.frames[1].value(f"lpips/{net}") == pytest.approx(theirs, abs=1e-5)
    again, _ = scored("fateavatar-8bit@1", tmp_path, ("alex",))
    assert [each.value("lpips/alex") for each in again.frames] == [each.value("lpips/alex") for each in scores.frames]
