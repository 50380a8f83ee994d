"""Every field as the organisers' own toolkit (nersemble-benchmark) reads it. Skipped where that is not installed."""

from __future__ import annotations

import importlib.util
import sys
import types

import numpy as np
import pytest

from headbench.datasets.nersemble import benchmark
from headbench.datasets.nersemble.hidden import benchmark_test
from headbench.datasets.nersemble.reader import NersembleReader

REASON = "nersemble-benchmark is not installed: make test-toolkit"


@pytest.fixture(scope="module")
def toolkit():
    """The module of the toolkit's data managers."""
    pytest.importorskip("nersemble_benchmark", reason=REASON)
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("open3d") is None:
            # It is imported for the point clouds of another task; nothing here calls it.
            patch.setitem(sys.modules, "open3d", types.ModuleType("open3d"))
        yield pytest.importorskip("nersemble_benchmark.data.benchmark_data", reason=REASON)


@pytest.fixture(params=["by hand", "made up"])
def folder(request):
    """A person written by hand, and one of the synthetic writer."""
    if request.param == "by hand":
        return request.getfixturevalue("author").folder
    return request.getfixturevalue("synthetic") / "nersemble" / "mono_flame_avatar" / "393"


@pytest.fixture
def manager(toolkit, folder):
    return toolkit.MonoFlameAvatarDataManager(str(folder.parents[1]), 393)


def test_constants_are_the_toolkits(toolkit) -> None:
    from nersemble_benchmark import constants

    assert [int(name) for name in benchmark.PARTICIPANTS] == constants.BENCHMARK_MONO_FLAME_AVATAR_IDS
    assert list(benchmark.TRAIN_SEQUENCES) == constants.BENCHMARK_MONO_FLAME_AVATAR_SEQUENCES_TRAIN
    assert list(benchmark.TEST_SEQUENCES) == constants.BENCHMARK_MONO_FLAME_AVATAR_SEQUENCES_TEST
    assert list(benchmark.SERIALS) == constants.BENCHMARK_MONO_FLAME_AVATAR_SERIALS
    assert constants.BENCHMARK_MONO_FLAME_AVATAR_TRAIN_SERIAL == benchmark.TRAIN_SERIAL
    versions = {f"v{number}": stem for number, stem in constants.FLAME_TRACKING_VERSION_MAPPING.items()}
    assert versions == benchmark.TRACKINGS and constants.FLAME_TRACKING_CURRENT_VERSION == 2


def test_sequences_and_cameras_are_the_toolkits(manager, folder) -> None:
    subject = NersembleReader().read(folder, {})
    ours = {f.sequence for f in subject.train + subject.test} | {view.sequence for view in benchmark_test(folder)}
    assert ours == set(manager.list_sequences())
    calibration = manager.load_camera_calibration()
    cameras = {view.camera_id: view.camera for view in benchmark_test(folder)}
    assert set(cameras) == set(calibration.world_2_cam) == set(calibration.intrinsics)
    for serial, camera in cameras.items():
        assert np.allclose(camera.w2c[0], np.asarray(calibration.world_2_cam[serial]), atol=1e-6)
        assert np.allclose(camera.K[0], np.asarray(calibration.intrinsics[serial]), atol=1e-4)
    assert np.array_equal(subject.train[0].camera.w2c, cameras[benchmark.TRAIN_SERIAL].w2c)


def test_tracking_is_the_toolkits(manager, folder) -> None:
    subject = NersembleReader().read(folder, {})
    for frame in subject.train + subject.test:
        tracking = manager.load_flame_tracking(frame.sequence)
        row = int(np.flatnonzero(tracking.frames == int(frame.id[-5:]))[0])
        _same(frame.params, tracking, row)
        assert np.array_equal(subject.shape, tracking.shape)
    for view in benchmark_test(folder):
        tracking = manager.load_flame_tracking(view.sequence)
        assert len(view.frame_ids) == len(tracking.frames)
        for row in range(len(tracking.frames)):
            _same(view.params.rows(slice(row, row + 1)), tracking, row)


def _same(params, tracking, row) -> None:
    stored = {
        "expression": tracking.expression,
        "neck": tracking.neck,
        "jaw": tracking.jaw,
        "eye_left": tracking.eyes[:, :3],
        "eye_right": tracking.eyes[:, 3:],
    }
    for name, values in stored.items():
        assert np.array_equal(getattr(params, name)[0], values[row]), name
    assert np.array_equal(params.similarity.R[0], tracking.rotation_matrices[row])
    assert np.array_equal(params.similarity.t[0], tracking.translation[row])
    assert float(params.similarity.scale) == float(tracking.scale[0, 0])


def test_images_and_mattes_are_the_toolkits(manager, folder) -> None:
    subject = NersembleReader().read(folder, {"white": "twice"})
    for frame in (subject.train + subject.test)[::3]:
        serial, row = frame.camera_id, int(frame.id[-5:])
        assert manager.get_n_timesteps(frame.sequence) == sum(
            f.sequence == frame.sequence for f in subject.train + subject.test
        )
        pixels = frame.pixels()
        image = manager.load_image(frame.sequence, serial, row, as_uint8=True)
        matte = manager.load_alpha_map(frame.sequence, serial, row)
        assert manager.list_serials(frame.sequence) == [serial]
        # OpenCV and PyAV round differently when they leave YUV.
        assert np.abs(pixels.colour.permute(1, 2, 0).numpy().astype(int) - image).max() <= 2
        assert np.abs(pixels.alpha[0].numpy().astype(int) - matte[..., 0]).max() <= 2
        every = manager.load_all_images(frame.sequence, serial, as_uint8=True)
        assert np.abs(every[row].astype(int) - image).max() <= 2
