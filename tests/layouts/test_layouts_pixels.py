"""Pixels that lie: one rule in every layout, for a check as for a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headbench.harness.errors import DataError
from headbench.harness.plugins import Problem, registry

_MATTES = {"insta": "images", "imavatar": "matted", "vhap": "fg_masks"}
"""Layout -> folder whose images hold the alpha."""


@pytest.fixture(params=sorted(_MATTES))
def damaged(request, layouts, tmp_path) -> tuple[str, Path]:
    """A layout, and a copy of its subject to damage."""
    folder = tmp_path / request.param / layouts[request.param].name
    shutil.copytree(layouts[request.param], folder)
    return request.param, folder


def _change(damaged: tuple[str, Path], how: Callable[[np.ndarray], np.ndarray], some: str = "*") -> None:
    """Replace the alphas (H, W), in their own files."""
    layout, folder = damaged
    paths = [path for place in folder.rglob(_MATTES[layout]) for path in place.glob(f"{some}.png")]
    assert paths
    for path in paths:
        image = np.array(Image.open(path))
        if image.ndim == 2:
            image = how(image)
        else:
            image[..., -1] = how(image[..., -1])
        Image.fromarray(image).save(path)


def _checked(damaged: tuple[str, Path]) -> list[Problem]:
    found = registry().load_dataset(damaged[0]).check(damaged[1], {})
    return [problem for problem in found if problem.severity != "note"]


@pytest.mark.tried("damaged inputs", "mattes of 0 and 1, and inverted ones, in every layout",
                   survives="the cause and the remedy, in a check and before a run trains")  # fmt: skip
@pytest.mark.parametrize(
    ("how", "words", "help"),
    [
        (lambda alpha: (alpha > 127).astype(np.uint8), "found 0 to 1: written as 0 and 1?", "multiply it by 255"),
        (lambda alpha: np.uint8(17) * (alpha > 127), "found 0 to 17: numbers of classes", "write 255"),
        (lambda alpha: 255 - alpha, "inverted?", "invert it"),
    ],
    ids=["0 and 1", "classes", "inverted"],
)
def test_mattes_that_cannot_be_are_the_cause_that_is_told(damaged, how, words, help) -> None:
    _change(damaged, how)
    told = _checked(damaged)
    assert len({problem.kind for problem in told}) == 1
    assert all(words in problem.message and help in problem.help and problem.frame for problem in told)
    with pytest.raises(DataError, match="bench data check") as refused:
        registry().load_dataset(damaged[0]).read(damaged[1], {})
    assert words in str(refused.value)


def test_alphas_of_nothing_stop_a_subject(damaged) -> None:
    _change(damaged, np.zeros_like)
    assert "found 0 everywhere in the alpha of the frames that stand for all" in str(
        [p.message for p in _checked(damaged)]
    )
    with pytest.raises(DataError, match="found 0 everywhere"):
        registry().load_dataset(damaged[0]).read(damaged[1], {})


@pytest.mark.tried("damaged inputs", "colours that were multiplied by alpha",
                   survives="a warning with cause and remedy, and a note in the table")  # fmt: skip
def test_premultiplied_colour_is_a_warning_and_a_note(damaged) -> None:
    layout, folder = damaged
    if layout == "vhap":
        for path in (folder / "images").glob("*.png"):
            # The layout's own images are on white; these are on black.
            alpha = np.array(Image.open(folder / "fg_masks" / path.name).convert("L"))[..., None] / 255
            white = np.array(Image.open(path).convert("RGB"))
            Image.fromarray((white - 255 * (1 - alpha)).clip(0, 255).round().astype(np.uint8)).save(path)
    else:
        for place in (each for each in folder.rglob(_MATTES[layout]) if "truth" not in each.parts):
            for path in place.glob("*.png"):
                image = np.array(Image.open(path)).astype(float)
                image[..., :3] *= image[..., 3:] / 255
                Image.fromarray(image.round().astype(np.uint8)).save(path)
    told, *others = [problem for problem in _checked(damaged) if problem.kind == "premultiplied"]
    assert len(others) == (layout == "imavatar")  # each video by itself
    assert told.severity == "warning" and "all fading with it" in told.message
    assert ("--set vhap.baked=black" if layout == "vhap" else "divide colours by alpha") in told.help
    reader = registry().load_dataset(layout)
    note = "colours look multiplied by alpha: renders get dark rims"
    assert note in reader.read(folder, {}).notes
    if layout == "vhap":
        assert note not in reader.read(folder, {"baked": "black"}).notes


def test_good_subjects_have_no_word_of_their_pixels(layouts) -> None:
    for layout, folder in layouts.items():
        reader = registry().load_dataset(layout)
        assert [p.line() for p in reader.check(folder, {}) if p.severity != "note"] == []
        assert not [note for note in reader.read(folder, {}).notes if "alpha" in note or "jump" in note]
