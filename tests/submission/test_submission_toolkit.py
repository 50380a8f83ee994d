"""The organisers' own reader on a zip of ours. Needs nersemble-benchmark 0.2.0 and what its reader really uses."""

from __future__ import annotations

import functools
import gc
import importlib.util
import json
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from headbench.submission import check_zip, task_of, write_zip
from headbench.submission.videos import make_video

COUNTS = {"FREE": 3, "EMO-1-shout+laugh": 4, "SEN-09-frown_events_bad": 5, "SEN-10-port_strong_smokey": 6}
UNUSED = ("open3d", "mediapy", "dreifus")
"""Imported by the toolkit's modules for point clouds, for writing and for cameras; its reader of videos uses none."""
NEEDS = "make test-toolkit"


class Hollow(types.ModuleType):
    """Stands for a module that is imported and not used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@pytest.fixture(scope="session")
def installed() -> None:
    """Skips where the toolkit is not there, before anything is made for it."""
    if importlib.util.find_spec("nersemble_benchmark") is None:
        pytest.skip(f"nersemble-benchmark is not installed: {NEEDS}")


@pytest.fixture
def submission_data(installed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The toolkit's module; its metadata comes from a file instead of the organisers' server."""
    for name in UNUSED:
        if importlib.util.find_spec(name) is None:
            for part in (name, f"{name}.camera", f"{name}.matrix"):
                monkeypatch.setitem(sys.modules, part, Hollow(part))
    try:
        from nersemble_benchmark.data import submission_data
        from nersemble_benchmark.util import metadata
    except ImportError as error:
        pytest.skip(f"nersemble-benchmark lacks a package that it imports ({error}): {NEEDS}")
    sequences = {name: {"n_frames": count} for name, count in COUNTS.items()}
    people = {name: {"sequences_metadata": sequences} for name in ("393", "404", "461", "477", "486")}
    (tmp_path / "metadata.json").write_text(json.dumps({"participants_metadata": people}))
    monkeypatch.setattr(metadata, "NERSEMBLE_BENCHMARK_URL_MONO_FLAME_AVATAR", tmp_path.as_uri())
    # The reader lets imageio find a plugin for a file inside a zip. imageio (2.37, 2.38) tries Pillow first, which
    # leaves the file 18 bytes further on, and then no plugin recognises any video. So the plugin is named.
    named = functools.partial(submission_data.iio.improps, plugin="pyav")
    monkeypatch.setattr(submission_data.iio, "improps", named)
    # imageio collects garbage whenever it closes a video; what was there before would be gone through 320 times.
    gc.freeze()
    yield submission_data
    gc.unfreeze()


@pytest.fixture(scope="module")
def full(installed, toys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of the whole task: 80 videos of noise that moves, written as `bench submit` writes them."""
    folder = tmp_path_factory.mktemp("full")
    task = task_of(toys, "nersemble")[2]
    noise = np.random.default_rng(0).integers(60, 200, (4, 4, 3), np.uint8).repeat(40, axis=0).repeat(40, axis=1)
    files = {}
    for slot in task.videos:
        images = np.full((COUNTS[slot.sequence], 512, 512, 3), 255, np.uint8)
        for row, image in enumerate(images):
            left = 60 + 12 * row + len(files)
            image[200:360, left : left + 160] = noise
        files[slot.member] = folder / "videos" / slot.member
        make_video(files[slot.member], iter([images]), task, {})
    path = folder / "full.zip"
    write_zip(path, files)
    return path


def test_the_organisers_reader_accepts_a_zip_of_ours(submission_data, full: Path, toys) -> None:
    reader = submission_data.MonoFlameAvatarSubmissionDataReader(str(full))
    assert reader.validate_submission() == {}
    assert reader.is_complete()
    frames = reader.load_video(393, "EMO-1-shout+laugh", "222200046")
    assert np.asarray(frames).shape == (4, 512, 512, 3)
    found = check_zip(full, task_of(toys, "nersemble")[2])
    assert [finding.line() for finding in found if finding.severity != "note"] == []


def test_the_organisers_reader_and_the_doctor_miss_the_same_video(submission_data, full: Path, toys) -> None:
    task = task_of(toys, "nersemble")[2]
    with zipfile.ZipFile(full) as good, zipfile.ZipFile(full.with_name("bad.zip"), "w") as bad:
        for name in good.namelist()[1:]:
            bad.writestr(name, good.read(name))
    bad_zip = full.with_name("bad.zip")
    issues = submission_data.MonoFlameAvatarSubmissionDataReader(str(bad_zip)).validate_submission()
    missing = [finding.where.place for finding in check_zip(bad_zip, task) if finding.message.startswith("missing:")]
    assert issues == {"missing_files": missing} == {"missing_files": [task.videos[0].member]}


def test_the_task_is_what_the_organisers_reader_expects(submission_data, toys) -> None:
    from nersemble_benchmark import constants

    task = task_of(toys, "nersemble")[2]
    reader = submission_data.MonoFlameAvatarSubmissionDataReader
    members = reader.list_expected_files(reader.__new__(reader))
    assert sorted(slot.member for slot in task.videos) == sorted(members)
    assert tuple(constants.BENCHMARK_MONO_FLAME_AVATAR_IDS) == (393, 404, 461, 477, 486)
