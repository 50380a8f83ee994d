"""What the writer of synthetic participants wrote is read as the same performance as in INSTA layout."""

from __future__ import annotations

import math

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.spatial.transform import Rotation

from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.insta.reader import InstaReader
from headbench.datasets.nersemble.hidden import benchmark_test
from headbench.datasets.nersemble.reader import NersembleReader
from headbench.datasets.synthetic import write_synthetic
from headbench.harness.cli.data import data
from headbench.harness.errors import BenchError
from headbench.harness.head import face_frames, load_head, project
from headbench.harness.splat import make_rasterizer
from headbench.harness.types import Gaussians, Identity
from headbench.inspection.views import sequence_views


@pytest.fixture(scope="module")
def people(synthetic):
    return NersembleReader().subjects(synthetic)


@pytest.fixture(scope="module")
def subject(people):
    return NersembleReader().read(people["393"], {})


@pytest.fixture(scope="module")
def same_in_insta(synthetic):
    return InstaReader().read(InstaReader().subjects(synthetic)["synth00"], {})


def _pixels(subject, frame, topology="open"):
    head, zero = load_head(subject.head, topology), 0 * frame.params.expression
    bound = head.bind(Identity(subject.head, subject.shape, zero, zero, frame.params, frame.camera))
    return project(bound.vertices(frame.params), frame.camera)[0][0].double().numpy()


@pytest.mark.slow
def test_a_head_read_through_either_layout_projects_to_the_same_pixels(subject, same_in_insta) -> None:
    by_moment = {f.timestep: f for f in same_in_insta.train + same_in_insta.test}
    # INSTA's text files have eight digits.
    torch.testing.assert_close(subject.shape, same_in_insta.shape, atol=1e-7, rtol=0)
    for frame in (subject.train + subject.test)[::3]:
        # The performance is in the benchmark's order of sequences, one moment each.
        apart = _pixels(subject, frame) - _pixels(same_in_insta, by_moment[frame.timestep])
        assert np.abs(apart).max() < 0.05, frame.id


def _render(subject, frame):
    """A Gaussian on every fourth triangle of the head in its pose, coloured by its number."""
    head, zero = load_head(subject.head, "open"), 0 * frame.params.expression
    bound = head.bind(Identity(subject.head, subject.shape, zero, zero, frame.params, frame.camera))
    with torch.no_grad():
        frames = face_frames(bound.vertices(frame.params), head.faces[::4])
        count, size = frames.centroid.shape[1], frames.size[..., None]
        colours = torch.rand((1, count, 3), generator=torch.Generator().manual_seed(0))
        scales = size * torch.tensor([1.0, 0.25, 0.8])
        opacities = torch.full((1, count), 0.9)
        gaussians = Gaussians(frames.centroid, frames.quats(), scales, opacities, colours)
        return make_rasterizer("numba")(gaussians, frame.camera, torch.ones(3)).image


@pytest.mark.slow
def test_one_avatar_renders_the_same_through_either_layout(subject, same_in_insta) -> None:
    by_moment = {f.timestep: f for f in same_in_insta.train + same_in_insta.test}
    for frame in (subject.train[0], subject.train[9], subject.test[2]):
        image, other = _render(subject, frame), _render(same_in_insta, by_moment[frame.timestep])
        assert (image < 0.9).float().mean() > 0.1, "there is something to see"
        assert -10 * math.log10(max(float(((image - other) ** 2).mean()), 1e-12)) >= 45, frame.id


def test_a_wrong_reading_of_the_rotation_would_show(subject, same_in_insta) -> None:
    """The comparison above notices extrinsic angles, and a rotation about the root joint."""
    by_moment = {f.timestep: f for f in same_in_insta.train + same_in_insta.test}
    frame = max(subject.train, key=lambda f: (f.params.similarity.R[0] - torch.eye(3)).abs().max())
    right = _pixels(same_in_insta, by_moment[frame.timestep])
    similarity = frame.params.similarity
    rotation = Rotation.from_matrix(similarity.R[0].numpy())
    swapped = torch.tensor(Rotation.from_euler("xyz", rotation.as_euler("XYZ")).as_matrix()[None]).float()
    as_root = torch.tensor(rotation.as_rotvec()[None]).float()
    extrinsic = {**vars(frame.params), "similarity": type(similarity)(similarity.scale, swapped, similarity.t)}
    rooted = {
        **vars(frame.params),
        "similarity": type(similarity)(similarity.scale, torch.eye(3)[None], similarity.t),
        "root": as_root,
    }
    for fields in (extrinsic, rooted):
        wrong = type(frame)(frame.id, frame.camera, type(frame.params)(**fields), frame.pixels)
        assert np.abs(_pixels(subject, wrong) - right).max() > 0.5


def test_images_are_those_of_the_other_layout_but_for_the_encoding(subject, same_in_insta) -> None:
    by_moment = {f.timestep: f for f in same_in_insta.train + same_in_insta.test}
    for frame in subject.train[::4]:
        found, true = frame.pixels(), by_moment[frame.timestep].pixels()
        assert (found.alpha.float() - true.alpha.float()).abs().mean() < 2
        mixed = []
        for pixels in (found, true):
            alpha = pixels.alpha.float() / 255
            mixed.append(alpha * pixels.colour.float() / 255 + 1 - alpha)
        mse = float(((mixed[0] - mixed[1]) ** 2).mean())
        # 30 dB: no other frame of the performance comes near.
        assert mse < 1e-3, frame.id


def test_made_up_people_lie_on_disk_as_the_real_ones(people) -> None:
    assert list(people) == ["393"]
    folder = people["393"]
    assert sorted(p.name for p in folder.iterdir()) == ["calibration", "head_model.json", "sequences", "truth"]
    assert len(list((folder / "sequences").iterdir())) == 22
    for name, videos in (("EXP-3-cheeks+nose", True), ("EMO-1-shout+laugh", False)):
        place = folder / "sequences" / name
        files = sorted(path.relative_to(place).as_posix() for path in _files(place))
        expected = ["alpha_maps/cam_222200037.mp4", "images/cam_222200037.mp4"] if videos else []
        assert files == [*expected, "tracking/flame2023_tracking_v2.npz"]
    with av.open(str(folder / "sequences" / "EXP-3-cheeks+nose" / "images" / "cam_222200037.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == pytest.approx(24.3) and stream.frames == 1


def _files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_stored_arrays_have_the_types_of_the_real_ones(people) -> None:
    with np.load(people["393"] / "sequences" / "FREE" / "tracking" / "flame2023_tracking_v2.npz") as store:
        shapes = {key: store[key].shape for key in store.files}
        assert all(store[key].dtype == np.float32 for key in store.files if key != "frames")
        angles, matrices = store["rotation"], store["rotation_matrices"]
    assert shapes == {
        "shape": (1, 300),
        "expression": (1, 100),
        "rotation": (1, 3),
        "rotation_matrices": (1, 3, 3),
        "translation": (1, 3),
        "scale": (1, 1),
        "jaw": (1, 3),
        "neck": (1, 3),
        "eyes": (1, 6),
        "frames": (1,),
    }
    assert np.abs(Rotation.from_euler("XYZ", angles).as_matrix() - matrices).max() < 1e-6


def test_every_camera_sees_the_head_from_its_side_with_its_own_lens(people, subject) -> None:
    views = benchmark_test(people["393"])[:4]
    assert len({tuple(view.camera.K.flatten().tolist()) for view in views}) == 4
    for view in views:
        params = view.params.rows(slice(0, 1))
        pixels = _pixels(subject, type(subject.train[0])("x", view.camera, params, subject.train[0].pixels))
        assert ((pixels > 0) & (pixels < 48)).mean() > 0.97, view.camera_id


def test_the_doctor_finds_nothing_wrong_with_made_up_people(synthetic, subject) -> None:
    result = CliRunner().invoke(data, ["check", "nersemble", "--data-root", str(synthetic)])
    assert result.exit_code == 0, result.output
    assert "14 frames" in result.output and "4 frames" in result.output
    assert "0 errors, 0 warnings" in result.output
    views = list(sequence_views(subject, ProjectedMesh.of(subject), ()))
    assert len({view.frame.sequence for view in views}) == 18 == len(views), "one of every training sequence"
    assert min(view.overlap.iou for view in views) > 0.75


def test_fewer_frames_than_sequences_and_more_people_than_five_are_refused(tmp_path) -> None:
    with pytest.raises(BenchError, match="at least 22 frames"):
        write_synthetic(tmp_path, "nersemble", 1, 21, 32, 0, lambda line: None, workers=1)
    with pytest.raises(BenchError, match="has 5 participants, asked for 6"):
        write_synthetic(tmp_path, "nersemble", 6, 44, 32, 0, lambda line: None, workers=1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.slow
def test_the_same_arguments_give_the_same_data_whatever_the_number_of_processes(tmp_path) -> None:
    roots = [tmp_path / str(workers) for workers in (1, 2)]
    for workers, root in enumerate(roots, start=1):
        write_synthetic(root, "nersemble", 1, 22, 48, 3, lambda line: None, workers=workers, orbit=1)
    first, second = (NersembleReader().subjects(root)["393"] for root in roots)
    names = sorted(path.relative_to(first) for path in _files(first))
    assert names == sorted(path.relative_to(second) for path in _files(second))
    for name in names:
        if name.suffix != ".npz":  # a zip has times in it
            assert (first / name).read_bytes() == (second / name).read_bytes(), name
    one, two = (NersembleReader().read(folder, {}).fingerprint for folder in (first, second))
    assert one == two
