"""What the writers of the IMAvatar and VHAP layouts put on disk: their layouts to the letter."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from headbench.datasets.synthetic import write, write_synthetic
from headbench.datasets.synthetic.around import extras
from headbench.harness.cli.data import data
from headbench.harness.head import load_head


def _names(folder):
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {name for name in found if not name.startswith("truth/")}


def _json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def _image(path):
    with Image.open(path) as image:
        return np.array(image)


def test_imavatars_files_are_numbered_from_one_without_zeros(layouts) -> None:
    per_frame = (
        "image/{}.png", "mask/{}.png", "matted/{}.png", "semantic/{}.png", "semantic_color/{}.png",
        "parsing/{}_mouth.png", "parsing/{}_neckhead.png",
    )  # fmt: skip
    expected = {"head_model.json"}
    for part, numbers in (("train", range(1, 6)), ("test", range(1, 2))):
        expected |= {f"synth00_{part}/{name.format(n)}" for name in per_frame for n in numbers}
        expected.add(f"synth00_{part}/flame_params.json")
    assert _names(layouts["imavatar"]) == expected


def test_imavatars_json_has_its_keys_and_sizes(layouts) -> None:
    for part, count in (("train", 5), ("test", 1)):
        content = _json(layouts["imavatar"] / f"synth00_{part}" / "flame_params.json")
        assert set(content) == {"frames", "shape_params", "intrinsics"}
        fx, fy, cx, cy = content["intrinsics"]
        assert fx < 0 < fy and 0 < cx < 1 and 0 < cy < 1 and len(content["shape_params"]) == 100
        assert [frame["file_path"] for frame in content["frames"]] == [f"./image/{n + 1}" for n in range(count)]
        for frame in content["frames"]:
            assert set(frame) == {"file_path", "world_mat", "expression", "pose", "bbox", "flame_keypoints"}
            assert (len(frame["expression"]), len(frame["pose"]), len(frame["bbox"])) == (50, 15, 4)
            world = np.array(frame["world_mat"])
            assert world.shape == (3, 4) and np.array_equal(world[:, :3], np.eye(3)) and -4.5 < world[2, 3] < -2.5
            points = np.array(frame["flame_keypoints"])
            assert points.shape == (68, 2) and np.abs(points).max() < 1
            np.testing.assert_allclose(frame["bbox"], [*points.min(0), *points.max(0)])


def test_imavatars_images_are_of_their_kinds(layouts) -> None:
    place = layouts["imavatar"] / "synth00_train"
    matted, image, mask = (_image(place / kind / "3.png") for kind in ("matted", "image", "mask"))
    assert (matted.shape, image.shape, mask.shape) == ((64, 64, 4), (64, 64, 3), (64, 64, 3))
    assert np.array_equal(mask[..., 0], matted[..., 3])
    inside, outside = matted[..., 3] == 255, matted[..., 3] == 0
    assert np.array_equal(image[inside], matted[inside][:, :3]) and image[outside].min() > 90, "a wall behind"
    classes = _image(place / "semantic/3.png")
    assert set(np.unique(classes)) >= {0, 1, 17} and classes.max() <= 18
    assert ((classes > 0) == (matted[..., 3] > 127)).mean() > 0.97
    head = _json(layouts["imavatar"] / "head_model.json")
    assert head["tag"] == "openhead" and len(head["expression"]) == 50 and len(head["landmarks"]) == 68
    assert set(load_head("openhead").expression_names) - set(head["expression"]) == {"jawOpen", "tongueOut"}


def test_vhaps_files(layouts) -> None:
    expected = {"canonical_flame_param.npz", "head_model.json"}
    parts = ("", "_train", "_val", "_test", "_backup", "_backup_flame")
    expected |= {f"transforms{part}.json" for part in parts}
    for k in range(6):
        expected |= {f"images/{k:05d}_00.png", f"fg_masks/{k:05d}_00.png", f"flame_param/{k:05d}.npz"}
    assert _names(layouts["vhap"]) == expected


def test_vhaps_json_is_one_still_camera_with_cy_from_below(layouts) -> None:
    whole = _json(layouts["vhap"] / "transforms.json")
    lens = {"cx", "cy", "fl_x", "fl_y", "h", "w", "camera_angle_x", "camera_angle_y"}
    assert set(whole) == {"frames", "timestep_indices", "camera_indices"} | lens
    assert whole["cy"] == pytest.approx(64 * (1 - 0.494)) and whole["cx"] == pytest.approx(64 * 0.508)
    keys = {
        "timestep_index", "timestep_index_original", "timestep_id", "camera_index", "camera_id", "transform_matrix",
        "file_path", "fg_mask_path", "flame_param_path",
    }  # fmt: skip
    poses = np.array([frame["transform_matrix"] for frame in whole["frames"]])
    assert all(set(frame) == keys | lens for frame in whole["frames"])
    assert (poses == poses[0]).all() and np.array_equal(poses[0, :3, :3], np.eye(3))
    for part, moments in (("train", range(5)), ("val", ()), ("test", range(5, 6))):
        frames = _json(layouts["vhap"] / f"transforms_{part}.json")["frames"]
        assert [frame["timestep_index"] for frame in frames] == list(moments)
    assert all("flame_param_path" not in f for f in _json(layouts["vhap"] / "transforms_backup.json")["frames"])


def test_vhaps_parameters_are_centred_and_single_precision(layouts) -> None:
    sizes = {
        "translation": (1, 3), "rotation": (1, 3), "neck_pose": (1, 3), "jaw_pose": (1, 3), "eyes_pose": (1, 6),
        "expr": (1, 100), "shape": (300,), "static_offset": (1, 4862, 3),
    }  # fmt: skip
    moments = [dict(np.load(layouts["vhap"] / f"flame_param/{k:05d}.npz")) for k in range(6)]
    for values in moments:
        assert {name: value.shape for name, value in values.items()} == sizes
        assert all(value.dtype == np.float32 for value in values.values())
    assert np.abs(np.mean([values["translation"] for values in moments], axis=0)).max() < 1e-6
    still = dict(np.load(layouts["vhap"] / "canonical_flame_param.npz"))
    np.testing.assert_allclose(still["jaw_pose"], [[0.3, 0, 0]])
    assert not still["expr"].any() and not still["rotation"].any()
    assert np.array_equal(still["shape"], moments[3]["shape"])


def test_vhaps_images_are_rgb_on_white(layouts) -> None:
    image, mask = (_image(layouts["vhap"] / kind / "00002_00.png") for kind in ("images", "fg_masks"))
    assert image.shape == (64, 64, 3) and mask.shape == (64, 64)
    assert (image[mask == 0] == 255).all() and image[mask == 255].mean() < 220


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "workers"), [("imavatar", 1), ("vhap", 2)])
def test_the_same_arguments_give_the_same_files(layout, workers, tmp_path) -> None:
    def hashes(name, workers):
        (folder,) = write_synthetic(tmp_path / name, layout, 1, 4, 16, 7, lambda line: None, workers=workers, orbit=1)
        return {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in _names(folder)
            if not name.endswith(".npz")
        }

    assert hashes("a", 1) == hashes("b", workers)


def test_the_command_writes_every_layout(tmp_path, monkeypatch) -> None:
    # Pictures of the orbit are the same in every layout, and their number is a matter of time alone.
    monkeypatch.setattr(write, "extras", lambda clip, count, around: extras(clip, 1, around))
    for layout in ("imavatar", "vhap"):
        arguments = ["synth", "--layout", layout, "--frames", "2", "--size", "16", "--no-around", str(tmp_path)]
        result = CliRunner().invoke(data, arguments)
        assert result.exit_code == 0, result.output
        assert re.search(rf"--datasets {layout}\b", result.output) and (tmp_path / layout / "synth00").is_dir()
