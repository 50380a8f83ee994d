"""Templates are told by their faces: FLAME's own, and 30 that close the mouth."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from headbench.harness.assets import Recognised, Refusal, obj, record, register, verify
from headbench.harness.assets.meshes import mesh_fault, patch_fault, pieces
from headbench.harness.assets.templates import recognise_mouth_closed_template, recognise_uv_template
from headbench.harness.cli.assets import assets
from headbench.harness.errors import DataError
from headbench.harness.head import load_head
from headbench.harness.head.topology import boundary_loops, strip_between


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))


@pytest.fixture
def write(flame_format, made_flame, tmp_path):
    """faces (F, 3) -> an .obj of the synthetic head's vertices with them."""

    def make(faces: np.ndarray, name: str = "head_template_mouth_close.obj") -> Path:
        return flame_format.write_obj(tmp_path / name, made_flame, faces)

    return make


def uses(faces) -> Counter:
    """Undirected edge -> number of faces, by counting."""
    return Counter(frozenset(pair) for a, b, c in faces.tolist() for pair in ((a, b), (b, c), (c, a)))


@pytest.fixture(scope="module")
def beside_the_mouth(made_flame) -> np.ndarray:
    """(30, 3) faces over a ring of 32 edges inside the skin, as another repository has them: the mouth stays open."""
    head, faces = made_flame, made_flame.faces
    inside = uses(faces)
    around: dict[frozenset, list[int]] = {}
    for row, (a, b, c) in enumerate(faces.tolist()):
        for pair in ((a, b), (b, c), (c, a)):
            around.setdefault(frozenset(pair), []).append(row)
    for seed in range(0, 7000, 97):
        region, queue = {seed}, [seed]
        while queue and len(region) < 400:
            row = queue.pop(0)
            for pair in (faces[row][[0, 1]], faces[row][[1, 2]], faces[row][[2, 0]]):
                fresh = [other for other in around[frozenset(pair.tolist())] if other not in region]
                region.update(fresh)
                queue += fresh
            loops = boundary_loops(faces[sorted(region)])
            if len(loops) == 1 and len(loops[0]) == 32 == len(set(loops[0].tolist())):
                patch = strip_between(loops[0], head.vertices)
                rim = [edge for edge, count in uses(patch).items() if count == 1]
                within = [edge for edge, count in uses(patch).items() if count == 2]
                if len(patch) == 30 and all(inside[e] == 2 for e in rim) and not any(inside[e] for e in within):
                    return patch
    raise AssertionError("no such ring on the synthetic head")


def test_the_faces_of_flame_and_a_closed_mouth_are_a_template_in_any_order(write, made_flame, flame_format):
    rng = np.random.default_rng(0)
    base = np.stack([np.roll(face, k) for face, k in zip(made_flame.faces, rng.integers(0, 3, 9976), strict=True)])
    for cap in (made_flame.cap, made_flame.cap[::-1, ::-1]):
        path = write(np.concatenate([base[rng.permutation(9976)], cap]))
        seen = recognise_mouth_closed_template(path)
        assert isinstance(seen, Recognised) and seen.shapes["uv_faces"] == "(10006, 3) int64"
    assert isinstance(recognise_uv_template(write(base)), Recognised)


@pytest.mark.tried("damaged inputs", "an .obj of FLAME's size with other faces", "refused with the reason", "nothing")
def test_random_faces_are_no_template(write):
    rng = np.random.default_rng(0)
    for count, recognise in ((10006, recognise_mouth_closed_template), (9976, recognise_uv_template)):
        first, steps = rng.integers(5023, size=(count, 1)), rng.integers(1, 2511, size=(count, 2))
        faces = np.concatenate([first, first + steps[:, :1], first + steps.cumsum(axis=1)[:, 1:]], axis=1) % 5023
        seen = recognise(write(faces))
        assert isinstance(seen, Refusal) and "its faces are not those of a head" in seen.reason


@pytest.mark.slow
def test_faces_that_leave_the_mouth_open_are_refused_with_their_edges(write, made_flame, beside_the_mouth):
    every = np.concatenate([made_flame.faces, beside_the_mouth])
    assert sorted(Counter(uses(every).values()).items())[-1] == (3, 32), "the ring is of the kind that was published"
    assert set(made_flame.mouth.tolist()) == set(boundary_loops(every)[0].tolist())
    seen = recognise_mouth_closed_template(write(every))
    assert isinstance(seen, Refusal)
    assert seen.reason == "its last 30 faces leave 32 edges of three faces or more, and the lips open"


def test_other_patches_are_refused_with_what_they_do(write, made_flame):
    cap = made_flame.cap

    def reason(patch: np.ndarray) -> str:
        seen = recognise_mouth_closed_template(write(np.concatenate([made_flame.faces, patch])))
        assert isinstance(seen, Refusal)
        return seen.reason

    twice = np.concatenate([cap[:-1], cap[:1]])
    assert "edges of three faces or more" in reason(twice)
    loops = {len(loop): loop for loop in boundary_loops(made_flame.faces)}
    neck, eye = strip_between(loops[14], made_flame.vertices), strip_between(loops[10], made_flame.vertices)
    two_holes = np.concatenate([neck, eye, cap[:10]])
    assert "leave the lips open" in reason(two_holes) or "close no single hole" in reason(two_holes)
    # Elsewhere: from the mouth's rim to the neck's.
    across = cap.copy()
    across[0, 0] = loops[14][0]
    assert "edges of their own" in reason(across)


def test_what_meshes_tell_is_what_counting_tells(made_flame):
    rng = np.random.default_rng(3)
    assert pieces(made_flame.faces, 5023) == [3931, 546, 546] and mesh_fault(made_flame.faces, 5023) == ""
    assert patch_fault(made_flame.faces, made_flame.cap, 5023) == ""
    for _ in range(20):
        faces = np.stack([rng.permutation(12)[:3] for _ in range(rng.integers(4, 20))])
        counted = sum(count > 2 for count in uses(faces).values())
        unused = 12 - len(set(faces.ravel().tolist()))
        fault = mesh_fault(faces, 12)
        if unused:
            assert fault == f"{unused} vertices are on no face"
        else:
            assert fault == (f"{counted} edges are of more than two faces" if counted else "")
        group = {v: {v} for v in range(12)}
        for face in faces.tolist():
            joined = set().union(*(group[v] for v in face))
            for v in joined:
                group[v] = joined
        assert pieces(faces, 12) == sorted((len(g) for g in {id(g): g for g in group.values()}.values()), reverse=True)
    assert mesh_fault(np.array([[0, 1, 1]]), 2) == "a face has the same vertex twice"


def test_a_template_of_another_mesh_is_refused_where_the_model_is_known(home, write, flame_files, made_flame):
    """Vertices renumbered: as sound a mesh as FLAME's, and none of FLAME's."""
    turn = np.arange(5023)
    turn[[100, 2000]] = turn[[2000, 100]]
    strange = write(turn[made_flame.faces], "strange.obj")
    changed = int((turn[made_flame.faces] != made_flame.faces).any(axis=1).sum())
    assert isinstance(recognise_uv_template(strange), Recognised)
    done = CliRunner().invoke(assets, ["add", "flame2020", str(strange), str(flame_files["flame2020/model"])])
    assert done.exit_code == 0 and "registered flame2020/model" in done.output
    assert f"its faces are not FLAME's: {changed} of the 9,976 of flame2020/model are missing" in done.output
    assert record("flame/uv_template") is None
    again = CliRunner().invoke(assets, ["add", "flame2020", str(strange)])
    assert again.exit_code != 0 and "are missing" in again.output, "the registered model tells it, too"
    good = CliRunner().invoke(assets, ["add", "flame2020", str(flame_files["flame/uv_template"])])
    assert good.exit_code == 0 and verify("flame/uv_template") == []


def test_a_texture_space_whose_faces_are_in_another_order_is_refused(home, tmp_path, flame_files, made_flame):
    register("flame2020/model", flame_files["flame2020/model"], "made by the tests")
    path = tmp_path / "FLAME_texture.npz"
    np.savez(path, vt=made_flame.uvs, ft=made_flame.faces[::-1])
    done = CliRunner().invoke(assets, ["add", "flame2020", str(path)])
    assert done.exit_code != 0 and "its faces are not in the order of FLAME's" in done.output
    np.savez(path, vt=made_flame.uvs, ft=made_flame.faces)
    done = CliRunner().invoke(assets, ["add", "flame2020", str(path)])
    assert done.exit_code == 0, done.output


def test_a_template_that_was_registered_before_is_found_out(home, write, flame_files, made_flame, beside_the_mouth):
    path = write(np.concatenate([made_flame.faces, beside_the_mouth]))
    register("flame2020/model", flame_files["flame2020/model"], "made by the tests")
    register("flame/mouth_closed_template", path, "before this was checked")
    assert "leave 32 edges of three faces or more" in verify("flame/mouth_closed_template")[0]
    with pytest.raises(DataError, match=r"does not close the mouth of FLAME: its last 30 faces leave 32 edges"):
        load_head("flame2020", "mouth_closed")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("v 0 0 0\n" * 3 + "vt 0 0\n" * 3 + "f 1/1 2/2 -9/3\n", "a face names vertices beyond the 3 there are"),
        ("v 0 0 0\n" * 3 + "vt 0 0\nf 1/1 2/1 3/-2\n", "a face names texture coordinates beyond the 1 there are"),
        ("v 1e400 0 nan\nv 0\n", "line 2: expected 3 numbers, found '0'"),
        ("f 1/x 2/2 3/3\n", "line 1: expected a corner such as 12/34, found '1/x'"),
        ("f 1/" + "9" * 5000 + " 1/1 1/1\n", "line 1: expected a corner such as 12/34"),
        ("f 0 0 0\n", "line 1: expected a corner such as 12/34, found '0'"),
        ("v 0 0 0\n" * 2_001, "line 2001: expected a head's mesh, found more than 2,000 rows of a kind"),
        ("v \x1b[31m0 0 0\n", r"line 1: expected 3 numbers, found '\x1b[31m0 0 0'"),
    ],
)
@pytest.mark.tried("hostile files", "an .obj with lines that cannot be", "refused by line", "nothing")
def test_damaged_obj_files_are_refused_by_line(tmp_path, monkeypatch, text, reason):
    assert obj._ROWS == 200_000
    monkeypatch.setattr(obj, "_ROWS", 2_000)
    path = tmp_path / "head.obj"
    path.write_text(text, encoding="latin-1")
    seen = recognise_uv_template(path)
    assert isinstance(seen, Refusal) and reason in seen.reason
