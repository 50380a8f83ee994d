"""A sound subject is read exactly: numbers by hand, not by the code under test."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.datasets.insta.reader import InstaReader
from headbench.harness.errors import DataError
from headbench.harness.types import HeadParams


def test_frames_are_split_and_ordered_as_the_json_files_say(author) -> None:
    author.edit("train", lambda content: content["frames"].reverse())
    subject = InstaReader().read(author.folder, {})
    assert [f.id for f in subject.train] == [f"{k:05d}" for k in range(6)]
    assert [f.timestep for f in subject.test] == [6, 7, 8]
    assert (subject.name, subject.dataset, subject.head) == ("someone", "insta", "flame2020")
    assert (subject.variant, subject.notes) == ("insta/fate", ("3 test frames instead of INSTA's usual 350",))


def test_camera_is_the_inverse_of_the_stored_pose_with_the_stored_principal_point(author) -> None:
    # The camera stands 2 m before the origin and 0.25 m to the side of it, and looks along -z: x right, y down.
    pose = [[1, 0, 0, 0.25], [0, -1, 0, 0.5], [0, 0, -1, 2], [0, 0, 0, 1]]
    author.edit("train", lambda content: content["frames"][0].update(transform_matrix=pose))
    camera = InstaReader().read(author.folder, {}).train[0].camera
    expected = [[1, 0, 0, -0.25], [0, -1, 0, 0.5], [0, 0, -1, 2], [0, 0, 0, 1]]
    assert torch.equal(camera.w2c, torch.tensor([expected], dtype=torch.float32))
    assert torch.equal(camera.K, torch.tensor([[[60, 0, 15.5], [0, 60, 16.25], [0, 0, 1]]]))
    assert (camera.width, camera.height, camera.w2c.dtype) == (32, 32, torch.float32)


def test_six_numbers_are_the_first_two_rows_of_a_rotation(author) -> None:
    # A quarter turn about x has rows (1 0 0), (0 0 -1), (0 1 0); rows may be long and slanted.
    author.text("jaw", 1, [1, 0, 0, 0, 0, -1])
    author.text("eyes", 1, [0, 0, 3, 0.5, 2, 7, 0.5, -math.sqrt(0.75), 0, math.sqrt(0.75), 0.5, 0])
    frame = InstaReader().read(author.folder, {}).train[1]
    torch.testing.assert_close(frame.params.jaw, torch.tensor([[math.pi / 2, 0, 0]]))
    # Rows (0 0 1), (0.24 0.97 0), their cross product: a rotation by the angle whose cosine is (trace - 1) / 2.
    first, second = np.array([0, 0, 1.0]), np.array([0.5, 2, 0]) / math.hypot(0.5, 2)
    rows = np.stack([first, second, np.cross(first, second)])
    angle = math.acos((np.trace(rows) - 1) / 2)
    axis = np.array([rows[2, 1] - rows[1, 2], rows[0, 2] - rows[2, 0], rows[1, 0] - rows[0, 1]]) / (2 * math.sin(angle))
    torch.testing.assert_close(frame.params.eye_left[0].double(), torch.from_numpy(axis * angle), atol=1e-6, rtol=0)
    torch.testing.assert_close(frame.params.eye_right, torch.tensor([[0, 0, math.pi / 3]]))


def test_root_neck_and_translation_are_zero_and_the_rest_is_as_stored(author) -> None:
    subject = InstaReader().read(author.folder, {})
    params = HeadParams.join([f.params for f in subject.train + subject.test])
    for still in (params.root, params.neck, params.translation):
        assert still.shape == (9, 3) and not still.any()
    expected = np.stack([author.numbers(k)["exp"] for k in range(9)])
    assert np.abs(params.expression.numpy() - expected).max() < 1e-6
    assert params.eyelids is not None and params.similarity is None
    torch.testing.assert_close(params.eyelids[2], torch.tensor([0.2, 0.4]))
    assert subject.shape.shape == (1, 300) and subject.shape[0, :3].tolist() == [0.5, -0.25, 0.125]


def test_the_tracker_turns_the_left_eye_with_the_first_six_numbers(author) -> None:
    gaze = torch.tensor([[0.0, -0.2, 0.0]])
    for option, first, second in (("tracker", "eye_left", "eye_right"), ("fateavatar", "eye_right", "eye_left")):
        params = InstaReader().read(author.folder, {"eyes": option}).train[2].params
        torch.testing.assert_close(getattr(params, first).abs(), gaze.abs(), atol=1e-6, rtol=0)
        assert not getattr(params, second).any()


def test_fateavatar_field_of_view_drops_the_principal_point(author) -> None:
    def move(content) -> None:
        content["cx"], content["cy"] = 17.6, 16.0

    author.edit("train", move)
    author.edit("test", move)
    camera = InstaReader().read(author.folder, {"fov": "fateavatar"}).test[0].camera
    # cx at 55 % of the width: a focal length 17 % too small.
    assert camera.K[0, 0, 0] / 60 == pytest.approx(1 - 0.1736, abs=1e-4)
    half = math.tan(math.atan(2 * 17.6**2 / (32 * 60)))
    assert float(camera.K[0, 0, 0]) == pytest.approx(16 / half, rel=1e-6)
    assert camera.K[0, :2, 2].tolist() == [16.0, 16.0] and float(camera.K[0, 1, 1]) == 60.0
    camera = InstaReader().read(author.folder, {"fov": "centred"}).test[0].camera
    assert camera.K[0].flatten().tolist() == [60.0, 0.0, 16.0, 0.0, 60.0, 16.0, 0.0, 0.0, 1.0]


def test_the_last_frames_are_for_testing_where_the_option_says_so(author) -> None:
    as_stored = InstaReader().read(author.folder, {})
    frames = [frame.id for frame in (*as_stored.train, *as_stored.test)]
    for count in (1, len(as_stored.test) + 1):
        subject = InstaReader().read(author.folder, {"test": count})
        assert [frame.id for frame in subject.train] == frames[:-count]
        assert [frame.id for frame in subject.test] == frames[-count:]
        assert subject.fingerprint["split"] != as_stored.fingerprint["split"]
        for frame, other in zip((*subject.train, *subject.test), (*as_stored.train, *as_stored.test), strict=True):
            assert torch.equal(frame.camera.w2c, other.camera.w2c)
            assert torch.equal(frame.params.expression, other.params.expression)
            assert torch.equal(frame.pixels().colour, other.pixels().colour)
    with pytest.raises(DataError, match="expected more than the 99 frames that the option test holds out"):
        InstaReader().read(author.folder, {"test": 99})


def test_eyelids_can_be_ignored(author) -> None:
    assert InstaReader().read(author.folder, {"eyelids": "ignore"}).train[0].params.eyelids is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eye": "tracker"}, "Unknown option of the insta reader 'eye'. Did you mean 'eyelids' or 'eyes'"),
        ({"eyes": "fate"}, "Unknown value of the insta option eyes: 'fate'. Did you mean 'fateavatar'"),
        ({"fov": True}, "Unknown value of the insta option fov: 'True'"),
    ],
)
def test_unknown_options_are_errors_with_suggestions(author, options, words) -> None:
    with pytest.raises(DataError) as caught:
        InstaReader().read(author.folder, options)
    assert words in str(caught.value)


def test_every_option_is_explained() -> None:
    assert sorted(InstaReader().options()) == ["eyelids", "eyes", "fov", "test"]


def test_colour_alpha_and_mouth_are_as_on_disk(author) -> None:
    # Colour under transparent pixels stays: nothing is premultiplied on the way.
    assert author.image(6)[0, 31, :3].any() and author.image(6)[0, 31, 3] == 0
    pixels = InstaReader().read(author.folder, {}).test[0].pixels()
    stored = torch.from_numpy(author.image(6)).permute(2, 0, 1)
    assert torch.equal(pixels.colour, stored[:3]) and torch.equal(pixels.alpha, stored[3:])
    mouth = torch.zeros(1, 32, 32, dtype=torch.uint8)
    mouth[:, 20:24, 12:20] = 255
    assert "mouth" in pixels.masks and torch.equal(pixels.masks["mouth"], mouth)
    assert "head" not in pixels.masks and list(pixels.masks) == ["mouth"]


def test_a_damaged_image_names_its_frame_when_it_is_decoded(author) -> None:
    path = author.folder / "images/00006.png"
    frame = InstaReader().read(author.folder, {}).test[0]
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(DataError, match=r"00006.png \[frame 00006\]: expected an image"):
        frame.pixels()


def test_the_named_head_is_taken(author) -> None:
    (author.folder / "head_model.json").write_text('{"tag": "openhead"}')
    subject = InstaReader().read(author.folder, {})
    assert subject.head == "openhead" and subject.train[0].params.head == "openhead"
    # A synthetic subject is not measured against INSTA's split.
    assert subject.notes == ()


def test_fingerprints_tell_what_changed(author) -> None:
    def marks() -> dict[str, str]:
        return dict(InstaReader().read(author.folder, {}).fingerprint)

    def changed(damage) -> set[str]:
        before = marks()
        damage()
        after = marks()
        return {name for name in before if before[name] != after.get(name)}

    whole = {"tracking", "split", "images"}
    ids = [f"{k:05d}" for k in range(9)]
    assert set(marks()) == whole | {f"{what}:{k}" for what in ("images", "tracking") for k in ids}
    assert marks() == marks()
    jaw = [1, 0, 0, 0, math.cos(0.3), math.sin(0.3)]
    assert changed(lambda: author.text("jaw", 3, jaw)) == {"tracking", "tracking:00003"}
    inverse = author.image(3).copy()
    inverse[..., :3] = 255 - inverse[..., :3]
    assert changed(lambda: Image.fromarray(inverse).save(author.folder / "images/00003.png")) == {
        "images",
        "images:00003",
    }
    assert "split" in changed(lambda: author.edit("test", lambda content: content["frames"].pop()))


def test_options_do_not_change_the_fingerprint(author) -> None:
    plain = InstaReader().read(author.folder, {}).fingerprint
    assert plain == InstaReader().read(author.folder, {"eyes": "fateavatar", "eyelids": "ignore"}).fingerprint
