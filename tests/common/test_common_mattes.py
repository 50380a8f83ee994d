"""Rules of pixels: what no matte can be, what premultiplied colour looks like, and what must pass as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.mattes import Fringe, is_inverted, is_premultiplied, level_fault, matte_fault
from headbench.datasets.common.pixels import PixelReader
from headbench.datasets.common.sources import Source, check_decoded, check_masks, check_sample
from headbench.harness.errors import DataError


def _head(side: int = 64, centre: tuple[float, float] = (0.5, 0.5), soft: float = 4.0) -> np.ndarray:
    """A disc with an edge of `soft` pixels, (side, side) uint8."""
    y, x = np.mgrid[:side, :side] + 0.5
    away = np.hypot(x - centre[0] * side, y - centre[1] * side)
    return np.clip(255 * (0.3 * side - away) / soft + 127, 0, 255).round().astype(np.uint8)


def _coloured(alpha: np.ndarray, level: float, seed: int = 0, clear: float = 0.0) -> np.ndarray:
    """(3, H, W): a subject of about this brightness; what is transparent has the level `clear`."""
    rng = np.random.default_rng(seed)
    colour = level * (1 + 0.3 * rng.normal(size=(3, *alpha.shape)))
    return np.where(alpha > 0, colour, clear).clip(0, 255).astype(np.uint8)


def _multiplied(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.rint(colour * (alpha / 255.0)).astype(np.uint8)


@pytest.mark.parametrize("high", [1, 2, 18])
def test_mattes_of_one_or_of_class_numbers_are_refused_and_others_are_not(high) -> None:
    alpha = (_head() > 127).astype(np.uint8)
    fault = level_fault(alpha * np.uint8(high))
    assert fault is not None and f"found 0 to {high}" in fault.message
    assert ("multiply it by 255" in fault.help) == (high == 1)
    specks = np.zeros((64, 64), np.uint8)
    specks[3, 5] = 2  # a codec's noise on a frame without a head
    for good in (alpha * 255, alpha * 21, _head(), np.zeros_like(alpha), specks):
        assert level_fault(good) is None


def test_inverted_alpha_is_known_from_corners_and_middle() -> None:
    for alpha in (_head(), _head(centre=(0.35, 0.6)), (_head() > 127) * np.uint8(255)):
        assert is_inverted(255 - alpha) and not is_inverted(alpha)
        fault = matte_fault(255 - alpha)
        assert fault is not None and "inverted?" in fault.message
    shoulders = np.zeros((64, 64), np.uint8)
    shoulders[50:] = 255
    for good in (np.full((64, 64), 255, np.uint8), np.zeros((64, 64), np.uint8), shoulders):
        assert matte_fault(good) is None


@pytest.mark.parametrize("level", [20, 40, 120, 220])
@pytest.mark.parametrize("clear", [0, 128, 255])
def test_premultiplied_colour_is_told_from_a_dark_subject(level, clear) -> None:
    alphas = [_head(centre=(0.4 + 0.03 * k, 0.5)) for k in range(5)]
    plain = [_coloured(alpha, level, k, clear) for k, alpha in enumerate(alphas)]
    assert not is_premultiplied([Fringe.of(c, a) for c, a in zip(plain, alphas, strict=True)])
    multiplied = [_multiplied(c, a) for c, a in zip(plain, alphas, strict=True)]
    assert is_premultiplied([Fringe.of(c, a) for c, a in zip(multiplied, alphas, strict=True)])


def test_black_subjects_and_hard_mattes_are_never_called_premultiplied() -> None:
    alpha = _head()
    assert not is_premultiplied([Fringe.of(_coloured(alpha, 3, k), alpha) for k in range(5)])
    hard = (alpha > 127).astype(np.uint8) * 255
    assert not is_premultiplied([Fringe.of(_multiplied(_coloured(hard, 100, k), hard), hard) for k in range(5)])
    assert not is_premultiplied([])


def _sources(folder: Path, alphas: list[np.ndarray]) -> dict[str, Source]:
    folder.mkdir()
    found = {}
    for k, alpha in enumerate(alphas):
        colour, matte = folder / f"{k:05d}.png", folder / f"m{k:05d}.png"
        Image.fromarray(_coloured(alpha, 120, k).transpose(1, 2, 0)).save(colour)
        Image.fromarray(alpha).save(matte)
        found[f"{k:05d}"] = Source(colour, matte, alpha.shape[::-1], "")
    return found


def test_a_run_looks_at_frames_spread_over_all_and_a_check_at_every_one(tmp_path) -> None:
    sources = _sources(tmp_path / "a", [_head() if k != 3 else _head() // 255 for k in range(30)])
    sample, every = Findings(), Findings()
    check_sample(sources, sample)
    check_decoded(sources, every)
    assert not sample.problems
    (problem,) = every.problems
    assert (problem.frame, problem.kind, problem.severity) == ("00003", "matte-levels", "error")
    with pytest.raises(DataError, match=r"m00003.png \[frame 00003\]: expected a matte from 0 to 255, found 0 to 1"):
        PixelReader("00003", sources["00003"].colour, sources["00003"].alpha)()


def test_alphas_of_nothing_in_all_frames_are_an_error_and_in_one_a_warning(tmp_path) -> None:
    nothing, whole = np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)
    for name, alphas, severity in (
        ("none", [nothing] * 4, "error"),
        ("one", [_head(), nothing, _head()], "warning"),
        ("all", [whole] * 3, "warning"),
    ):
        findings = Findings()
        check_sample(_sources(tmp_path / name, alphas), findings)
        assert {problem.severity for problem in findings.problems} >= {severity}
        assert bool(findings.errors()) == (severity == "error")
        assert bool(findings.notes) == (severity == "warning")


def test_masks_of_the_mouth_follow_the_same_rule(tmp_path) -> None:
    mouth = np.zeros((64, 64), np.uint8)
    shut = tmp_path / "shut.png"
    Image.fromarray(mouth).save(shut)
    mouth[30:34, 28:36] = 1
    ones = tmp_path / "ones.png"
    Image.fromarray(mouth).save(ones)
    findings = Findings()
    check_masks({"1": shut, "2": ones}, findings)
    assert [problem.frame for problem in findings.errors()] == ["2"]
