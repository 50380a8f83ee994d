"""View prior `external`: a program in an environment of its own, which reads a job folder and writes views into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from headbench.harness.arrays import read_npy
from headbench.harness.avatar import Section
from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.names import one_line, quoted
from headbench.harness.pictures import read_picture
from headbench.harness.reading import Unreadable
from headbench.harness.types import Camera
from headbench.harness.view_prior import PseudoView, ViewPrior, ViewWork
from headbench.stages.complete.cameras import Alignment, camera_of_label
from headbench.stages.complete.checks import check_views
from headbench.stages.complete.points import alignment_of
from headbench.stages.complete.priors.job import Request, draw, write_job
from headbench.stages.complete.priors.program import run_program
from headbench.stages.complete.seen import hits_of

__all__ = ["External", "ExternalConfig"]

_DONE = ("done", "ok")
"""Values of `status` in a report of a program that did what it was asked for."""
_TRUSTED_OVERLAP = 0.7
"""Overlap of a view's matte with the mesh from which the view counts fully."""
_SMALLEST = 0.05
"""Least matte by which a composited colour is divided."""


class ExternalConfig(Section):
    """Options of the prior `external`."""

    interpreter: str = ""
    """Program that runs the one named by `source`, such as the Python of its environment; empty runs it itself."""
    arguments: tuple[str, ...] = ()
    """Arguments of the program before the job folder."""
    generator: str = ""
    """Name that job.json passes on, such as spherehead."""
    budget: float = Field(default=3600.0, gt=0)
    """Seconds that the program may take; then it is ended with all that it started."""
    size: int = Field(default=512, ge=16)
    """Side of the pictures in pixels, both ways."""
    inputs: int = Field(default=5, ge=1, le=9)
    """Number of pictures of the portrait that the program gets."""
    spread: float = Field(default=30.0, ge=0, le=40)
    """Largest azimuth of these pictures in degrees."""
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Colour behind all pictures."""
    front_psnr: float = Field(default=18.0, ge=0)
    """Least PSNR in dB, on the head, of the most frontal view against the portrait; 0 does not compare."""
    overlap: float = Field(default=0.5, ge=0, le=1)
    """Least overlap (intersection over union) of a view's matte with the mesh, which has no hair."""


class External(ViewPrior):
    """Writes a job folder, runs the program `PROGRAM … JOBDIR`, and reads and checks what it wrote."""

    config_type = ExternalConfig

    def make(self, work: ViewWork) -> Sequence[PseudoView]:
        """Views that the program made, with confidences that fall where their outline is far from the mesh's.

        Raises:
            BenchError: the program fails or takes too long, or its views are too few, damaged or of another head.
        """
        config: ExternalConfig = work.config
        program = work.source or Path()
        head = alignment_of(work.parent.portrait.head, work.vertices)  # type: ignore[arg-type]
        folder = work.scratch / "external"
        request = Request(config.generator, config.size, config.inputs, config.spread, config.background, config.budget)
        write_job(folder, work, head, request)
        start = [config.interpreter] if config.interpreter else []
        command = [*start, str(program), *config.arguments, str(folder)]
        run_program(program.name, command, folder, config.budget)
        views = _read(folder, work, head, config, program.name)
        check_views(views, work.vertices, f"external ({program.name})")
        _check_front(views, work, config, program.name)
        return [_trusted(view, work, config, program.name) for view in views]


def _read(folder: Path, work: ViewWork, head: Alignment, config: ExternalConfig, program: str) -> list[PseudoView]:
    """Views in a job folder.

    Args:
        folder: of the job.
        work: the prior's input, with the cameras that were asked for.
        head: points of the head.
        config: the prior's options.
        program: its name, for messages.

    Raises:
        BenchError: there is no report, its status is another than done, or a view is missing or damaged.
    """
    report = read_json(folder / "out" / "report.json")
    status = report.get("status", "done")
    if status not in _DONE:
        raise BenchError(f"{program}: expected status done in out/report.json, found {quoted(status)}.")
    missing = [name for name in work.cameras if not (folder / "out" / "image" / f"{name}.png").exists()]
    if missing:
        count = len(work.cameras)
        raise BenchError(
            f"{program}: expected {count} views in out/image, found {count - len(missing)}; the first that is missing "
            f"is {missing[0]}.png.",
            help=f"its output is in {folder / 'log.txt'}",
        )
    cameras = _cameras(folder / "out" / "cameras.json", work, head, config.size)
    return [_view(folder / "out", name, camera, config) for name, camera in cameras.items()]


def _cameras(path: Path, work: ViewWork, head: Alignment, size: int) -> dict[str, Camera]:
    """Cameras of the views by name: those asked for, unless the program says by labels that it took others."""
    wanted = {name: camera.resized(size, size).to("cpu") for name, camera in work.cameras.items()}
    if not path.exists():
        return wanted
    content = read_json(path)
    labels, place = content.get("labels"), content.get("a", list(head.a))
    if not isinstance(labels, list) or not _numbers(place, 3) or not _numbers([content.get("s", head.s)], 1):
        raise Unreadable(path, "expected `labels` [[name, 25 numbers], ...] with numbers `s` and `a`, found others")
    taken = replace(head, s=float(content.get("s", head.s)), a=tuple(place))
    for entry in labels:
        if not isinstance(entry, list) or len(entry) != 2 or not _numbers(entry[1], 25):
            raise Unreadable(path, f"expected [name, 25 finite numbers], found {quoted(entry)}")
        name = Path(str(entry[0])).stem
        if name in wanted:
            wanted[name] = camera_of_label(entry[1], taken, size)
    return wanted


def _numbers(values: Any, count: int) -> bool:
    """Whether `values` are `count` finite numbers."""
    if not isinstance(values, list) or len(values) != count:
        return False
    right = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return right and bool(np.isfinite(np.array(values, dtype=np.float64)).all())


def _view(out: Path, name: str, camera: Camera, config: ExternalConfig) -> PseudoView:
    """Read one view: colour on the background, matte (or what differs from the background), confidence, depth."""
    image = _picture(out / "image" / f"{name}.png", config.size, "RGB")
    behind = torch.tensor(config.background)[:, None, None]
    mask, trust, depth = out / "mask" / f"{name}.png", out / "confidence" / f"{name}.png", out / "depth" / f"{name}.npy"
    if mask.exists():
        matte = _picture(mask, config.size, "L")
    else:
        matte = ((image - behind).abs().amax(0, keepdim=True) * 8).clamp(0, 1)
    if depth.exists() and not np.isfinite(read_npy(depth)).all():
        raise Unreadable(depth, "expected finite numbers, found NaN or infinity")
    confidence = _picture(trust, config.size, "L") if trust.exists() else torch.ones_like(matte)
    colour = ((image - (1 - matte) * behind) / matte.clamp(min=_SMALLEST)).clamp(0, 1)
    return PseudoView(name, colour, matte, confidence, camera)


def _picture(path: Path, size: int, mode: str) -> Tensor:
    """Pixels (C, size, size) in [0, 1] of a picture of that size."""
    image = read_picture(path)
    if image.size != (size, size):
        raise Unreadable(
            path, f"expected {size} x {size} pixels as job.json asks, found {image.size[0]} x {image.size[1]}"
        )
    pixels = torch.from_numpy(np.asarray(image.convert(mode), dtype=np.float32) / 255)
    return pixels[None] if mode == "L" else pixels.permute(2, 0, 1)


def _check_front(views: Sequence[PseudoView], work: ViewWork, config: ExternalConfig, program: str) -> None:
    """Refuse views of another head: the frontal one must look like the portrait from there.

    Raises:
        BenchError: it does not.
    """
    if config.front_psnr == 0:
        return
    view = views[0]
    image, alpha = (part.cpu() for part in draw(work, view.camera, config.background))
    behind = torch.tensor(config.background)[:, None, None]
    shown = view.image * view.matte + behind * (1 - view.matte)
    weight = torch.maximum(alpha, view.matte)
    error = float(((image - shown).square() * weight).sum() / (3 * weight.sum()).clamp(min=1e-6))
    psnr = -10 * float(np.log10(max(error, 1e-10)))
    if psnr < config.front_psnr:
        raise BenchError(
            f"{program}: expected the frontal view {one_line(view.name)} to be like the portrait to "
            f"{config.front_psnr:g} dB, found {psnr:.1f} dB: another head, camera or crop.",
            help="compare out/image with in; --set complete.prior_set.front_psnr=0 does not compare",
        )


def _trusted(view: PseudoView, work: ViewWork, config: ExternalConfig, program: str) -> PseudoView:
    """A view whose confidence falls with the overlap of its matte and the mesh.

    Raises:
        BenchError: they overlap less than they must.
    """
    head: Any = work.parent.portrait
    hits = hits_of(work.vertices, head.head.faces, view.camera)
    mesh = (hits.face_index >= 0).reshape(view.matte.shape).cpu()
    matte = view.matte > 0.5
    overlap = float((mesh & matte).sum() / (mesh | matte).sum().clamp(min=1))
    if overlap < config.overlap:
        raise BenchError(
            f"{program}: view {one_line(view.name)}: expected a matte that overlaps the head's mesh by "
            f"{config.overlap:.0%}, found {overlap:.0%}: another camera or crop.",
            help="--set complete.prior_set.overlap=0 does not compare",
        )
    return replace(view, confidence=view.confidence * min(1.0, overlap / _TRUSTED_OVERLAP))
