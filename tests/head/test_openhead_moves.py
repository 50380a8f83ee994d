"""The open head as a HeadModel: jaw, eyes and face units move what they should, by the amount they should."""

from __future__ import annotations

import math

import pytest
import torch

from headbench.harness.head import load_head
from headbench.harness.types import HeadParams, Identity

SIDED = (
    "browDown browOuterUp cheekSquint eyeBlink eyeLookDown eyeLookIn eyeLookOut eyeLookUp eyeSquint eyeWide "
    "mouthDimple mouthFrown mouthLowerDown mouthPress mouthSmile mouthStretch mouthUpperUp noseSneer"
)
SINGLE = (
    "browInnerUp cheekPuff jawForward jawLeft jawOpen jawRight mouthClose mouthFunnel mouthLeft mouthPucker mouthRight "
    "mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper tongueOut"
)


@pytest.fixture(scope="module")
def head():
    return load_head("openhead", "teeth")


@pytest.fixture(scope="module")
def pose(head):
    """pose(jaw=..., eyeBlinkLeft=1.0) -> (V, 3) vertices of the mean person."""
    mean = torch.zeros(1, head.sizes[0])

    def make(**moves):
        expression = torch.zeros(1, head.sizes[1])
        joints = {name: torch.zeros(1, 3) for name in ("root", "neck", "jaw", "eye_left", "eye_right", "translation")}
        for name, value in moves.items():
            if name in joints:
                joints[name] = torch.tensor([value])
            else:
                expression[0, head.expression_names.index(name)] = value
        params = HeadParams("openhead", expression, **joints)
        return head(params, Identity("openhead", mean, 0 * expression, 0 * expression, params, None))[0]

    return make


def test_expressions_are_the_face_units_of_arkit_in_alphabetical_order(head) -> None:
    names = [*SINGLE.split(), *(stem + side for stem in SIDED.split() for side in ("Left", "Right"))]
    assert list(head.expression_names) == sorted(names) and len(names) == 52


def test_turning_the_jaw_moves_the_lower_lip_down_and_leaves_the_upper(head, pose) -> None:
    lips = head.regions["lips"] & (head.template[:, 0].abs() < 0.01)
    moved = (pose(jaw=[0.3, 0.0, 0.0]) - pose())[lips]
    heights, middle = head.template[lips, 1], head.template[head.regions["mouth_interior"] & head.regions["lips"], 1]
    lower, upper = heights < middle.min() - 0.002, heights > middle.max() + 0.002
    assert lower.sum() >= 3 and upper.sum() >= 3
    assert moved[lower, 1].max() < -0.01 and moved[upper].norm(dim=1).max() < 0.002


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_eye_turns_about_its_centre_towards_where_the_axis_points(head, pose, side) -> None:
    mask = head.regions[f"{side}_eye"]
    rest, turned = pose(), pose(**{f"eye_{side}": [0.0, 0.3, 0.0]})
    others = torch.ones(len(rest), dtype=torch.bool) & ~mask
    torch.testing.assert_close(turned[others], rest[others])
    centre = rest[mask].mean(0)
    torch.testing.assert_close(turned[mask].mean(0), centre, atol=1e-5, rtol=0)
    cornea = mask.nonzero()[:, 0][rest[mask, 2].argmax()]
    before, after = rest[cornea] - centre, turned[cornea] - centre
    angle = torch.atan2(after[0], after[2]) - torch.atan2(before[0], before[2])
    assert angle.item() == pytest.approx(0.3, abs=1e-3), "a positive turn about y looks towards the subject's left"


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_a_blink_covers_the_eyeball(head, pose, side) -> None:
    """How many of the rays from the front over an eye meet the eyeball first, open and closed."""
    import numpy as np
    import trimesh

    mask = head.regions[f"{side.lower()}_eye"]
    eye_faces = mask[head.faces].all(1).numpy()
    centre = head.template[mask].mean(0).numpy()
    across = np.stack(np.meshgrid(np.linspace(-0.02, 0.02, 41), np.linspace(-0.02, 0.02, 41)), -1).reshape(-1, 2)
    origins = np.concatenate([centre[:2] + across, np.full((len(across), 1), 0.5)], 1)

    def seen(vertices) -> int:
        mesh = trimesh.Trimesh(vertices.numpy(), head.faces.numpy(), process=False)
        found = mesh.ray.intersects_first(origins, np.tile([0.0, 0.0, -1.0], (len(origins), 1)))
        return int(eye_faces[found[found >= 0]].sum())

    wide, shut = seen(pose()), seen(pose(**{f"eyeBlink{side}": 1.0}))
    other = "Right" if side == "Left" else "Left"
    assert wide > 100 and shut < 0.12 * wide and seen(pose(**{f"eyeBlink{other}": 1.0})) == wide


def test_the_neck_turns_the_whole_head_and_leaves_the_cut(head, pose) -> None:
    rest, turned = pose(), pose(neck=[0.0, math.pi / 6, 0.0])
    lowest = rest[:, 1] < rest[:, 1].min() + 1e-4
    assert (turned - rest)[lowest].norm(dim=1).max() < 0.012
    nose = rest[head.regions["nose"], 2].argmax()
    moved = (turned - rest)[head.regions["nose"]][nose]
    assert moved[0] > 0.04
