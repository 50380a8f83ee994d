"""`bench assets add` says of each file what it is, or what keeps it from being what it comes nearest to."""

from __future__ import annotations

import gzip
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.sparse import csc_matrix

from headbench.harness.assets import asset, record, records, verify
from headbench.harness.assets.flame import read_model
from headbench.harness.assets.landmarks import read_landmarks
from headbench.harness.cli.assets import assets
from headbench.harness.errors import DataError
from headbench.harness.head.load import load_arrays


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))


@pytest.fixture
def add() -> Callable[..., Any]:
    def run(tag: str, *files: Path) -> Any:
        return CliRunner().invoke(assets, ["add", tag, *map(str, files)])

    return run


@pytest.fixture(scope="module")
def model(made_flame) -> dict[str, np.ndarray]:
    return {
        "v_template": made_flame.vertices,
        "shapedirs": made_flame.shapedirs.astype(np.float32),
        "posedirs": made_flame.posedirs.astype(np.float32),
        "J_regressor": made_flame.joints,
        "weights": made_flame.weights,
        "f": made_flame.faces.astype(np.uint32),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], range(5)]),
    }


def landmarks(count: int | tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    shape = count if isinstance(count, tuple) else (count,)
    weights = rng.random((*shape, 3))
    weights /= weights.sum(-1, keepdims=True)
    return {"lmk_face_idx": rng.integers(0, 9976, shape), "lmk_b_coords": weights}


def refused(output: Any, *said: str) -> None:
    assert output.exit_code != 0 and isinstance(output.exception, DataError)
    assert "left out" in output.output and records() == {}
    for words in said:
        assert words in output.output, output.output


@pytest.mark.parametrize(
    ("directions", "said"),
    [
        (150, "expected shapedirs of shape (5023, 3, 400), found (5023, 3, 150): a reduced basis"),
        (300, "found (5023, 3, 300): no expression directions"),
    ],
)
def test_a_reduced_basis_is_told(add, tmp_path, model, directions, said):
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps({**model, "shapedirs": np.zeros((5023, 3, directions), np.float32)}))
    refused(add("flame2020", path), "it comes nearest to flame2020/model", said)


@pytest.mark.parametrize(("vertices", "named"), [(10475, "SMPL-X"), (5143, "FLAME with VHAP's teeth")])
def test_other_body_models_are_named(add, tmp_path, model, vertices, named):
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps({**model, "v_template": np.zeros((vertices, 3))}))
    refused(add("flame2020", path), f"found ({vertices}, 3) float64: {named}")


@pytest.mark.parametrize(
    "form", [pytest.param("as it was", marks=pytest.mark.slow), "in two parts", "with a sparse regressor"]
)
def test_flame_converted_to_an_archive_is_read(add, tmp_path, model, made_flame, form):
    store: dict[str, Any] = dict(model)
    if form == "in two parts":
        directions = store.pop("shapedirs")
        store |= {"shapedirs": directions[..., :300], "exprdirs": directions[..., 300:]}
    if form == "with a sparse regressor":
        store["J_regressor"] = np.array(csc_matrix(made_flame.joints), dtype=object)
    path = tmp_path / "flame2023.npz"
    np.savez(path, **store)
    done = add("flame2023", path)
    assert done.exit_code == 0 and "registered flame2023/model" in done.output, done.output
    found = read_model(asset("flame2023/model"))
    np.testing.assert_array_equal(found.shape_dirs, made_flame.shapedirs[..., :300].astype(np.float32))
    np.testing.assert_array_equal(found.expression_dirs, made_flame.shapedirs[..., 300:].astype(np.float32))
    np.testing.assert_allclose(found.joint_regressor, made_flame.joints)
    assert verify("flame2023/model") == [] and load_arrays("flame2023").faces.shape == (9976, 3)


@pytest.mark.tried("hostile files", "an .npz whose array is a pickle of code", "refused, nothing runs", "nothing")
def test_code_in_an_archive_s_array_is_not_run(add, tmp_path, model):
    class Evil:
        def __reduce__(self):
            return Path.mkdir, (tmp_path / "ran",)

    path = tmp_path / "flame2023.npz"
    np.savez(path, **{**model, "J_regressor": np.array(Evil(), dtype=object)})
    refused(add("flame2023", path), "its array J_regressor holds no numbers that are read")
    assert not (tmp_path / "ran").exists()


@pytest.mark.tried("damaged inputs", "a Git LFS pointer among head models", "refused, with what to pull", "nothing")
def test_a_pointer_is_told_with_what_to_pull(add, tmp_path):
    path = tmp_path / "flame2023.pkl"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 53023716\n")
    refused(add("flame2023", path), "found a Git LFS pointer instead of the file", f"git lfs pull in {tmp_path}")


def test_a_download_as_it_came_is_told_to_be_unpacked(add, tmp_path):
    path = tmp_path / "FLAME2023.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("FLAME2023/flame2023.pkl", "FLAME2023/flame2023_no_jaw.pkl", "FLAME2023/Readme.pdf"):
            archive.writestr(name, b"x")
    folder = tmp_path / "FLAME2023"
    said = "a zip archive with 'flame2023.pkl', 'flame2023_no_jaw.pkl'"
    refused(add("flame2023", path), said, f"unzip {path} -d {folder}, then name {folder}")
    packed = tmp_path / "flame2023.pkl.gz"
    packed.write_bytes(gzip.compress(b"x"))
    refused(add("flame2023", packed), "a gzip archive", "unpack it and name the folder")


def test_ringnet_s_two_files_are_one_embedding(add, tmp_path):
    inner, contour = landmarks(51), landmarks((79, 17))
    static, dynamic = tmp_path / "flame_static_embedding.pkl", tmp_path / "flame_dynamic_embedding.npy"
    static.write_bytes(pickle.dumps(inner, protocol=2))
    np.save(dynamic, np.array(contour, dtype=object), allow_pickle=True)
    refused(add("flame2020", static), "RingNet's 51 landmarks within the face: half of an embedding", "together")
    refused(add("flame2020", dynamic), "RingNet's landmarks of the contour: half of an embedding", "together")
    done = add("flame2020", tmp_path / "flame_dynamic_embedding.npy", static)
    assert done.exit_code == 0 and "registered flame/landmarks" in done.output, done.output
    found = read_landmarks(asset("flame/landmarks"))
    np.testing.assert_array_equal(found.inner_faces, inner["lmk_face_idx"])
    np.testing.assert_allclose(found.contour_weights, contour["lmk_b_coords"])
    np.testing.assert_array_equal(found.full_faces[:17], contour["lmk_face_idx"][0])
    np.testing.assert_array_equal(found.full_faces[17:], inner["lmk_face_idx"])
    assert verify("flame/landmarks") == []


def test_parts_that_do_not_fit_are_left_out_and_the_rest_goes_on(add, tmp_path, flame_files):
    np.save(tmp_path / "l_eyelid.npy", np.zeros((10, 3)))
    np.save(tmp_path / "r_eyelid.npy", np.zeros((5023, 3)))
    done = add("flame2020", tmp_path / "l_eyelid.npy", tmp_path / "r_eyelid.npy", flame_files["flame/masks"])
    assert done.exit_code == 0 and "registered flame/masks" in done.output
    assert "they are not flame/eyelids: " in done.output and record("flame/eyelids") is None
    (tmp_path / "r_eyelid.npy").unlink()
    lone = add("flame2020", tmp_path / "l_eyelid.npy")
    assert "one eyelid of two" in lone.output and lone.exit_code != 0


def test_mica_s_68_points_are_read_and_mediapipe_s_are_named(add, tmp_path):
    ours = tmp_path / "flame_static_embedding_68_v4.npz"
    np.savez(ours, **landmarks(68))
    theirs = tmp_path / "mediapipe_landmark_embedding.npz"
    np.savez(theirs, **landmarks(105), landmark_indices=np.arange(105))
    refused(add("flame2020", theirs), "105 of MediaPipe's 478 landmarks: another embedding than the 68")
    other = tmp_path / "other.npz"
    np.savez(other, **landmarks(49))
    refused(add("flame2020", other), "49 landmarks of another embedding, expected 68")
    done = add("flame2020", ours, theirs)
    assert done.exit_code == 0 and "registered flame/landmarks" in done.output
    assert "without a contour that follows the view" in done.output


def test_a_file_of_nothing_known_is_none_of_the_kinds(add, tmp_path):
    path = tmp_path / "readme.txt"
    path.write_text("hello")
    refused(add("flame2020", path), "its content is none of flame2020/model, flame/masks")
