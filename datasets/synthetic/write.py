"""Making subjects: each in a folder of its own that appears only when it is whole, frames rendered in parallel."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.datasets.synthetic.motion import Motion, make_motion
from headbench.datasets.synthetic.picture import take
from headbench.datasets.synthetic.scene import TAG, Scene, head_params, make_scene, params_of
from headbench.datasets.synthetic.views import intrinsics, orbit, world_to_camera
from headbench.datasets.synthetic.writer_insta import write_frame, write_tracking, write_truth
from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.files import atomic_folder

__all__ = ["LAYOUTS", "write_synthetic"]

LAYOUTS = ("insta",)
ORBIT = 12
"""Views around the neutral head."""


def write_synthetic(
    out: Path,
    layout: str,
    subjects: int,
    frames: int,
    size: int,
    seed: int,
    report: Callable[[str], None],
    workers: int | None = None,
) -> list[Path]:
    """Write ``out/<layout>/synth00`` and so on; the same arguments give the same files, whatever `workers` is.

    Args:
        frames: of each subject; the last fifth is for testing.
        size: side of the images in pixels.
        workers: processes; None takes one a core.

    Returns:
        the subjects' folders.

    Raises:
        BenchError: an unknown layout, or a subject's folder exists already.
    """
    if layout not in LAYOUTS:
        raise BenchError(did_you_mean("layout", layout, LAYOUTS))
    targets = [out / layout / f"synth{k:02d}" for k in range(subjects)]
    for target in targets:
        if target.exists():
            raise BenchError(f"{target} exists already.", help="remove it or name another folder")
    for k, target in enumerate(targets):
        started = time.monotonic()
        with atomic_folder(target) as folder:
            _write_subject(folder, seed * 1000 + k, frames, size, workers or os.cpu_count() or 1, report, target.name)
        report(f"{target.name}: {frames} frames of {size} x {size} in {time.monotonic() - started:.0f} s")
    return targets


def _write_subject(
    folder: Path, seed: int, frames: int, size: int, workers: int, report: Callable[[str], None], name: str
) -> None:
    scene = make_scene(seed)
    motion = make_motion(seed, frames, scene.head.expression_names)
    write_tracking(folder, motion, scene.person.shape, size, TAG)
    vertices: dict[int, NDArray[np.float32]] = {}
    if workers == 1 or frames < 2 * workers:
        for index in range(frames):
            vertices[index] = _render(scene, motion, folder, index, size)
    else:
        # spawn: a forked child would inherit threads of libraries that are in use.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, context, _prepare, (seed, frames, str(folder), size))
        with _one_thread_each(), pool:
            for done, future in enumerate(as_completed([pool.submit(_task, k) for k in range(frames)]), start=1):
                index, found = future.result()
                vertices[index] = found
                if done % max(1, frames // 4) == 0:
                    report(f"{name}: {done} of {frames} frames")
    neutral = head_params(np.zeros((1, len(scene.head.expression_names))), *np.zeros((3, 1, 3)))
    cameras = orbit(ORBIT)
    write_truth(folder, [(w2c, take(scene, neutral, w2c, intrinsics(size), size)) for w2c in cameras], size)
    stacked = np.stack([vertices[k] for k in range(frames)])
    np.savez_compressed(folder / "truth" / "vertices.npz", vertices=stacked, faces=scene.head.faces.numpy())


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started meanwhile use one thread for linear algebra: there is one of them a core already."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _render(scene: Scene, motion: Motion, folder: Path, index: int, size: int) -> NDArray[np.float32]:
    params = params_of(motion).rows(slice(index, index + 1))
    picture = take(scene, params, world_to_camera(motion)[index], intrinsics(size), size)
    write_frame(folder, index, picture)
    return picture.vertices


_work: tuple[Scene, Motion, Path, int] | None = None
"""What a worker process renders; set once when it starts."""


def _prepare(seed: int, frames: int, folder: str, size: int) -> None:
    global _work
    torch.set_num_threads(1)
    scene = make_scene(seed)
    _work = scene, make_motion(seed, frames, scene.head.expression_names), Path(folder), size


def _task(index: int) -> tuple[int, NDArray[np.float32]]:
    if _work is None:
        raise RuntimeError("a worker was not prepared")
    scene, motion, folder, size = _work
    return index, _render(scene, motion, folder, index, size)
