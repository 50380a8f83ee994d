"""A sound subject is read exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from headbench.datasets.insta.reader import InstaReader


def test_frames_are_split_and_ordered_as_the_json_files_say(author) -> None:
    subject = InstaReader().read(author.folder, {})
    assert [f.id for f in subject.train] == [f"{k:05d}" for k in range(6)]
    assert [f.timestep for f in subject.test] == [6, 7, 8]
    assert (subject.name, subject.dataset, subject.head) == ("someone", "insta", "flame2020")
    assert subject.variant == "insta/fate"
    print(subject.notes)


def test_colour_alpha_and_mouth_are_as_on_disk(author) -> None:
    pixels = InstaReader().read(author.folder, {}).test[0].pixels()
    stored = torch.from_numpy(author.image(6)).permute(2, 0, 1)
    assert torch.equal(pixels.colour, stored[:3]) and torch.equal(pixels.alpha, stored[3:])
    assert "mouth" in pixels.masks and pixels.masks["mouth"].sum() == 255 * 4 * 8
