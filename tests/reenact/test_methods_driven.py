"""Every method is driven by another layout; detours and refined parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from headbench.harness.session import open_checkpoint
from headbench.harness.types import Camera, HeadParams
from headbench.metrics.psnr import psnr
from headbench.reenact import Options, Transferred, head_of, plan_pairs, sources_of, transfer
from headbench.reenact.detour import Detour, detour, image_loss, parameter_loss
from headbench.reenact.placement import head_to_camera

METHODS = (
    "FateAvatar",
    "FlashAvatar",
    "GaussianAvatars",
    "MonoGaussianAvatar",
    "SplattingAvatar",
    "nearest-frame",
)


@pytest.mark.parametrize("method", [pytest.param(METHODS[0], marks=pytest.mark.slow), *METHODS[1:]])
def test_every_method_is_driven_by_another_layout_as_by_its_own(method: str, avatars, drive, images, decibels) -> None:
    session = avatars("insta", method)
    head, seen = head_of(session.loaded.identity), []
    for of, rows in (("insta", [3, 17]), ("vhap", [3, 17]), ("imavatar", [3, 17])):
        performance, _ = drive(of).performance()
        made = transfer(performance, drive(of).head, head, Options(expression="absolute"))
        seen.append(images(session, made.params.rows(rows), made.camera.rows(rows)))
    assert (seen[0][0] != seen[0][1]).any()
    assert min(decibels(seen[0], other) for other in seen[1:]) > 45


def test_relative_pose_starts_where_the_source_stood_and_a_still_one_stays(drive, avatars) -> None:
    driver, source = drive("insta", "train"), head_of(avatars("imavatar", "GaussianAvatars", 6).loaded.identity)
    performance, _ = driver.performance()
    moved = transfer(performance, driver.head, source, Options(pose="relative", camera="source"))
    still = transfer(performance, driver.head, source, Options(pose="source", camera="source", eyes="source"))
    first, camera = source.identity.first, source.identity.camera
    for made, rows in ((moved, [0]), (still, [0, 7])):
        for name in ("root", "neck"):
            wanted = getattr(first, name).expand(len(rows), 3)
            torch.testing.assert_close(getattr(made.params, name)[rows], wanted, atol=2e-6, rtol=0)
        assert torch.equal(made.camera.K[rows], camera.K.expand(len(rows), 3, 3))
    assert torch.equal(still.params.eye_left, first.eye_left.expand(len(still.params.root), 3))
    # The head turns as far from its start as the driver's does, whatever the two starts are.
    turns = performance.placement.turn
    found = head_to_camera(moved.params, moved.camera, source.joints(moved.params.expression)).turn
    torch.testing.assert_close(found @ found[:1].mT, turns @ turns[:1].mT, atol=3e-6, rtol=0)


def test_smoothing_takes_shaking_out_of_the_head(drive, avatars) -> None:
    driver, source = drive("vhap", "all"), head_of(avatars("insta").loaded.identity)

    def shaking(width: int) -> float:
        performance, _ = driver.performance(width)
        w2c = transfer(performance, driver.head, source, Options(smooth=width)).camera.w2c
        return float((w2c[2:] - 2 * w2c[1:-1] + w2c[:-2]).norm())

    assert shaking(9) < 0.3 * shaking(1)


@pytest.mark.parametrize(
    "options", [pytest.param(Options(), marks=pytest.mark.slow), Options("absolute", "relative", "source")]
)
def test_a_detour_through_another_layout_loses_nothing_that_both_have(drive, avatars, options: Options) -> None:
    driver, source = drive("imavatar", "test"), head_of(avatars("imavatar").loaded.identity)
    for layout in ("insta", "vhap", "nersemble"):
        other = head_of(avatars(layout, "GaussianAvatars", 6).loaded.identity)
        performance, _ = driver.performance()
        straight = transfer(performance, driver.head, source, options)
        loss = parameter_loss(detour(performance, driver.head, source, other, options, straight), source)
        assert loss["expression_largest"] < 1e-6 and loss["vertices_largest_mm"] < 1e-3
        assert loss["head_degrees"] < 1e-3 and loss["head_mm"] < 0.02 and loss["jaw_degrees"] < 1e-4


def test_a_detour_through_fewer_coefficients_loses_them(drive, avatars) -> None:
    driver, source = drive("imavatar", "test"), head_of(avatars("imavatar").loaded.identity)
    wide = avatars("insta", "GaussianAvatars", 6).loaded.identity
    narrow = head_of(replace(wide, mean_expression=wide.mean_expression[:, :20]))
    performance, _ = driver.performance()
    options = Options("absolute")
    straight = transfer(performance, driver.head, source, options)
    found = detour(performance, driver.head, source, narrow, options, straight)
    beyond = performance.params.expression[:, 20:]
    loss = parameter_loss(found, source)
    assert loss["expression_largest"] == pytest.approx(float(beyond.abs().max()))
    rms = (beyond.square().sum() / performance.params.expression.numel()).sqrt()
    assert loss["expression"] == pytest.approx(float(rms), rel=1e-5)
    assert loss["vertices_largest_mm"] > 0.1
    assert any("expression cut from 52 to 20 coefficients" in note for note in found.notes)


def test_refined_parameters_of_the_driver_are_used_where_a_source_was_trained_on_it(checkpoints, drive, people) -> None:
    subject, driver = people("insta")[2], drive("insta", "train")
    seen = [frame.timestep for frame in subject.train[:4]]
    jaws = torch.arange(12.0).reshape(4, 3) / 100
    shifts = torch.tensor([[0.0, 0.0, 0.7]]).repeat(4, 1)
    tables = {"timesteps": torch.tensor(seen), "jaw": jaws, "camera_t": shifts}
    own, other = checkpoints("insta", frames=tables), checkpoints("insta", "GaussianAvatars", 6)
    sources = sources_of([open_checkpoint(path, "cpu") for path in (other, own)])
    # Names do not tell: the other source is of another person, whose folder is called alike.
    assert sources[0].about == sources[1].about and [source.shows(driver) for source in sources] == [False, True]
    for pair in plan_pairs(sources, [driver], Options(), 6):
        assert pair.refined[0] == 4 and pair.refined[1].parent == own
        torch.testing.assert_close(pair.made.params.jaw[:4], jaws)
        torch.testing.assert_close(pair.made.params.jaw[4], subject.train[4].params.jaw[0])
        torch.testing.assert_close(pair.made.camera.w2c[:4, :3, 3], shifts)
    # Test frames are nobody's refined ones.
    assert plan_pairs(sources, [drive("insta", "test")], Options(), None)[0].refined == (0, None)


def test_identical_pictures_have_no_psnr() -> None:
    class Still:
        """A session that draws the same whatever it is asked for, but for one view."""

        def stream(self, views, background):
            for k, view in enumerate(views):
                value = 10 if view.params.jaw.any() and k == 0 else 0
                yield torch.full((3, 4, 4), value, dtype=torch.uint8)

    class Source:
        session = Still()

    def made(jaw: float) -> Transferred:
        zero = torch.zeros(2, 3)
        params = HeadParams("openhead", zero, zero, zero, zero + jaw, zero, zero, zero)
        camera = Camera(torch.eye(4).repeat(2, 1, 1), torch.eye(3).repeat(2, 1, 1), 4, 4)
        return Transferred(params, camera, zero[:1], zero[:1], ())

    loss = image_loss(Detour(made(0.0), made(0.1), ()), Source(), ["a", "b"], "white", psnr)
    assert loss["identical"] == 1 and loss["frames"] == 2
    assert loss["psnr_mean"] == loss["psnr_lowest"] == pytest.approx(20 * torch.tensor(25.5).log10().item(), abs=1e-4)
