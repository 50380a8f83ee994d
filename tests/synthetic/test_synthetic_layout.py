"""What a synthetic subject's folder holds: INSTA's layout to the letter, and the truth besides."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from headbench.datasets.synthetic import write_synthetic
from headbench.datasets.synthetic.layout import split
from headbench.harness.errors import BenchError
from headbench.harness.head import load_head
from headbench.harness.plugins import registry

LENGTHS = {"exp": 100, "shape": 300, "eyes": 12, "jaw": 6, "eyelids": 2}


def test_every_frame_has_its_files_and_nothing_else_is_there(written) -> None:
    per_frame = {
        "images/{}.png", "matted/{}.png", "alpha/{}.png", "depth/{}.png", "seg_mask/{}.png",
        "parsing/{}_mouth.png", "parsing/{}_neckhead.png", *(f"flame/{kind}/{{}}.txt" for kind in LENGTHS),
    }  # fmt: skip
    expected = {path.format(f"{k:05d}") for path in per_frame for k in range(written.frames)}
    expected |= {f"transforms{part}.json" for part in ("", "_train", "_test", "_val")} | {"head_model.json"}
    found = {str(path.relative_to(written.folder)) for path in written.folder.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith("truth/")} == expected


def test_coefficients_have_their_length_and_digits_and_padding(written) -> None:
    sizes = dict(zip(("shape", "exp"), load_head("openhead").sizes, strict=True))
    for kind, length in LENGTHS.items():
        for index in range(written.frames):
            lines = (written.folder / "flame" / kind / f"{index:05d}.txt").read_text(encoding="utf-8").splitlines()
            assert len(lines) == length
            assert all(re.fullmatch(r"-?\d+\.\d{8}", line) for line in lines)
    for kind, size in sizes.items():
        values = written.numbers(kind, 4)
        assert values[:size].any() and not values[size:].any()
    assert np.array_equal(written.numbers("shape", 0), written.numbers("shape", 9))


def test_rotations_are_two_rows_of_a_matrix_and_the_left_eye_comes_first(written) -> None:
    rotations = [written.numbers("jaw", k).reshape(1, 2, 3) for k in range(written.frames)]
    eyes = np.stack([written.numbers("eyes", k).reshape(2, 2, 3) for k in range(written.frames)])
    rows = np.concatenate([*rotations, *eyes])
    np.testing.assert_allclose(rows @ rows.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (len(rows), 2, 2)), atol=1e-6)
    jaw = np.concatenate(rotations)
    # A jaw that opens turns about +x: R[1, 2] = -sin.
    opening = np.arcsin(-jaw[:, 1, 2])
    assert opening.min() > 0 and opening.max() > 0.1
    assert np.ptp(eyes[:, 0, 0, 2]) > 0.2, "the gaze moves"


def test_transforms_have_all_keys_as_floats(written) -> None:
    numbers = {
        "w", "h", "cx", "cy", "fl_x", "fl_y", "camera_angle_x", "camera_angle_y", "x_fov", "y_fov",
        "integer_depth_scale",
    }  # fmt: skip
    for part in ("", "_train", "_test", "_val"):
        content = written.json(f"transforms{part}.json")
        assert set(content) == numbers | {"frames"} and all(isinstance(content[key], float) for key in numbers)
        assert content["w"] == content["h"] == written.size and content["integer_depth_scale"] == 0.001
        angle = 2 * math.atan(written.size / (2 * content["fl_x"]))
        assert content["camera_angle_x"] == pytest.approx(angle) and content["x_fov"] == pytest.approx(
            math.degrees(angle)
        )
        for frame in content["frames"]:
            assert set(frame) == {
                "transform_matrix", "file_path", "mesh_path", "exp_path", "depth_path", "seg_mask_path",
            }  # fmt: skip
            for key in ("file_path", "exp_path", "depth_path", "seg_mask_path"):
                assert (written.folder / frame[key]).is_file()


def test_the_last_fifth_is_for_testing_and_validation_are_the_last_frames(written) -> None:
    def ids(part):
        return [frame["file_path"] for frame in written.json(f"transforms{part}.json")["frames"]]

    assert ids("") == ids("_train") + ids("_test") == [f"images/{k:05d}.png" for k in range(10)]
    assert len(ids("_test")) == 2 and ids("_val") == ids("")[-20:]
    assert [(len(a), len(b)) for a, b in (split(n) for n in (2, 10, 100, 750))] == [
        (1, 1),
        (8, 2),
        (80, 20),
        (600, 150),
    ]


def test_the_head_model_is_named(written) -> None:
    assert written.json("head_model.json") == {"tag": "openhead"}


def test_cameras_are_opencv_and_before_the_face(written) -> None:
    poses, _ = written.cameras()
    np.testing.assert_array_equal(poses[:, 3], np.tile([0, 0, 0, 1], (len(poses), 1)))
    rotation = poses[:, :3, :3]
    np.testing.assert_allclose(
        rotation @ rotation.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotation.shape), atol=1e-9
    )
    assert (np.linalg.det(rotation) > 0).all()
    w2c = np.linalg.inv(poses)
    assert ((w2c[:, 2, 3] > 0.6) & (w2c[:, 2, 3] < 1.1)).all()
    np.testing.assert_allclose(w2c[:, :3, :3], np.broadcast_to(np.diag([1, -1, -1]), rotation.shape), atol=0.75)
    assert (poses[:, 2, 3] > 0.4).all(), "the face looks towards +z, so the camera stands there"


def test_the_reader_finds_nothing_wrong_and_reads_the_same_coefficients(written) -> None:
    reader = registry().load_dataset("insta")
    assert [p for p in reader.check(written.folder, {}) if p.severity in ("error", "warning")] == []
    subject = reader.read(written.folder, {})
    assert subject.head == "openhead" and (len(subject.train), len(subject.test)) == (8, 2)
    frame = subject.test[1]
    np.testing.assert_allclose(
        frame.params.expression[0], written.numbers("exp", 9)[: frame.params.expression.shape[1]], atol=1e-6
    )


def test_the_truth_holds_posed_vertices_that_the_coefficients_reproduce(written) -> None:
    truth = np.load(written.folder / "truth" / "vertices.npz")
    head = load_head("openhead", "teeth")
    assert truth["vertices"].shape == (written.frames, len(head.template), 3)
    assert np.array_equal(truth["faces"], head.faces.numpy())
    subject = registry().load_dataset("insta").read(written.folder, {})
    for frame in (subject.train[0], subject.test[-1]):
        posed = head.bind(_identity(subject, frame)).vertices(frame.params)[0].numpy()
        np.testing.assert_allclose(posed, truth["vertices"][int(frame.id)], atol=2e-6)


def _identity(subject, frame):
    from headbench.harness.types import Identity

    zeros = frame.params.expression * 0
    return Identity(subject.head, subject.shape, zeros, zeros, frame.params, frame.camera)


def test_the_truth_holds_views_from_all_around(written) -> None:
    cameras = written.json("truth/orbit/cameras.json")
    assert len(cameras) == 12
    eyes = []
    for name, camera in cameras.items():
        alpha = written.image(f"truth/orbit/{name}.png")[..., 3]
        w2c = np.array(camera["w2c"])
        assert alpha.max() == 255 and w2c[2, 3] > 0.5
        eyes.append(-w2c[:3, :3].T @ w2c[:3, 3])
    around = np.sort(np.degrees(np.arctan2(np.array(eyes)[:, 0], np.array(eyes)[:, 2])) % 360)
    np.testing.assert_allclose(np.diff(around), 30, atol=2)


def test_an_unknown_layout_is_suggested_and_a_subject_is_never_overwritten(written, tmp_path) -> None:
    with pytest.raises(BenchError, match="Did you mean 'insta'"):
        write_synthetic(tmp_path, "inst", 1, 2, 16, 0, lambda line: None)
    with pytest.raises(BenchError, match="synth00 exists already"):
        write_synthetic(written.folder.parents[1], "insta", 1, 2, 16, 0, lambda line: None)
