"""Training images by the kernel are the plain ones to one rounding; on a GPU, or in triton's interpreter."""

import os
from dataclasses import replace

import pytest
import torch

from headbench.harness.head import load_head
from headbench.harness.kernels import SWITCH
from headbench.harness.train.frames import FrameStore
from headbench.harness.types import Batch, Pixels
from headbench.testing.scene import made_subject

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


@pytest.fixture
def store() -> FrameStore:
    """Four frames of noise with two masks, one of which is the weight; of a size that fills no block."""
    rng = torch.Generator().manual_seed(0)

    def planes(channels: int, height: int, width: int) -> torch.Tensor:
        return torch.randint(0, 256, (channels, height, width), generator=rng, dtype=torch.uint8)

    frames = []
    for frame in made_subject(load_head("openhead"), frames=4, size=37).train:
        size = (frame.camera.height, frame.camera.width)
        pixels = Pixels(planes(3, *size), planes(1, *size), {"mouth": planes(1, *size), "sure": planes(1, *size)})
        frames.append(replace(frame, pixels=lambda pixels=pixels: pixels))
    made = FrameStore(frames, torch.device(DEVICE), masks=["mouth", "sure"], weight="sure")
    made.touch(range(len(frames)))
    assert made.resident
    return made


@pytest.mark.gpu
@pytest.mark.parametrize("rows", [[2], [1, 0, 1]])
def test_images_masks_and_weights(store: FrameStore, rows: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    index, background = torch.tensor(rows, device=DEVICE), torch.rand(len(rows), 3, device=DEVICE)
    found: list[Batch] = []
    for switch in ("0", "+compose"):
        monkeypatch.setenv(SWITCH, switch)
        found.append(store.batch(index, rows, background))
    plain, fused = found
    assert (plain.image - fused.image).abs().max() < 1.3e-7
    for name in ("alpha", "weight"):
        assert torch.equal(getattr(plain, name), getattr(fused, name))
    assert torch.equal(plain.masks["mouth"], fused.masks["mouth"])
    assert not torch.equal(plain.masks["mouth"], plain.weight) and fused.frame_ids == plain.frame_ids
    store.close()
