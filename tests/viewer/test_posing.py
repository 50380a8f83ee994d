"""Controls of a head become head parameters, and head parameters become controls."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from headbench.harness.errors import BenchError
from headbench.harness.head import load_head
from headbench.harness.train import load_portrait
from headbench.harness.types import HeadParams, map_tensors
from headbench.viewer.posing import EXPRESSIONS, Posing


@pytest.fixture(scope="module")
def head(session):
    """The open head, bound to the subject."""
    return load_head("openhead").bind(session.loaded.identity)


@pytest.fixture(scope="module")
def posing(session, head):
    """Controls of the subject, as if it were tracked with all 52 face units."""
    zero = torch.zeros(1, len(head.expression_names))
    first = replace(session.loaded.identity.first, expression=zero)
    identity = replace(session.loaded.identity, mean_expression=zero, first=first)
    return Posing(identity, head.expression_names, eyelids=False)


def same(one: HeadParams, other: HeadParams) -> bool:
    flat: list[list[torch.Tensor]] = [[], []]
    for params, values in zip((one, other), flat, strict=True):
        map_tensors(params, values.append)
    return len(flat[0]) == len(flat[1]) and all(map(torch.equal, *flat))


def test_every_control_of_the_open_head_goes_there_and_back_and_moves_the_mesh(posing, head) -> None:
    names = [control.name for control in posing.controls]
    assert names[:2] == ["jaw open", "jaw left"] and "browInnerUp" in names and "mouthSmileLeft" in names
    assert len(set(names)) == len(names) and len([c for c in posing.controls if c.group == "expression"]) >= EXPRESSIONS
    still = head.vertices(posing.rest())
    for control in posing.controls:
        value = control.high / 2
        params = posing.params_of({control.name: value})
        shown = posing.values_of(params)
        assert shown.pop(control.name) == pytest.approx(value, abs=1e-4)
        assert max(map(abs, shown.values())) < 1e-4, f"{control.name} moves no other control"
        assert float((head.vertices(params) - still).abs().max()) > 1e-4, control.name
    beyond = posing.params_of({"jaw open": 500.0, "mouthSmileLeft": -3.0})
    assert float(beyond.jaw[0, 0]) == pytest.approx(math.radians(30), abs=1e-6)
    assert float(beyond.expression.abs().max()) == 0


def test_directions_are_as_they_say(posing, head) -> None:
    """Down is -y, the subject's left is +x."""
    rest = head.vertices(posing.rest())[0]

    def moved(region: str, **values: float) -> torch.Tensor:
        params = posing.params_of({name.replace("_", " "): value for name, value in values.items()})
        return (head.vertices(params)[0] - rest)[head.regions[region]].mean(0)

    assert moved("nose", neck_down=20)[1] < -0.005
    assert moved("nose", neck_left=20)[0] > 0.01
    assert moved("scalp", neck_tilt=20)[0] < -0.01
    assert moved("lips", jaw_open=20)[1] < -0.002
    assert moved("lips", jaw_left=10)[0] > 0.0005
    params = posing.params_of({"eyes left": 20.0, "eyes down": 10.0})
    assert params.eye_left[0].tolist() == params.eye_right[0].tolist()
    assert params.eye_left[0, 0] > 0 and params.eye_left[0, 1] > 0, "as the synthetic subjects' gaze"


def test_a_tracked_frame_stays_as_it_is_but_for_what_is_moved(posing, made_subject) -> None:
    wild = made_subject.train[1].params
    wild = replace(
        wild, jaw=torch.tensor([[0.9, 0.0, 0.1]]), eye_left=wild.eye_left + torch.tensor([[0.1, -0.1, 0.02]])
    )
    assert same(posing.params_of(posing.values_of(wild), wild), wild), "also a jaw beyond the control's range"
    moved = posing.params_of(posing.values_of(wild) | {"eyes left": 20.0}, wild)
    assert torch.equal(moved.jaw, wild.jaw) and torch.equal(moved.root, wild.root)
    assert torch.allclose(moved.eye_left - moved.eye_right, wild.eye_left - wild.eye_right, atol=1e-6)
    assert posing.values_of(moved)["eyes left"] == pytest.approx(20.0, abs=1e-3)
    assert posing.params_of(posing.preset("neutral"), wild).jaw[0, 2] == wild.jaw[0, 2], "no control moves it"


def test_presets_of_the_open_head_are_what_they_are_called(posing, head) -> None:
    assert list(posing.presets) == ["neutral", "smile", "open mouth", "blink"]

    def region(preset: str, name: str) -> torch.Tensor:
        return head.vertices(posing.params_of(posing.preset(preset)))[0][head.regions[name]]

    assert same(posing.params_of(posing.preset("neutral")), posing.rest())
    smile, plain = region("smile", "lips"), region("neutral", "lips")
    assert float(torch.stack([smile[:, 0].max() - smile[:, 0].min()]) - (plain[:, 0].max() - plain[:, 0].min())) > 0.004
    corner = int(plain[:, 0].argmax())
    assert smile[corner, 1] > plain[corner, 1] + 0.002, "the corner of the mouth goes up"
    opened = region("open mouth", "lips")
    assert (opened[:, 1].max() - opened[:, 1].min()) > (plain[:, 1].max() - plain[:, 1].min()) + 0.01
    assert (region("blink", "face") - region("neutral", "face")).norm(dim=1).max() > 0.004


def test_a_head_without_names_has_no_smile_and_blinks_by_its_eyelids(posing, session) -> None:
    identity = posing.identity
    plain = Posing(replace(identity, head="flame2023"), (), eyelids=False)
    assert list(plain.presets) == ["neutral", "open mouth"]
    named = [control.name for control in plain.controls if control.group == "expression"]
    assert named == [f"expression {k}" for k in range(1, EXPRESSIONS + 1)]
    assert plain.params_of({"expression 3": 9.0}).expression[0, 2] == 3
    first = replace(identity.first, eyelids=torch.tensor([[0.3, 0.4]]))
    lids = Posing(replace(identity, first=first), (), eyelids=True)
    assert list(lids.presets) == ["neutral", "open mouth", "blink"]
    closed = lids.params_of(lids.preset("blink") | {"eyelid right": 0.5})
    assert closed.eyelids.tolist() == [[1.0, 0.5]] and lids.rest().eyelids.tolist() == [[0.0, 0.0]]
    without = Posing(replace(identity, first=first), (), eyelids=False)
    assert "eyelid left" not in without.values_of(first), "of a method that ignores them"
    narrow = Posing.of(session.loaded)
    assert "smile" not in narrow.presets, "of a subject that was tracked with fewer face units"


def test_eyelids_are_offered_where_they_close(session, checkpoint_of) -> None:
    given = replace(session.loaded.identity, first=replace(session.loaded.identity.first, eyelids=torch.zeros(1, 2)))
    for method, options, expected in (
        ("GaussianAvatars", {}, True),
        ("GaussianAvatars", {"eyelids": False}, False),
        ("MonoGaussianAvatar", {}, False),
    ):
        loaded = replace(load_portrait(checkpoint_of(method, **options), "cpu"), identity=given)
        names = [control.name for control in Posing.of(loaded).controls if control.group == "eyelids"]
        assert names == (["eyelid left", "eyelid right"] if expected else []), method


def test_a_wrong_control_is_named(posing) -> None:
    with pytest.raises(BenchError, match=r"Unknown control 'mouthSmileLeff'\. Did you mean 'mouthSmileLeft'"):
        posing.params_of({"mouthSmileLeff": 1.0})
    with pytest.raises(BenchError, match="control 'jaw open': expected a finite number, found nan"):
        posing.params_of({"jaw open": math.nan})
    with pytest.raises(BenchError, match="Unknown preset 'grin'"):
        posing.preset("grin")
