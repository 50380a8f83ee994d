import pickle
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from headbench.harness.assets import Recognised, Refusal, eyelids, flame, kind, obj, templates, verify
from headbench.harness.cli.assets import assets
from headbench.harness.errors import DataError
from headbench.harness.head import load_head

FAMILY = ("flame2020/model", "flame/masks", "flame/uv_template", "flame/mouth_closed_template", "flame/eyelids")


def test_each_file_is_recognised_as_what_it_is_and_as_nothing_else(flame_files):
    for name, path in flame_files.items():
        seen = {other: kind(other).recognise(path) for other in FAMILY}
        assert {other for other, found in seen.items() if isinstance(found, Recognised)} == {name}
        assert seen[name].name == name and seen[name].shapes


def test_a_foreign_file_is_none_of_them(tmp_path):
    for name, content in {
        "text.pkl": b"not a pickle",
        "empty.obj": b"",
        "other.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "broken.npz": b"PK\x03\x04 and then nothing",
        "dict.pkl": pickle.dumps({"a": 1}),
        "list.pkl": pickle.dumps([1, 2]),
        "run.pkl": b"cos\nsystem\n(S'true'\ntR.",
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        seen = [kind(other).recognise(path) for other in FAMILY]
        assert all(isinstance(each, Refusal) and each.reason for each in seen)
    assert isinstance(kind("flame/masks").recognise(tmp_path / "missing.pkl"), Refusal)


def test_the_model_comes_back_as_it_was_pickled_with_chumpy_and_without(
    flame_format, made_flame, flame_files, tmp_path
):
    plain = flame_format.write_model(tmp_path / "flame2023.pkl", made_flame, chumpy=False)
    assert b"chumpy.ch" in flame_files["flame2020/model"].read_bytes() and b"chumpy" not in plain.read_bytes()
    for path in (flame_files["flame2020/model"], plain):
        found = flame.read_model(path)
        np.testing.assert_array_equal(found.template, made_flame.vertices)
        np.testing.assert_array_equal(found.shape_dirs, made_flame.shapedirs[..., :300])
        np.testing.assert_array_equal(found.expression_dirs, made_flame.shapedirs[..., 300:])
        np.testing.assert_array_equal(found.pose_dirs, made_flame.posedirs)
        np.testing.assert_allclose(found.joint_regressor, made_flame.joints, rtol=1e-15)
        np.testing.assert_array_equal(found.weights, made_flame.weights)
        np.testing.assert_array_equal(found.faces, made_flame.faces)
        assert found.parents == (-1, 0, 1, 1, 1)


@pytest.mark.parametrize(
    ("file", "tag"),
    [
        ("generic_model.pkl", "flame2020"),
        ("flame2023.pkl", "flame2023"),
        ("FLAME2023.pkl", "flame2023"),
        ("flame2023_Open.pkl", "flame2023_open"),
        ("my model.pkl", ""),
    ],
)
def test_versions_are_told_apart_by_file_name_and_that_is_said(flame_files, tmp_path, file, tag):
    path = tmp_path / file
    path.symlink_to(flame_files["flame2020/model"])
    seen = flame.recognise_model(path)
    assert seen.name == (f"{tag}/model" if tag else "")
    assert "same arrays" in seen.note


@pytest.fixture(scope="module")
def sound(made_flame, tmp_path_factory):
    """The arrays of a plain pickle that is recognised as a model."""
    store = {
        "v_template": made_flame.vertices,
        "shapedirs": np.zeros((5023, 3, 400), np.float32),
        "posedirs": made_flame.posedirs,
        "J_regressor": made_flame.joints,
        "J": np.zeros((5, 3)),
        "weights": made_flame.weights,
        "f": made_flame.faces,
        "kintree_table": np.array([[-1, 0, 1, 1, 1], range(5)]),
    }
    path = tmp_path_factory.mktemp("sound") / "model.pkl"
    path.write_bytes(pickle.dumps(store))
    assert isinstance(flame.recognise_model(path), Recognised)
    path.unlink()
    return store


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("v_template", None, r"no FLAME model: it has no 'v_template', only J, J_regressor"),
        (
            "shapedirs",
            np.zeros((5023, 3, 150)),
            r"expected shapedirs of shape \(5023, 3, 400\), found \(5023, 3, 150\)",
        ),
        ("weights", np.full((5023, 5), np.nan), r"weights has values that are not finite"),
        ("f", np.full((9976, 3), 6000), r"faces name vertices 6000..6000, there are 5023"),
        ("f", np.zeros((20908, 3)), r"expected f of shape \(9976, 3\), found \(20908, 3\)"),
        ("kintree_table", np.array([[-1, 2, 1, 1, 1], range(5)]), r"each joint's parent to come before it"),
        ("posedirs", "text", r"expected posedirs of shape"),
    ],
)
def test_a_model_that_differs_is_refused_with_file_and_difference(sound, tmp_path, key, value, message):
    path = tmp_path / "model.pkl"
    changed = {name: array for name, array in {**sound, key: value}.items() if array is not None}
    path.write_bytes(pickle.dumps(changed))
    with pytest.raises(DataError, match=message) as caught:
        flame.read_model(path)
    assert str(path) in str(caught.value)
    refusal = flame.recognise_model(path)
    assert isinstance(refusal, Refusal) and re.search(message, refusal.reason) and str(path) not in refusal.reason


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("male_model.pkl", "the male variant"),
        ("female_model.pkl", "the female variant"),
        ("flame2023_no_jaw.pkl", "a no-jaw variant"),
    ],
)
def test_the_variants_beside_a_model_in_its_download_are_not_the_model(flame_files, tmp_path, file, named):
    path = tmp_path / file
    path.symlink_to(flame_files["flame2020/model"])
    refusal = flame.recognise_model(path)
    assert isinstance(refusal, Refusal) and named in refusal.reason


def test_masks_come_back_as_sets_of_vertices(flame_files, made_flame):
    found = flame.read_masks(flame_files["flame/masks"])
    assert set(found) == set(made_flame.masks)
    for name, mask in found.items():
        np.testing.assert_array_equal(mask, made_flame.masks[name])


def test_masks_of_another_mesh_are_refused(tmp_path, made_flame):
    path = tmp_path / "masks.pkl"
    masks = {name: np.flatnonzero(mask) for name, mask in made_flame.masks.items()}
    path.write_bytes(pickle.dumps({**masks, "nose": np.array([5023])}))
    with pytest.raises(DataError, match=r"mask 'nose' is no list of vertices 0..5022"):
        flame.read_masks(path)
    del masks["scalp"]
    path.write_bytes(pickle.dumps(masks))
    with pytest.raises(DataError, match=r"no set of FLAME masks: expected .*scalp"):
        flame.read_masks(path)


def test_templates_are_told_apart_by_their_faces(flame_files):
    assert len(templates.read_template(flame_files["flame/uv_template"], 9976).uv_faces) == 9976
    with pytest.raises(DataError, match=r"expected 5023 vertices and 10006 faces .*found 5023 vertices and 9976"):
        templates.read_template(flame_files["flame/uv_template"], 10006)


def test_the_texture_space_archive_is_a_uv_template(tmp_path, made_flame):
    path = tmp_path / "FLAME_texture.npz"
    np.savez(path, vt=made_flame.uvs, ft=made_flame.faces, mean=np.zeros((2, 2, 3)))
    assert templates.recognise_uv_template(path).name == "flame/uv_template"
    others = eyelids.recognise_eyelids(path), templates.recognise_mouth_closed_template(path)
    assert all(isinstance(other, Refusal) for other in others)
    np.savez(path, vt=made_flame.uvs[:100], ft=made_flame.faces)
    with pytest.raises(DataError, match=r"ft names texture coordinates beyond the 100 of vt"):
        templates.read_template(path, 9976)


@pytest.mark.parametrize(
    "odd",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("f ", "f\t").replace("v ", "\tv  "),
        lambda text: re.sub(r"(?m)^(v|vt|f) .*", r"\g<0> # a remark", text),
        lambda text: re.sub(r"(?m)^v .*", r"\g<0> 0.5 0.25 1", text).replace("vt ", "vn 0 0 1\nvt "),
        lambda text: re.sub(r"(?m)^vt .*", r"\g<0> 0.0", text),
        lambda text: re.sub(r"/(\d+)", r"/\1/1", text),
        lambda text: re.sub(r"(\d+)/(\d+)", lambda corner: f"{int(corner[1]) - 13}/{int(corner[2]) - 15}", text),
    ],
    ids=[
        "line ends of Windows",
        "tabs",
        "remarks",
        "colours and normals",
        "third coordinates",
        "normals",
        "from the end",
    ],
)
def test_a_template_is_the_same_however_its_lines_are_written(tmp_path, odd):
    """Plain lines are parsed all at once, others one by one."""
    rng = np.random.default_rng(0)
    vertices, uvs = rng.normal(size=(12, 3)), rng.random((14, 2))
    faces, uv_faces = rng.integers(0, 12, (20, 3)), rng.integers(0, 14, (20, 3))
    lines = ["# a mesh", *("v {} {} {}".format(*v) for v in vertices.tolist()), "s off", ""]
    lines += ["vt {} {}".format(*uv) for uv in uvs.tolist()]
    lines += [
        "f " + " ".join(f"{a + 1}/{b + 1}" for a, b in zip(*corners, strict=True))
        for corners in zip(faces, uv_faces, strict=True)
    ]
    plain, path = tmp_path / "plain.obj", tmp_path / "odd.obj"
    plain.write_text("\n".join(lines))
    path.write_bytes(odd(plain.read_text()).encode())
    assert path.read_bytes() != plain.read_bytes()
    for found in map(obj.read_obj, (plain, path)):
        np.testing.assert_array_equal(found.vertices, vertices)
        np.testing.assert_array_equal(found.faces, faces)
        np.testing.assert_array_equal(found.uvs, uvs)
        np.testing.assert_array_equal(found.uv_faces, uv_faces)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 0 0 0\nf 1 1 1 1\n", r"line 2: expected a triangle, found 4 corners"),
        ("v 0 0 0\nf 1 1 2\n", r"a face names vertices beyond the 1 there are"),
        ("v 0 zero 0\n", r"line 1: expected 3 numbers, found '0 zero 0'"),
    ],
)
def test_a_damaged_obj_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "t.obj"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        templates.read_template(path, 9976)


def test_two_eyelid_files_become_the_one_that_is_registered(tmp_path, made_flame):
    left, right = tmp_path / "l_eyelid.npy", tmp_path / "r_eyelid.npy"
    np.save(left, made_flame.eyelids[0].astype(np.float32))
    np.save(right, made_flame.eyelids[1].astype(np.float32))
    merged = eyelids.merge_eyelids([right, left], tmp_path / "eyelids.npz")
    np.testing.assert_allclose(eyelids.read_eyelids(merged), made_flame.eyelids, rtol=1e-6)
    with pytest.raises(DataError, match=r"Expected l_eyelid.npy and r_eyelid.npy, found l_eyelid.npy"):
        eyelids.merge_eyelids([left], tmp_path / "x.npz")
    np.save(right, np.zeros((10, 3)))
    with pytest.raises(DataError, match=r"expected an eyelid of shape \(5023, 3\), found \(10, 3\)"):
        eyelids.merge_eyelids([right, left], tmp_path / "x.npz")


def test_a_folder_of_the_whole_family_is_registered_in_one_command(tmp_path, monkeypatch, made_flame, flame_files):
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "download"
    folder.mkdir()
    for path in (path for name, path in flame_files.items() if name != "flame/eyelids"):
        (folder / path.name).symlink_to(path)
    (folder / "female_model.pkl").symlink_to(flame_files["flame2020/model"])
    (folder / "Readme.txt").write_text("hello")
    for side, lid in zip("lr", made_flame.eyelids, strict=True):
        np.save(folder / f"{side}_eyelid.npy", lid)
    done = CliRunner().invoke(assets, ["add", "flame2020", str(folder)])
    assert done.exit_code == 0, done.output
    for name in FAMILY:
        assert f"registered {name}: " in done.output and verify(name) == []
    assert done.output.count("left out") == 2
    head = load_head("flame2020", "mouth_closed")
    assert head.notes == () and head.faces.shape == (10006, 3) and head.eyelid_dirs is not None
    again = CliRunner().invoke(assets, ["add", "flame2023", str(folder / "generic_model.pkl")])
    assert again.exit_code != 0 and "it is flame2020/model, not flame2023/model" in again.output
    shutil.rmtree(tmp_path / "home")
