"""The test sequences: what a submission is to render, without an image on disk."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from headbench.datasets.nersemble.hidden import benchmark_test, submission_task
from headbench.datasets.nersemble.reader import NersembleReader
from headbench.harness.errors import DataError


def test_the_task_asks_for_80_videos_in_the_official_names() -> None:
    task = submission_task()
    assert len({slot.member for slot in task.videos}) == 80
    assert task.videos[0].member == "393/FREE/cam_222200037.mp4"
    assert task.videos[-1].member == "486/SEN-10-port_strong_smokey/cam_222200039.mp4"
    assert (task.width, task.height, task.fps, task.crf, task.quota) == (512, 512, 24.3, 14, 10)
    assert (task.tracking, task.background) == ("flame2023_tracking_v2", "white")
    assert NersembleReader().submission() == task


def test_hidden_views_have_every_sequence_from_every_camera(author, nersemble_format) -> None:
    views = NersembleReader().hidden(author.folder, {})
    expected = [(name, serial) for name in nersemble_format.TEST for serial in nersemble_format.SERIALS]
    assert [(view.sequence, view.camera_id) for view in views] == expected
    stored = nersemble_format.cameras()
    for view in views:
        assert view.subject == "393" and view.tracking == "flame2023_tracking_v2"
        assert view.frame_ids == (f"{view.sequence}_00000", f"{view.sequence}_00001")
        assert np.allclose(view.camera.w2c[0], stored["world_2_cam"][view.camera_id], atol=1e-6)
        assert np.allclose(view.camera.K[0], stored["intrinsics"][view.camera_id], atol=1e-4)
        assert (view.camera.width, view.camera.height) == (32, 32)
    last = nersemble_format.arrays(21)
    assert torch.equal(views[-1].params.similarity.R, torch.from_numpy(last["rotation_matrices"]))
    assert torch.equal(views[-1].params.expression, torch.from_numpy(last["expression"]))
    slots = [slot for slot in submission_task().videos if slot.subject == "393"]
    assert {(slot.sequence, slot.camera_id) for slot in slots} == {(view.sequence, view.camera_id) for view in views}


def test_hidden_views_need_neither_images_nor_training_sequences(author, nersemble_format) -> None:
    before = benchmark_test(author.folder)
    author.remove(*(author.sequence(name) for name in nersemble_format.TRAIN))
    after = benchmark_test(author.folder)
    assert [view.fingerprint for view in after] == [view.fingerprint for view in before] and len(after) == 16


def test_the_fingerprint_changes_with_tracking_and_cameras(author) -> None:
    first = benchmark_test(author.folder)
    author.retrack("FREE", lambda c: c["jaw"].__setitem__((0, 0), 0.3))
    second = benchmark_test(author.folder)
    changed = {view.sequence for a, view in zip(first, second, strict=True) if a.fingerprint != view.fingerprint}
    assert changed == {"FREE"}
    author.edit(lambda c: c["intrinsics"]["222200046"][0].__setitem__(2, 15.0))
    third = benchmark_test(author.folder)
    assert all(a.fingerprint != b.fingerprint for a, b in zip(second, third, strict=True))


def test_submissions_refuse_the_old_tracking(author) -> None:
    author.old_tracking()
    with pytest.raises(DataError, match="expected tracking=v2 for test sequences, found tracking=v1"):
        NersembleReader().hidden(author.folder, {"tracking": "v1"})
    path = author.tracking("FREE")
    shutil.move(path, author.tracking("FREE", "v1"))
    with pytest.raises(
        DataError, match=r"flame2023_tracking_v2\.npz \[sequence FREE\]: expected the tracking of a test"
    ):
        benchmark_test(author.folder)


def test_damaged_cameras_and_tracking_of_test_sequences_are_told(author) -> None:
    author.retrack("FREE", lambda c: c["translation"].__setitem__((1, 2), np.nan))
    with pytest.raises(DataError, match=r"\[frame FREE_00001\]: `translation`: expected finite numbers, found nan"):
        benchmark_test(author.folder)
    author.edit(lambda c: c["world_2_cam"].pop("220700191"))
    with pytest.raises(DataError, match=r"expected camera 220700191, found no such serial number.*1 more problem"):
        benchmark_test(author.folder)


@pytest.mark.tried("damaged inputs", "tracking of a hidden test sequence that exploded in one frame")
def test_every_frame_of_a_hidden_sequence_is_looked_at(author) -> None:
    assert len(benchmark_test(author.folder)) == 16
    author.retrack("FREE", lambda c: c["expression"].__setitem__((1, 3), 500.0))
    with pytest.raises(DataError, match=r"\[frame FREE_00001\]: `expression`: expected coefficients .*found 500"):
        benchmark_test(author.folder)
