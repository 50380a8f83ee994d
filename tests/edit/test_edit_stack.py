"""Stacks of edits: nothing applied is bit-equal, order matters, undo and reorder restore bits, files are checked."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from headbench.harness.errors import BenchError
from headbench.harness.reading import Unreadable
from headbench.stages.edit import NAME, Stack, apply, bring, check, read_stack
from headbench.stages.edit.entries import Region, Sticker, Wash

BLUE = {"kind": "wash", "colour": [0.1, 0.2, 0.9], "region": "face"}


@pytest.fixture
def three(red: Path) -> Stack:
    """A wash, a sticker over it, and a wash over both."""
    kept = bring.picture_as(red)
    stack = Stack().add(Wash(colour=(0.2, 0.5, 0.9), region="face"))
    stack = stack.add(Sticker(picture=kept, name="red.png", place=Region(region="forehead")), {kept: red})
    return stack.add(Wash(colour=(0.1, 0.8, 0.1), region="forehead", opacity=0.5))


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.view(torch.int32).equal(b.view(torch.int32))


def test_no_edit_gives_the_baked_avatar_bit_for_bit(toy: SimpleNamespace, three: Stack) -> None:
    assert apply(Stack(), toy.maps, toy.canvas) is toy.maps
    undone = three.without().without().without()
    assert undone.entries == () and apply(undone, toy.maps, toy.canvas) is toy.maps


def test_order_matters_and_undo_and_reorder_restore_bits(toy: SimpleNamespace, three: Stack) -> None:
    before = apply(three, toy.maps, toy.canvas).colour
    other = three.reordered([2, 3, 1])
    assert not same(apply(other, toy.maps, toy.canvas).colour, before)
    assert same(apply(other.reordered([3, 1, 2]), toy.maps, toy.canvas).colour, before)
    two = apply(three.without(), toy.maps, toy.canvas).colour
    again = three.without().add(three.entries[2])
    assert not same(two, before) and same(apply(again, toy.maps, toy.canvas).colour, before)
    middle = three.without(2)
    assert [entry.kind for entry in middle.entries] == ["wash", "wash"]
    for name, tensor in apply(three, toy.maps, toy.canvas).tensors().items():
        assert name == "colour" or tensor is getattr(toy.maps, name)


def test_a_written_stack_is_read_back_and_gives_the_same_bits(
    toy: SimpleNamespace, three: Stack, tmp_path: Path
) -> None:
    path = three.write(tmp_path / "kept")
    found = read_stack(path)
    assert found.entries == three.entries and path.name == NAME
    assert same(apply(found, toy.maps, toy.canvas).colour, apply(three, toy.maps, toy.canvas).colour)
    (picture,) = (each.name for each in path.parent.iterdir() if each.suffix == ".png")
    assert found.lines()[1] == "  2  sticker red.png on region region forehead" or "forehead" in found.lines()[1]
    found.reordered([3, 2, 1]).write(path.parent)
    assert (path.parent / picture).is_file()
    found.without(2).write(path.parent)
    assert sorted(each.name for each in path.parent.iterdir()) == [NAME], "what no edit reads is removed"


@pytest.mark.parametrize("order", [[1, 2], [1, 2, 2], [1, 2, 4], []])
def test_an_order_that_is_none_is_one_line(three: Stack, order: list[int]) -> None:
    with pytest.raises(BenchError, match="expected each of the numbers 1 to 3 once, found"):
        three.reordered(order)
    with pytest.raises(BenchError, match="there is no edit 4: the stack has 1 to 3"):
        three.without(4)
    with pytest.raises(BenchError, match="there is no edit to undo"):
        Stack().without()


@pytest.mark.tried("damaged inputs", "a stack of edits that is cut, of a newer version or filled in wrongly")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "edits.json: found an empty file"),
        ('{"format": 1, "entries": [', "found no JSON at line 1"),
        ("[1, 2]", "found JSON that is no stack of edits"),
        ('{"entries": []}', "found JSON that is no stack of edits"),
        ('{"format": 2}', "found format 2 of edits, this version reads up to 1"),
        (json.dumps({"format": 1, "entries": [{**BLUE, "kind": "paint"}]}), "entries.0"),
        (json.dumps({"format": 1, "entries": [{**BLUE, "colour": [2, 0, 0]}]}), "less than or equal to 1, got 2"),
        (json.dumps({"format": 1, "entries": [{**BLUE, "colr": 1}]}), "colr"),
        (json.dumps({"format": 1, "entries": [{"kind": "colour_map", "picture": "../../etc/passwd"}]}), "picture"),
    ],
)
def test_a_stack_that_does_not_fit_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / NAME
    path.write_text(content)
    with pytest.raises(BenchError) as caught:
        read_stack(path)
    assert said in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value.args[0])


@pytest.mark.tried("damaged inputs", "pictures beside a stack of edits that were changed or removed")
def test_a_picture_that_is_not_the_one_of_its_name_is_refused(
    toy: SimpleNamespace, three: Stack, tmp_path: Path
) -> None:
    path = three.write(tmp_path / "kept")
    (picture,) = path.parent.glob("*.png")
    picture.write_bytes(picture.read_bytes() + b"x")
    with pytest.raises(BenchError, match=r"edit 2 \(sticker\): .*found a file with the SHA-256"):
        apply(read_stack(path), toy.maps, toy.canvas)
    picture.unlink()
    with pytest.raises(BenchError, match=r"edit 2 \(sticker\): .*found no such file"):
        check(read_stack(path), toy.canvas)
    with pytest.raises(Unreadable):
        read_stack(path).file(picture.name)


def test_a_region_that_this_head_lacks_names_those_it_has(toy: SimpleNamespace) -> None:
    stack = Stack().add(Wash(colour=(0, 0, 1), region="left_cheak"))
    with pytest.raises(BenchError) as caught:
        check(stack, toy.canvas)
    said = str(caught.value.args[0])
    assert said.startswith("edit 1 (wash): Unknown region of this head 'left_cheak'. Did you mean 'left_cheek'")
    assert "chin" in said and "forehead" in said and "\n" not in said
