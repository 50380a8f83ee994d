"""Files of scores of the layout before: read as ever, with kinds in place of sentences."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headbench.metrics import AbsentKind, read_scores
from headbench.reports import build_table, to_csv, to_json

SENTENCES = {
    "n/a (not asked for; --lpips vgg)": AbsentKind.NOT_ASKED,
    "n/a (not computed on CPU; --lpips vgg)": AbsentKind.SLOW_ON_CPU,
    "n/a (weights missing: bench assets fetch lpips)": AbsentKind.NO_WEIGHTS,
    "n/a (registered weights 0123… are not the protocol's 4567…)": AbsentKind.OTHER_WEIGHTS,
    "n/a (no face)": AbsentKind.OTHER,
}


def stored(folder: Any) -> Path:
    (path,) = folder.path.glob("cells/**/headbench@1.jsonl")
    return Path(path)


def test_both_layouts_give_the_same_table(new_run: Callable[..., Any]) -> None:
    texts = []
    for layout in (1, 2):
        folder = new_run(f"of-{layout}", layout=layout)
        missing = "n/a (weights missing: bench assets fetch lpips)"
        folder.result("A", psnr=[30.0, math.pi], lpips=[None, None], lpips_reason=missing)
        folder.result("B", psnr=[31.0, 32.5], lpips=[0.25, 0.125])
        table = build_table(folder.path)
        texts.append([write(table).replace(f"of-{layout}", "run") for write in (to_csv, to_json)])
    assert texts[0] == texts[1]
    assert "lpips_alex: n/a (weights missing: bench assets fetch lpips)" in texts[0][0]


@pytest.mark.parametrize(("sentence", "kind"), SENTENCES.items())
def test_sentences_become_kinds_and_keep_their_words(
    new_run: Callable[..., Any], sentence: str, kind: AbsentKind
) -> None:
    folder = new_run(layout=1)
    folder.scores(folder.cell("A"), ["0"], {"psnr": [30.0], "ssim": [0.5]}, reasons={"lpips/vgg": sentence})
    scores = read_scores(stored(folder))
    assert scores.metrics == ("psnr", "ssim", "lpips/vgg") and not scores.offers("lpips/alex")
    assert (scores.why("lpips/vgg").kind, scores.why("lpips/vgg").text) == (kind, sentence)
    assert scores.why("lpips/alex").kind is AbsentKind.NOT_IN_PROTOCOL
    assert scores.why("lpips/alex").text == "n/a (not part of headbench@1)"
    assert scores.frames[0].values == {"psnr": 30.0, "ssim": 0.5} and scores.views == "test"


def test_networks_and_infinity_come_through(new_run: Callable[..., Any]) -> None:
    folder = new_run(layout=1)
    columns = {"psnr": ["inf"], "ssim": [1.0], "lpips/alex": [0.0]}
    folder.scores(folder.cell("A"), ["0"], columns, weights={"lpips/alex": "5" * 64})
    scores = read_scores(stored(folder))
    assert scores.weights == {"lpips/alex": "5" * 64}
    assert scores.frames[0].values == {"psnr": math.inf, "ssim": 1.0, "lpips/alex": 0.0}
