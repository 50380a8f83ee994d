"""The same performance drives to the same pixels, whichever layout it is stored in and whichever the avatar is of."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headbench.datasets.synthetic.writer_nersemble import SEQUENCES
from headbench.harness.types import Camera, HeadParams
from headbench.reenact import Options, head_of, transfer

LAYOUTS = ("insta", "imavatar", "vhap", "nersemble")
SOME = [name if name in ("insta", "nersemble") else pytest.param(name, marks=pytest.mark.slow) for name in LAYOUTS]
"""Layouts of the avatar; each is driven by all."""
AS_IS = Options(expression="absolute")
GOOD = 45.0
"""PSNR in decibels above which two renders count as the same."""


def tracked(frames) -> tuple[HeadParams, Camera]:
    return HeadParams.join([f.params for f in frames]), Camera.join([f.camera for f in frames])


def moments(frames) -> list[int]:
    """Row of the performance of each frame: NeRSemble's 22 sequences are one frame long here."""
    return [SEQUENCES.index(f.sequence) if f.sequence in SEQUENCES else k for k, f in enumerate(frames)]


def driven(driver, session, options=AS_IS, rows=None):
    """Drive by all frames of a driver, or by those of these rows of the performance."""
    performance, _ = driver.performance(options.smooth)
    made = transfer(performance, driver.head, head_of(session.loaded.identity), options)
    if rows is None:
        return made
    known = moments(driver.frames)
    index = [known.index(row) for row in rows]
    return replace(made, params=made.params.rows(index), camera=made.camera.rows(index))


@pytest.mark.slow
def test_each_layout_holds_the_motion_in_a_place_of_its_own(avatars) -> None:
    forms = {layout: head_of(avatars(layout).loaded.identity).form for layout in LAYOUTS}
    assert forms == {"insta": "camera", "imavatar": "root", "vhap": "translation", "nersemble": "similarity"}


@pytest.mark.parametrize("layout", SOME)
def test_a_performance_stored_in_four_layouts_drives_to_the_same_pixels(
    layout: str, avatars, drive, images, decibels
) -> None:
    session = avatars(layout)
    rows = range(0, 22, 4)
    renders = {}
    for of in LAYOUTS:
        made = driven(drive(of), session, rows=rows)
        renders[of] = images(session, made.params, made.camera)
    first = renders[layout]
    assert first.float().std() > 20 and (first[0] != first[-1]).any()
    for of, render in renders.items():
        assert decibels(first, render) > GOOD, (of, decibels(first, render))


@pytest.mark.parametrize(
    ("layout", "method"),
    [
        *(pytest.param(layout, "GaussianAvatars", marks=pytest.mark.slow) for layout in LAYOUTS),
        ("imavatar", "FlashAvatar"),
    ],
)
def test_the_source_itself_in_another_layout_gives_its_test_renders(
    layout: str, method: str, avatars, drive, people, images, decibels
) -> None:
    session, subject = avatars(layout, method), people(layout)[2]
    frames = subject.test[-3:]
    rows = moments([*subject.train, *subject.test])[-len(subject.test) :][-3:]
    truth = images(session, *tracked(frames))
    for of in LAYOUTS:
        made = driven(drive(of), session, rows=rows)
        found = decibels(truth, images(session, made.params, made.camera))
        assert found > GOOD, (of, found)


@pytest.mark.parametrize("layout", SOME)
def test_a_driver_of_the_sources_own_layout_passes_its_parameters_through(layout: str, avatars, drive, people) -> None:
    subject, driver, session = people(layout)[2], drive(layout, "train"), avatars(layout)
    params, camera = tracked(subject.train)
    made = driven(driver, session, Options())
    for name in ("expression", "neck", "jaw", "eye_left", "eye_right"):
        torch.testing.assert_close(getattr(made.params, name), getattr(params, name), atol=2e-6, rtol=0)
    for name in ("root", "translation"):
        torch.testing.assert_close(getattr(made.params, name), getattr(params, name), atol=2e-6, rtol=0)
    if layout == "nersemble":
        assert params.similarity.scale.unique().numel() > 5
        for name, value in vars(params.similarity).items():
            torch.testing.assert_close(getattr(made.params.similarity, name), value, atol=2e-6, rtol=0)
    torch.testing.assert_close(made.camera.w2c, camera.w2c, atol=3e-6, rtol=0)
    torch.testing.assert_close(made.camera.K, camera.K)


@pytest.mark.parametrize(
    ("source", "of"), [("insta", "imavatar"), pytest.param("imavatar", "insta", marks=pytest.mark.slow)]
)
def test_another_persons_layout_drives_this_one(source: str, of: str, avatars, drive, people) -> None:
    """INSTA drives IMAvatar and the reverse: the driver's vertices and the source's turn and open alike."""
    session, driver = avatars(source, "GaussianAvatars", 6), drive(of, "test")
    made = driven(driver, session, Options())
    frames = people(of)[2].test
    params, camera = tracked(frames)
    source_head = head_of(session.loaded.identity)
    axes = []
    for head, each, cameras in ((driver.head, params, camera), (source_head, made.params, made.camera)):
        posed = head.bound.vertices(each_double(each))
        seen = posed @ cameras.w2c[:, :3, :3].double().mT + cameras.w2c[:, None, :3, 3].double()
        eyes = [seen[:, head.bound.regions[name]].mean(1) for name in ("left_eye", "right_eye")]
        across = eyes[0] - eyes[1]
        axes.append(torch.stack([across / across.norm(dim=1, keepdim=True), sum(eyes) / 2], 1))
    # Two people's eyes are not at the same place, but they look and stand alike.
    angles = torch.rad2deg(torch.acos((axes[0][:, 0] * axes[1][:, 0]).sum(1).clamp(max=1)))
    assert angles.max() < 1 and (axes[0][:, 1] - axes[1][:, 1]).norm(dim=1).max() < 0.02
    torch.testing.assert_close(made.params.jaw, params.jaw)
    shift = made.params.expression[:, :52] - params.expression[:, :52]
    assert (shift - shift[:1]).abs().max() < 1e-6 and shift.abs().max() > 1e-3


def each_double(params: HeadParams) -> HeadParams:
    from headbench.harness.types import map_tensors

    return map_tensors(params, torch.Tensor.double)
