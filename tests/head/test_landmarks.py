"""Landmarks on FLAME's surface: files in the formats of DECA and IMAvatar, read without running what they name."""

from __future__ import annotations

import os
import pickle
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.spatial.transform import Rotation

from headbench.harness.assets import Recognised, Refusal, asset, record, register
from headbench.harness.assets.landmarks import read_landmarks, recognise_landmarks
from headbench.harness.cli.assets import assets
from headbench.harness.errors import BenchError, DataError, MissingAsset
from headbench.harness.head import load_head, load_landmarks
from headbench.harness.head.landmarks import contour_row


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))


@pytest.fixture
def linked(flame_home, tmp_path, monkeypatch):
    """The synthetic FLAME, in a home of this test's own."""
    place = tmp_path / "home" / "assets"
    place.mkdir(parents=True)
    for folder in (flame_home / "assets").iterdir():
        (place / folder.name).mkdir()
        for file in folder.iterdir():
            (place / folder.name / file.name).symlink_to(file)
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("irises", [0, 2])
def test_the_dictionary_that_numpy_pickled_is_read_with_its_tensors(flame_format, tmp_path, irises) -> None:
    tables = flame_format.landmark_tables(irises=irises)
    found = read_landmarks(flame_format.write_landmarks(tmp_path / "landmark_embedding.npy", tables))
    np.testing.assert_array_equal(found.full_faces, tables["full_lmk_faces_idx"][0, :68])
    np.testing.assert_array_equal(found.inner_faces, tables["static_lmk_faces_idx"][:51])
    np.testing.assert_array_equal(found.contour_faces, tables["dynamic_lmk_faces_idx"])
    np.testing.assert_allclose(found.contour_weights, tables["dynamic_lmk_bary_coords"])
    np.testing.assert_allclose(found.inner_weights, tables["static_lmk_bary_coords"][:51])
    plain = tmp_path / "embedding.pkl"
    plain.write_bytes(pickle.dumps(tables, protocol=2))
    np.testing.assert_array_equal(read_landmarks(plain).full_weights, found.full_weights)


def test_an_embedding_without_a_contour_has_the_points_that_stay(flame_format, tmp_path) -> None:
    tables = {k: v for k, v in flame_format.landmark_tables(irises=2).items() if k.startswith("full")}
    path = flame_format.write_landmarks(tmp_path / "x.npy", tables)
    assert read_landmarks(path).contour_faces is None
    seen = recognise_landmarks(path)
    assert (
        isinstance(seen, Recognised) and seen.shapes["full_faces"] == "(68,) int64" and "without a contour" in seen.note
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("full_lmk_faces_idx"), "expected full_lmk_faces_idx among its keys"),
        (lambda t: t.pop("static_lmk_faces_idx"), "found dynamic_lmk_faces_idx alone"),
        (lambda t: t.pop("dynamic_lmk_bary_coords"), "expected dynamic_lmk_bary_coords, found no such key"),
        (lambda t: t.update(full_lmk_faces_idx=np.full((1, 68), 9976)), "names no faces 0..9975"),
        (lambda t: t.update(full_lmk_bary_coords=np.ones((1, 68, 3))), "that add up to 1"),
        (lambda t: t.update(dynamic_lmk_faces_idx=np.zeros((78, 17), int)), r"of shape \(79, 17\), found \(78, 17\)"),
        (lambda t: t.update(static_lmk_bary_coords=np.ones((51, 2))), r"of shape \(51, 3\), found \(51, 2\)"),
    ],
)
def test_a_damaged_embedding_is_told(flame_format, tmp_path, change, message) -> None:
    tables = flame_format.landmark_tables()
    change(tables)
    path = flame_format.write_landmarks(tmp_path / "x.npy", tables)
    with pytest.raises(DataError, match=message):
        read_landmarks(path)
    refusal = recognise_landmarks(path)
    assert isinstance(refusal, Refusal) and re.search(message, refusal.reason)


def test_code_in_an_embedding_is_refused_and_not_run(tmp_path) -> None:
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "landmark_embedding.npy"
    np.save(path, {"full_lmk_faces_idx": Evil()}, allow_pickle=True)
    with pytest.raises(DataError, match=r"landmark_embedding\.npy: found a pickle that names (posix|nt)\.mkdir"):
        read_landmarks(path)
    inner = pickle.dumps(Evil())

    class Hidden:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (inner,)

    np.save(path, {"full_lmk_faces_idx": Hidden()}, allow_pickle=True)
    with pytest.raises(DataError, match=r"found a pickle that calls torch\.storage\._load_from_bytes outside"):
        read_landmarks(path)
    assert not (tmp_path / "ran").exists()
    for content in (b"", b"\x93NUMPY", path.read_bytes()[:90]):
        path.write_bytes(content)
        with pytest.raises(DataError):
            read_landmarks(path)


def test_rows_of_the_contour_follow_the_yaw_as_in_deca() -> None:
    for degrees, row in ((0, 0), (12.4, 12), (39, 39), (70, 39), (-1, 40), (-12.6, 52), (-39, 78), (-70, 78)):
        turn = torch.from_numpy(Rotation.from_euler("y", degrees, degrees=True).as_matrix())[None]
        assert contour_row(turn).tolist() == [row], degrees
    tilted = Rotation.from_euler("ZYX", [20, -30, 10], degrees=True).as_matrix()
    assert contour_row(torch.from_numpy(tilted)[None]).tolist() == [69]


@pytest.mark.slow
def test_landmarks_ride_on_the_posed_mesh_in_every_topology(
    flame_format, made_flame, linked, tmp_path, draw, identify
) -> None:
    tables = flame_format.landmark_tables()
    register("flame/landmarks", flame_format.write_landmarks(tmp_path / "x.npy", tables), source="made by the tests")
    known = load_landmarks("flame2020")
    turns = torch.from_numpy(Rotation.from_euler("y", [[25], [-8]], degrees=True).as_matrix()).float()
    for topology in ("open", "mouth_closed", "teeth"):
        head = load_head("flame2020", topology)
        vertices = head(draw(head, 2), identify(head))
        corners = vertices[:, :5023].numpy()[:, made_flame.faces]
        points = known.points(vertices, turns)
        assert points.shape == (2, 68, 3)
        for b, row in enumerate((25, 47)):
            index = np.concatenate([tables["dynamic_lmk_faces_idx"][row], tables["static_lmk_faces_idx"]])
            bary = np.concatenate([tables["dynamic_lmk_bary_coords"][row], tables["static_lmk_bary_coords"]])
            np.testing.assert_allclose(points[b], np.einsum("nc,ncx->nx", bary, corners[b, index]), atol=2e-5)
        still = np.einsum(
            "nc,bncx->bnx", tables["full_lmk_bary_coords"][0], corners[:, tables["full_lmk_faces_idx"][0]]
        )
        np.testing.assert_allclose(known.points(vertices), still, atol=2e-5)


def test_landmarks_that_are_not_there_are_missing(linked) -> None:
    with pytest.raises(MissingAsset, match=r"flame/landmarks is not registered.*DECA"):
        load_landmarks("flame2020")
    with pytest.raises(BenchError, match="the open head has others"):
        load_landmarks("openhead")


def test_the_command_recognises_the_embedding_and_shows_its_use(home, flame_format, tmp_path) -> None:
    path = flame_format.write_landmarks(tmp_path / "renamed.bin.npy", flame_format.landmark_tables())
    run = CliRunner()
    result = run.invoke(assets, ["add", "flame2023", str(path)], catch_exceptions=False)
    assert result.exit_code == 0 and "registered flame/landmarks" in result.output
    assert asset("flame/landmarks").is_file() and record("flame/landmarks").shapes["contour_faces"] == "(79, 17) int64"
    for verb in ("list", "check"):
        result = run.invoke(assets, [verb], catch_exceptions=False)
        assert result.exit_code == 0
        for said in (
            "contour_faces (79, 17) int64",
            "licence: of the DECA repository",
            str(path.resolve()),
            "used by: `bench data check` of imavatar",
            "built needs one of flame2020/model",
            "topology teeth: GaussianAvatars",
            "used by: datasets nersemble and vhap",
        ):
            assert said in result.output, (verb, said)
