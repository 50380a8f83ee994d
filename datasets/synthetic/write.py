"""Writing of synthetic subjects: each in a folder that appears only when it is whole, frames rendered in parallel."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headbench.datasets.synthetic.around import Extra, extras, picture_of, write_documents, write_picture
from headbench.datasets.synthetic.layout import Clip, Shot, Writer
from headbench.datasets.synthetic.motion import make_motion
from headbench.datasets.synthetic.picture import sit, take
from headbench.datasets.synthetic.scene import make_scene, params_of
from headbench.datasets.synthetic.writer_imavatar import ImavatarWriter
from headbench.datasets.synthetic.writer_insta import InstaWriter
from headbench.datasets.synthetic.writer_nersemble import NersembleWriter
from headbench.datasets.synthetic.writer_vhap import VhapWriter
from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.files import atomic_folder

__all__ = ["LAYOUTS", "write_synthetic"]

_WRITERS: dict[str, Writer] = {
    writer.layout: writer for writer in (InstaWriter(), ImavatarWriter(), NersembleWriter(), VhapWriter())
}
LAYOUTS = tuple(_WRITERS)
"""Names of the layouts that synthetic subjects can be written in."""
ORBIT = 12
"""Number of views around the neutral head that go with a subject's truth."""


def write_synthetic(
    out: Path,
    layout: str,
    subjects: int,
    frames: int,
    size: int,
    seed: int,
    report: Callable[[str], None],
    workers: int | None = None,
    orbit: int = ORBIT,
    around: bool = False,
) -> list[Path]:
    """Write ``out/<layout>/synth00`` and so on; the same arguments give the same files, whatever `workers` is.

    Args:
        out: the data root.
        layout: one of `LAYOUTS`.
        subjects: how many.
        frames: number of frames per subject; the last fifth is for testing.
        size: side of the images in pixels.
        seed: of identities and motions.
        report: called with a sentence now and then, for progress.
        workers: processes; None takes one per core.
        orbit: views of the neutral head, all around it, that lie beside the subject as truth; at least one.
        around: also 24 views from all around to score (view set ``all-around``) and 24 for completing the head.

    Returns:
        The subjects' folders.

    Raises:
        BenchError: an unknown layout, or a subject's folder exists already.
    """
    if layout not in LAYOUTS:
        raise BenchError(did_you_mean("layout", layout, LAYOUTS))
    writer = _WRITERS[layout]
    targets = [out / layout / writer.subject(k) for k in range(subjects)]
    for target in targets:
        if target.exists():
            raise BenchError(f"{target} exists already.", help="remove it or name another folder")
    for k, target in enumerate(targets):
        started = time.monotonic()
        with _one_torch_thread(), atomic_folder(target) as folder:
            clip = _clip(target.name, seed * 1000 + k, frames, size)
            more = orbit, around
            _write_subject(writer, folder, clip, seed * 1000 + k, workers or os.cpu_count() or 1, more, report)
        report(f"{target.name}: {frames} frames of {size} x {size} in {time.monotonic() - started:.0f} s")
    return targets


def _clip(name: str, seed: int, frames: int, size: int) -> Clip:
    """Make the performance of a subject.

    Args:
        name: of its folder.
        seed: of its identity and motion.
        frames: T.
        size: side of the images in pixels.
    """
    scene = make_scene(seed)
    return Clip(name, scene, make_motion(seed, frames, scene.head.expression_names), size)


def _write_subject(
    writer: Writer,
    folder: Path,
    clip: Clip,
    seed: int,
    workers: int,
    more: tuple[int, bool],
    report: Callable[[str], None],
) -> None:
    """Write all files of one subject.

    Args:
        writer: of the layout.
        folder: the subject's.
        clip: its performance.
        seed: of the clip, for the processes that make it again.
        workers: processes that render.
        more: number of views in the orbit, and whether there are others: arguments of `extras`.
        report: called with a sentence now and then.
    """
    writer.tracking(folder, clip)
    shots, views = writer.shots(clip), extras(clip, *more)
    vertices: dict[int, NDArray[np.float32]] = {}
    if workers == 1 or len(shots) < 2 * workers:
        for shot in shots:
            vertices.setdefault(shot.index, _render(writer, folder, clip, shot))
        for extra in views:
            write_picture(folder, extra, picture_of(clip, extra))
    else:
        # spawn: a forked child would inherit threads of libraries that are in use.
        context = multiprocessing.get_context("spawn")
        work = writer.layout, str(folder), clip.name, seed, len(clip.motion.yaw), clip.size, more
        pool = ProcessPoolExecutor(workers, context, _prepare, work)
        with _one_thread_each(), pool:
            tasks = [pool.submit(_task, k) for k in range(len(shots) + len(views))]
            for done, future in enumerate(as_completed(tasks[: len(shots)]), start=1):
                index, found = future.result()
                vertices[index] = found
                if done % max(1, len(shots) // 4) == 0:
                    report(f"{clip.name}: {done} of {len(shots)} frames")
            for task in tasks[len(shots) :]:
                task.result()
    writer.truth(folder, clip, np.stack([vertices[k] for k in sorted(vertices)]))
    write_documents(folder, views)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that are started meanwhile use one thread each for linear algebra: there is one per core."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextlib.contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Let torch use one thread meanwhile.

    On some processors its products differ in their last bits between one thread and several, and the files must not
    depend on how many workers wrote them.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _render(writer: Writer, folder: Path, clip: Clip, shot: Shot) -> NDArray[np.float32]:
    """Render and write one shot, and return the head's vertices (V, 3).

    Args:
        writer: of the layout.
        folder: the subject's.
        clip: its performance.
        shot: the row and the camera of the picture.
    """
    params = params_of(clip.motion).rows(slice(shot.index, shot.index + 1))
    picture = take(sit(clip.scene, params), shot.w2c, shot.K, clip.size)
    writer.frame(folder, clip, shot, picture)
    return picture.vertices


_work: tuple[Writer, Path, Clip, Sequence[Shot], Sequence[Extra]] | None = None
"""Work of this process, set once when it starts: writer, folder, clip, all shots and all further views."""


def _prepare(layout: str, folder: str, name: str, seed: int, frames: int, size: int, more: tuple[int, bool]) -> None:
    """Make the clip again in a worker process that starts.

    Args:
        layout: one of `LAYOUTS`.
        folder: the subject's.
        name: of its folder.
        seed: of its identity and motion.
        frames: T.
        size: side of the images in pixels.
        more: arguments of `extras`.
    """
    global _work
    torch.set_num_threads(1)
    writer, clip = _WRITERS[layout], _clip(name, seed, frames, size)
    _work = writer, Path(folder), clip, writer.shots(clip), extras(clip, *more)


def _task(number: int) -> tuple[int, NDArray[np.float32]]:
    """Render one picture in a worker process: a shot, or past the last one a further view.

    Returns:
        row of the motion, -1 for a further view, and the head's vertices (V, 3).
    """
    if _work is None:
        raise RuntimeError("a worker was not prepared")
    writer, folder, clip, shots, views = _work
    if number < len(shots):
        return shots[number].index, _render(writer, folder, clip, shots[number])
    extra = views[number - len(shots)]
    picture = picture_of(clip, extra)
    write_picture(folder, extra, picture)
    return -1, picture.vertices
