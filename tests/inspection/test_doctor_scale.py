"""A wrong scale where the mesh still lies on the head, heads torn apart, and good subjects, which are not accused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.insta.reader import InstaReader
from headbench.datasets.synthetic import write_synthetic
from headbench.harness.plugins import registry
from headbench.harness.types import Frame, Subject
from headbench.inspection import Examination, examine
from headbench.inspection.scale import motion_scale
from headbench.inspection.timing import Fit, shift_of


def _examined(folder: Path) -> Examination:
    return examine(InstaReader(), folder.name, folder, {})


def _told(found: Examination) -> list[str]:
    return [p.line() for p in found.problems if p.severity in ("error", "warning")]


@pytest.mark.tried("damaged inputs", "a focal length 0.7 times its value: the mesh is small and on the head",
                   survives="a warning with the ratio of motions and the likeliest cause")  # fmt: skip
def test_a_focal_length_that_is_too_short_is_told_by_the_motion(patient, edit) -> None:
    edit(lambda content: content.update(fl_x=content["fl_x"] * 0.7, fl_y=content["fl_y"] * 0.7))
    (line,) = _told(_examined(patient))
    assert line.startswith("warning") and "a focal length that is too short" in line
    factor = float(line.split("images move ")[1].split()[0])
    assert 1.3 < factor < 1.6
    assert float(line.split("the IoU is ")[1].split()[0]) > 0.8


def _zoomed(subject: Subject, factor: float) -> Subject:
    def change(frame: Frame) -> Frame:
        K = frame.camera.K.clone()
        K[:, :2, :2] *= factor
        return replace(frame, camera=replace(frame.camera, K=K))

    return replace(subject, train=tuple(map(change, subject.train)), test=tuple(map(change, subject.test)))


@pytest.mark.parametrize(
    ("factor", "low", "high"), [(1.0, 0.9, 1.1), pytest.param(0.6, 1.4, 2.0, marks=pytest.mark.slow), (1.4, 0.55, 0.8)]
)
def test_images_and_mesh_move_alike_where_the_scale_is_right(sound, factor, low, high) -> None:
    subject = _zoomed(InstaReader().read(sound, {}), factor)
    found = motion_scale(subject, ProjectedMesh.of(subject))
    assert found is not None and low < found.factor < high
    assert found.sure == (factor != 1)


@pytest.mark.parametrize("side", [pytest.param("hair", marks=pytest.mark.slow), "shoulders"])
def test_long_hair_and_still_shoulders_are_no_wrong_scale(patient, side) -> None:
    """Painted behind the head: hair hangs from it and moves with it, shoulders do not move."""
    rows, columns = np.mgrid[:64, :64]
    rng = np.random.default_rng(0)
    texture = rng.integers(20, 120, size=(64, 64, 3))
    for path in sorted((patient / "images").iterdir()):
        image = np.array(Image.open(path))
        seen = image[..., 3] > 127
        middle = columns[seen].mean()
        if side == "hair":
            wider = (np.abs(columns - middle) < 26) & (rows > rows[seen].min() - 2) & (rows < 60)
        else:
            wider = (rows > 44) & (np.abs(columns - 32) < 31)
        added = wider & ~seen
        image[added, :3], image[added, 3] = texture[added], 255
        Image.fromarray(image).save(path)
    found = _examined(patient)
    assert all(view.overlap.iou < 0.75 for view in found.views)
    assert not _told(found)


@pytest.mark.tried("damaged inputs", "shape coefficients 20 times their value",
                   survives="a warning or an error that names the shape, not its consequences")  # fmt: skip
@pytest.mark.parametrize("times", [pytest.param(10, marks=pytest.mark.slow), 20])
def test_a_shape_that_was_multiplied_is_the_cause_that_is_told(patient, times) -> None:
    for path in (patient / "flame" / "shape").iterdir():
        path.write_text("\n".join(str(float(x) * times) for x in path.read_text().split()))
    lines = _told(_examined(patient))
    assert any("`shape`: expected coefficients within 5 or so" in line for line in lines)
    assert any("times as long as the template's" in line for line in lines)
    assert all("shape" in line for line in lines)


@pytest.mark.tried("damaged inputs", "nothing: plain heads under a codec's blocks, or in light that stays",
                   survives="no ratio of motions is told of what does not move with a head")  # fmt: skip
@pytest.mark.parametrize("side", ["pattern", pytest.param("light", marks=pytest.mark.slow)])
def test_a_plain_head_is_not_followed_by_what_stays_in_place(patient, side) -> None:
    rows, columns = np.mgrid[:64, :64]
    rng = np.random.default_rng(0)
    blocks = 120 + rng.integers(0, 2, size=(8, 8))[rows // 8, columns // 8]
    painted = blocks if side == "pattern" else 200 - 0.1 * ((rows - 32) ** 2 + (columns - 32) ** 2)
    for path in sorted((patient / "images").iterdir()):
        image = np.array(Image.open(path))
        image[..., :3] = painted[..., None]
        Image.fromarray(image).save(path)
    subject = InstaReader().read(patient, {})
    found = motion_scale(subject, ProjectedMesh.of(subject))
    assert found is None or not (found.sure or found.right)


def _fits(correlations: list[float], gain: float = 9.0) -> dict[int, Fit]:
    return {lag: Fit(value, gain) for lag, value in zip(range(-3, 4), correlations, strict=True)}


def test_the_order_of_frames_is_doubted_beyond_half_a_frame_and_clearly_alone() -> None:
    # A real sequence that is right: hair trails behind the head.
    assert shift_of(_fits([0.4, 0.5, 0.66, 0.77, 0.82, 0.74, 0.6])) is None
    assert shift_of(_fits([0.5, 0.7, 0.93, 0.95, 0.90, 0.7, 0.5])) is None
    shifted = shift_of(_fits([0.3, 0.5, 0.7, 0.80, 0.96, 0.82, 0.7]))
    assert shifted is not None and shifted[0] == 1 and shifted[1] == pytest.approx(1, abs=0.1)
    assert shift_of(_fits([0.3, 0.5, 0.7, 0.80, 0.96, 0.82, 0.7], gain=2.0)) is None
    assert shift_of(_fits([0.1, 0.2, 0.3, 0.45, 0.66, 0.5, 0.3])) is None


@pytest.mark.tried(
    "damaged inputs", "nothing: good subjects of four layouts", survives="no error and no warning at all"
)
@pytest.mark.parametrize(("layout", "seed"), [("insta", 21), ("imavatar", 22), ("vhap", 23), ("nersemble", 24)])
@pytest.mark.slow
def test_good_subjects_are_not_accused(layout, seed, tmp_path) -> None:
    count = 22 if layout == "nersemble" else 9
    write_synthetic(tmp_path, layout, 1, count, 40, seed, lambda _: None, workers=1, orbit=1)
    reader = registry().load_dataset(layout)
    for name, folder in reader.subjects(tmp_path).items():
        found = examine(reader, name, folder, {})
        assert found.subject is not None
        assert not _told(found)
        assert not [note for note in found.subject.notes if "alpha" in note or "tracking" in note or "shape" in note]
    shutil.rmtree(tmp_path)
