"""Ways name stage instances, and are checked before they become folders."""

from __future__ import annotations

import pytest

from headbench.harness.errors import BenchError
from headbench.harness.way import TRAIN, Step, Way, parse_ways, with_parents


@pytest.mark.parametrize("text", ["train", "train/bake", "train/bake:decoder", "train/bake/edit:my sticker 2"])
def test_a_way_is_its_text(text: str) -> None:
    assert str(Way.parse(text)) == text


def test_a_way_knows_its_family() -> None:
    way = Way.parse("train/complete/bake:plain")
    assert way.last == Step("bake", "plain") and (way.stage, way.label) == ("bake", "plain")
    assert str(way.parent) == "train/complete" and way.parent.parent == TRAIN and TRAIN.parent is None
    assert way.is_below(TRAIN) and way.is_below(way.parent)
    assert not way.is_below(way) and not TRAIN.is_below(way) and not way.is_below(Way.parse("train/bake"))


def test_parents_come_first_and_once() -> None:
    ways = parse_ways(["train/bake/edit:a", "train", "train/complete"])
    assert [str(way) for way in with_parents(ways)] == ["train", "train/bake", "train/bake/edit:a", "train/complete"]


@pytest.mark.tried("wrong command lines", "a stage with a path, a colon too many or a folder's name in its name")
@pytest.mark.parametrize(
    "text",
    ["", " ", "train/", "/train", "train//bake", "..", "train/../x", "Train", "train/bake:", "train/bake:a:b",
     "train/bake:.x", "train/bake:a\x1b", "train/checkpoint-5", "train/previews", "train/" + "b" * 300, "trän"],
)  # fmt: skip
def test_what_is_no_way_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match=r"expected") as caught:
        Way.parse(text)
    assert "help: name it as train, or train/bake:LABEL" in str(caught.value)


def test_a_way_is_asked_for_once() -> None:
    with pytest.raises(BenchError, match="train/bake is asked for twice"):
        parse_ways(["train/bake", "train", "train/bake"])
