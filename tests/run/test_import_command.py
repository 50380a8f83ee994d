"""`bench import --data`: a published pair of files, written by hand here, is rendered, scored and tabulated."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from headbench.harness.head import load_head
from headbench.harness.run import read_cells
from headbench.reports import build_table
from headbench.reports.text import to_csv


def write_pair(folder: Path, degree: int = 3, timesteps: int = 4) -> Path:
    """A point_cloud.ply and a flame_param.npz as the published code writes them, of a Gaussian on every 40th face.

    Args:
        folder: is made.
        degree: of the spherical harmonics.
        timesteps: rows of the parameters.
    """
    random = np.random.default_rng(1)
    head = load_head("openhead", "teeth")
    faces, vertices = np.arange(0, len(head.faces), 40), len(head.template)
    rest = 3 * ((degree + 1) ** 2 - 1)
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{k}" for k in range(3)), *(f"f_rest_{k}" for k in range(rest))]
    names += ["opacity", *(f"scale_{k}" for k in range(3)), *(f"rot_{k}" for k in range(4)), "binding_0"]
    table = random.normal(0, 0.1, (len(faces), len(names))).astype("<f4")
    at = {name: number for number, name in enumerate(names)}
    table[:, at["opacity"]] = 2
    table[:, at["scale_0"] : at["scale_2"] + 1] = 1.5
    table[:, at["binding_0"]] = faces
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(faces)}"]
    lines += [*(f"property float {name}" for name in names), "end_header\n"]
    folder.mkdir(parents=True)
    (folder / "point_cloud.ply").write_bytes("\n".join(lines).encode() + table.tobytes())
    zeros = {"rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "translation": 3}
    np.savez(
        folder / "flame_param.npz",
        shape=np.zeros(300, np.float32),
        expr=np.zeros((timesteps, 100), np.float32),
        static_offset=np.zeros((1, vertices, 3), np.float32),
        dynamic_offset=np.zeros((timesteps, vertices, 3), np.float32),
        **{name: np.zeros((timesteps, width), np.float32) for name, width in zeros.items()},
    )
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    return write_pair(tmp_path / "point_cloud/iteration_600000", degree=0)


@pytest.mark.slow
def test_a_published_pair_imports_renders_and_scores(pair, bench, faces, tmp_path) -> None:
    where = ("--data", faces, "--dataset", "discs[anna]", "--out", "out", "--head", "openhead")
    how = ("--device", "cpu", "--rasterizer", "torch", "--protocol", "headbench@1")
    done = bench("import", pair, *where, *how)
    assert done.code == 0, done
    (record,) = read_cells(tmp_path / "out")
    assert {way: str(each.state) for way, each in record.stages.items()} == {"import": "done"}
    assert record.cell.method == "GaussianAvatars" and "sh_degree" in record.notes[0]
    table = csv.DictReader(to_csv(build_table(tmp_path / "out")).splitlines())
    (row,) = [row for row in table if row["subject"] == "anna"]
    assert row["stage"] == "import" and float(row["psnr"]) > 3
    assert row["train_seconds"] == "", "nobody knows how long the training took, and none was the fastest"
    cell = tmp_path / "out/cells" / record.cell.path
    assert len(list((cell / "renders/import-white").glob("*.png"))) == 3
    assert (cell / "provenance.json").is_file() and (cell / "speed/import.json").is_file()
    written = (cell / "stages/import/checkpoint-1/state.json").stat().st_mtime_ns
    again = bench("import", pair, *where, *how)
    assert again.code == 0 and "1 done" in again.out
    assert (cell / "stages/import/checkpoint-1/state.json").stat().st_mtime_ns == written
    assert "all is as it was written" in bench("verify", "out").out
    shown = bench("render", cell, "--frames", "2", "--out", "orbit", "--device", "cpu", "--rasterizer", "torch")
    assert shown.code == 0 and "2 images" in shown.out
    back = bench("export", cell, "--format", "gaussianavatars", "--pose", "test", "--out", "back", "--device", "cpu")
    assert back.code == 0 and "3 poses" in back.out
    assert (tmp_path / "back/flame_param.npz").is_file()
    shutil.copytree(cell / "stages/import", tmp_path / "alone")
    shutil.rmtree(faces / "discs/ben")
    asked = ("export", "alone", "--format", "ply", "--device", "cpu", "--pose", "00001", "--out", "head.ply")
    lost = bench(*asked)
    assert lost.code == 1 and "lies in no run" in lost.err and not (tmp_path / "head.ply").exists()
    assert bench(*asked, "--driver", faces, "--dataset", "discs").code == 0


def test_a_head_model_that_is_not_registered_is_asked_for_before_anything_is_made(pair, bench, faces, tmp_path) -> None:
    where = ("--data", faces, "--dataset", "discs[anna]", "--out", "out", "--device", "cpu")
    done = bench("import", pair, *where)
    assert done.code == 1 and "flame2023" in done.err and "bench assets add" in done.err
    assert not (tmp_path / "out").exists()


def test_a_root_without_its_file_is_refused_before_anything_is_read(bench, faces, tmp_path) -> None:
    where = ("--data-root", faces, "--datasets", "discs[anna]", "--out", "out", "--device", "cpu")
    done = bench("run", "--methods", "gaussianavatars", "--stages", "import", *where)
    assert done.code == 1 and "option file of stage import is missing" in done.err
    assert "--set import.file=VALUE" in done.err
    gone = bench("run", "--methods", "gaussianavatars", "--stages", "import", "--set", "import.file=gone.ply", *where)
    assert gone.code == 1 and "gone.ply: found no such file" in gone.err
    assert not (tmp_path / "out").exists()
