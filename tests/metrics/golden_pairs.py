"""Golden pairs of images: inputs by formula, checked by hash, and the numbers that the original evaluators gave."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from headbench.harness.types import Pixels
from headbench.metrics import GroundTruth

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "evaluators-golden.json").read_text())
RESULTS = GOLDEN["results"]
# PointAvatar's differ from MonoGaussianAvatar's in the tracking that comes before.
QUICK = (
    *("fateavatar", "gaussianavatars", "gaussianavatars-train", "splattingavatar", "imavatar"),
    *("monogaussianavatar", "monogaussianavatar-no-cloth"),
)
FIELD = (*QUICK, "pointavatar", "pointavatar-no-cloth")
"""Protocols of originals that were run on the pairs."""


def digest(array: NDArray[Any]) -> str:
    """First 16 hexadecimal digits of the SHA-256 over an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Pair:
    """A photo with matte, parsing and landmarks, and a render of it that leaves [0, 1] on both sides."""

    gt: NDArray[np.uint8]
    matte: NDArray[np.uint8]
    pred: NDArray[np.uint8]
    render: NDArray[np.float32]
    sem: NDArray[np.uint8]
    kp: NDArray[np.float64]

    def truth(self) -> GroundTruth:
        """Truth of the frame ``a`` as a reader gives it."""
        colour, alpha, classes = (
            torch.from_numpy(plane.copy()) for plane in (self.gt.transpose(2, 0, 1), self.matte[None], self.sem[None])
        )
        pixels = Pixels(colour, alpha, {"classes": classes})
        return GroundTruth(lambda name: pixels, landmarks={"a": self.kp})

    def planes(self) -> torch.Tensor:
        """The render as (1, 3, H, W)."""
        return torch.from_numpy(self.render.transpose(2, 0, 1).copy())[None]

    def floats(self, folder: Path, dtype: torch.dtype = torch.float32) -> dict[str, Path]:
        """The render in a file of floats."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"image": self.planes()[0].to(dtype)}, folder / "a.safetensors")
        return {"a": folder / "a.safetensors"}

    def picture(self, folder: Path) -> dict[str, Path]:
        """The render in a PNG, clamped and rounded half up, as GaussianAvatars saves it."""
        folder.mkdir(parents=True, exist_ok=True)
        levels = np.clip(self.render.clip(0, 1) * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
        Image.fromarray(levels).save(folder / "a.png")
        return {"a": folder / "a.png"}


def make_pair(name: str) -> Pair:
    """Make the pair A, B or C, and check the hash of each of its arrays."""
    wanted = GOLDEN["inputs"][name]
    height, width, rng = wanted["H"], wanted["W"], np.random.default_rng(wanted["seed"])
    y, x = np.arange(height)[:, None] / (height - 1), np.arange(width)[None] / (width - 1)
    base = np.stack(np.broadcast_arrays(0.15 + 0.7 * x, 0.2 + 0.6 * y, 0.5 + 1.4 * (x - 0.5) * (y - 0.5)), -1)
    base8 = np.floor(255 * base + 0.5).astype(np.int64)
    shape = (height, width, 3)
    n1, n2, q = rng.integers(-40, 41, shape), rng.integers(-12, 13, shape), rng.integers(-8, 24, shape)
    h = rng.integers(0, 60, shape[:2])
    gt = np.clip(base8 + n1, 0, 255).astype(np.uint8)
    dx, dy = (x - 0.5) / 0.36, (y - 0.46) / 0.42
    d2 = dx * dx + dy * dy
    matte = np.floor(255 * np.clip((1.15 - d2) / 0.3, 0, 1) + 0.5).astype(np.uint8)
    fg, soft = np.clip(gt + n2 + 3, 0, 255), matte[..., None].astype(np.int64)
    pred = (fg * soft + 255 * (255 - soft) + 127) // 255
    pred[h == 0], pred[h == 1] = 255, 0
    pred = pred.astype(np.uint8)
    render = ((16 * pred.astype(np.int64) + q) / 4080).astype(np.float32)
    head, down = d2 < 1.15, np.broadcast_to(y, d2.shape)
    sem = head.astype(np.uint8)
    for label, place in ((17, down < 0.2), (14, down > 0.7), (15, down > 0.74), (16, down > 0.78)):
        sem[head & place] = label
    t = (np.arange(68) - 33.5) / 17
    c, s = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    kp = np.concatenate([np.stack([0.55 * c, 0.62 * s - 0.05], 1), [[0.95, 0.95], [-0.95, 0.95]]])
    pair = Pair(gt, matte, pred, render, sem, kp)
    for array, about in wanted["arrays"].items():
        assert digest(getattr(pair, array)) == about["sha256_16"], f"{array} of pair {name} is not the golden one"
    return pair


def levels_of(images: torch.Tensor) -> NDArray[np.uint8]:
    """Bytes (H, W, 3) of the first of some images (B, 3, H, W) uint8."""
    return images[0].permute(1, 2, 0).contiguous().numpy()


def expected(evaluator: str, name: str) -> dict[str, float]:
    """What an original gave for a pair: PSNR, SSIM of the same function in float64, LPIPS; SSIM is missing for some.

    Args:
        evaluator: name of a protocol without its version.
        name: of the pair.
    """
    three = GOLDEN["ssim_three_ways"][name]
    if evaluator == "fateavatar":
        found = RESULTS["fateavatar"][name]
        return {"psnr": found["PSNR"], "ssim": three["fateavatar"]["float64"], "lpips/alex": found["LPIPS"]}
    if evaluator == "splattingavatar":
        found = RESULTS["splattingavatar"][name]
        return {"psnr": found["psnr"], "ssim": three["splattingavatar"]["float64"], "lpips/alex": found["lpips"]}
    if evaluator == "gaussianavatars":
        found = RESULTS["gaussianavatars"][name]["metrics_py"]
        wanted = three["gaussianavatars_metrics_py"]["float64"]
        return {"psnr": found["PSNR"], "ssim": wanted, "lpips/vgg": found["LPIPS"]}
    if evaluator == "gaussianavatars-train":
        # Its SSIM was pinned in float32 only.
        found = RESULTS["gaussianavatars"][name]["train_py"]
        return {"psnr": found["PSNR"], "lpips/alex": found["LPIPS_alex"]}
    if evaluator == "imavatar":
        found, wanted = RESULTS["imavatar"][name]["res_256"], three["imavatar_256"]["float64"]
    else:
        kind = "no_cloth" if evaluator.endswith("no-cloth") else "full"
        found = RESULTS["pointavatar_monogaussianavatar"][name]["res_512"][kind]
        wanted = three[f"pointavatar_{kind}_512"]["float64"]
    return {"psnr": found["psnr_l"], "ssim": wanted, "lpips/alex": found["perceptual_l"]}
