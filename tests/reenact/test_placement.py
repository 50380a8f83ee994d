"""The head's motion before the camera, read from any parameters and written in each form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headbench.harness.head import axis_angle_to_matrix, load_head
from headbench.harness.types import Camera, HeadParams, Identity, Similarity
from headbench.reenact.performance import Head
from headbench.reenact.placement import form_of, head_to_camera, place

COUNT = 5
FORMS = ("camera", "root", "translation", "similarity")


@pytest.fixture(scope="module")
def head() -> Head:
    """A person of the open head, in float64."""
    model = load_head("openhead")
    generator = torch.Generator().manual_seed(2)
    zero = torch.zeros(1, model.sizes[1])
    shape = torch.randn(1, model.sizes[0], generator=generator)
    identity = Identity("openhead", shape, zero, zero, moving(1, False), camera(1))
    return Head(identity, model, model.bind(identity).double(), "camera")


def moving(count: int, similarity: bool, seed: int = 3) -> HeadParams:
    """Poses with everything that places a head, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    placed = Similarity(draw(count).exp(), axis_angle_to_matrix(draw(count, 3)), draw(count, 3) * 0.1)
    joints = {name: draw(count, 3) * 0.3 for name in ("root", "neck", "jaw", "eye_left", "eye_right")}
    expression, translation = draw(count, 52) * 0.3, draw(count, 3) * 0.1
    return HeadParams(
        "openhead", expression, **joints, translation=translation, similarity=placed if similarity else None
    )


def camera(count: int, seed: int = 4) -> Camera:
    generator = torch.Generator().manual_seed(seed)
    w2c = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    w2c[:, :3, :3] = axis_angle_to_matrix(torch.randn(count, 3, generator=generator, dtype=torch.float64))
    w2c[:, :3, 3] = torch.tensor([0.1, -0.05, 1.2])
    return Camera(w2c, torch.eye(3).repeat(count, 1, 1) * 100, 64, 64)


def seen(head: Head, params: HeadParams, cameras: Camera) -> torch.Tensor:
    """Vertices (T, V, 3) in the cameras' axes, divided by their depth: where they fall in the pictures."""
    vertices = head.bound.vertices(params)
    points = vertices @ cameras.w2c[:, :3, :3].mT + cameras.w2c[:, None, :3, 3]
    return points[..., :2] / points[..., 2:]


@pytest.mark.parametrize("similarity", [False, True])
def test_a_placement_takes_the_head_at_rest_to_where_the_model_poses_it(head: Head, similarity: bool) -> None:
    params, cameras = moving(COUNT, similarity), camera(COUNT)
    found = head_to_camera(params, cameras, head.joints(params.expression))
    zero = torch.zeros_like(params.root)
    rest = head.bound.vertices(replace(params, root=zero, translation=zero, similarity=None))
    points = rest @ found.turn.mT + found.offset[:, None]
    # The skinning weights sum to 1 in float32.
    torch.testing.assert_close(points[..., :2] / points[..., 2:], seen(head, params, cameras), atol=1e-7, rtol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("similarity", [False, True])
def test_every_form_shows_the_same_picture(head: Head, form: str, similarity: bool) -> None:
    """What is tracked in any way is written in any form, about the root joint of a face that moves."""
    params, cameras = moving(COUNT, similarity), camera(COUNT)
    cameras.w2c[:, :3, 3] += torch.tensor([0.0, 0.0, 3.0])  # all of it in front, whatever the scale
    joints = head.joints(params.expression)
    found = head_to_camera(params, cameras, joints)
    scale = torch.tensor([0.8])
    root, translation, placed, w2c = place(found, joints, form, scale, camera(1, seed=8))
    assert {t.dtype for t in (root, translation, w2c)} == {torch.float32}
    double = None if placed is None else Similarity(*(each.double() for each in vars(placed).values()))
    written = replace(params, root=root.double(), translation=translation.double(), similarity=double)
    moved = replace(cameras, w2c=w2c.double())
    torch.testing.assert_close(seen(head, written, moved), seen(head, params, cameras), atol=2e-6, rtol=2e-5)
    again = head_to_camera(written, moved, joints)
    torch.testing.assert_close(again.turn, found.turn, atol=1e-6, rtol=0)
    torch.testing.assert_close(again.offset, found.offset, atol=3e-6, rtol=1e-6)


def test_a_form_uses_only_its_own_parameters(head: Head) -> None:
    params, cameras = moving(COUNT, False), camera(COUNT)
    joints, still = head.joints(params.expression), camera(1, seed=8)
    used = {}
    for form in FORMS:
        root, translation, placed, w2c = place(
            head_to_camera(params, cameras, joints), joints, form, torch.ones(1), still
        )
        fixed = bool((w2c[:, :3, :3] == still.w2c[:, :3, :3].float()).all())
        parked = fixed and bool((w2c == still.w2c.float()).all())
        used[form] = (bool(root.any()), bool(translation.any()), placed is not None, fixed, parked)
    assert used == {
        "camera": (False, False, False, False, False),
        "root": (True, False, False, True, False),
        "translation": (True, True, False, True, True),
        "similarity": (False, False, True, True, True),
    }


def test_the_form_is_told_from_the_first_training_frame(head: Head) -> None:
    zero = torch.zeros(1, 3)
    first = moving(1, True)
    cases = {
        "similarity": first,
        "translation": replace(first, similarity=None),
        "root": replace(first, similarity=None, translation=zero),
        "camera": replace(first, similarity=None, translation=zero, root=zero),
    }
    assert {form: form_of(replace(head.identity, first=params)) for form, params in cases.items()} == {
        form: form for form in cases
    }
