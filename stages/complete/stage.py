"""The stage `complete`: trains a portrait on views that a prior makes of the unseen head, and on training frames."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.device import resolve_device
from headbench.harness.errors import BenchError
from headbench.harness.files import discard, make_folder
from headbench.harness.splat import Rasterizer, make_rasterizer
from headbench.harness.stage import Stage, StageWork
from headbench.harness.surface import OnSurface
from headbench.harness.train import LoadedPortrait
from headbench.harness.train.frames import FrameStore
from headbench.harness.train.setup import Parts, frame_store
from headbench.harness.train.training import Training, take_up
from headbench.harness.trained import SUMMARY
from headbench.harness.types import Camera
from headbench.harness.view_prior import PseudoView, ViewWork
from headbench.stages.complete.cameras import (
    Alignment,
    camera_of,
    camera_of_label,
    fate_orbit,
    label_of_pose,
    orbit_pose,
    view_direction,
)
from headbench.stages.complete.checks import check_views
from headbench.stages.complete.confidence import weigh
from headbench.stages.complete.config import CompleteConfig, prior_options
from headbench.stages.complete.points import alignment_of
from headbench.stages.complete.seen import eye_of, looks, seen_share
from headbench.stages.complete.storage import VIEWS, read_views, write_views
from headbench.stages.complete.training import (
    CONFIDENCE,
    Alternation,
    largest_log_scale,
    view_frames,
    view_params,
)

__all__ = ["Complete", "views_between", "wanted_cameras"]

_AZIMUTHS = 24
_ELEVATIONS = (0.0, 15.0, 0.0, -15.0)
"""Heights of the views in turn, in degrees."""
_LARGEST = 512
"""Longest side in pixels of a prior's pictures where none is asked for."""
_SLACK = 1.0
"""Degrees by which a view may lie outside the azimuths: circles are about a point of the head, azimuths about its
origin."""


class Complete(Stage):
    """The stage `complete`; its result is of the parent's class."""

    config_type = CompleteConfig

    def run(self, work: StageWork) -> None:
        """Make the views, unless they are there, and train on them; saves portrait and summary itself.

        Raises:
            BenchError: the parent's Gaussians sit on no mesh, or the prior fails or gives views that cannot be used.
        """
        loaded, config = work.parent, work.config
        assert loaded is not None and isinstance(config, CompleteConfig)
        avatar = loaded.portrait
        if not isinstance(avatar, Avatar) or not isinstance(avatar, OnSurface):
            raise BenchError(
                f"{loaded.about['method']} has no mesh that carries its Gaussians, which `complete` needs.",
                help="bench list stages",
            )
        device = resolve_device(work.options.device)
        rasterizer = make_rasterizer(work.options.rasterizer, device, avatar.reads_depth)
        discard(work.folder / SUMMARY)
        make_folder(work.folder)
        seen = None
        if config.confidence or "unseen" in (config.reach, config.add_points):
            # Of the parent's mesh, which training may correct.
            seen = seen_share(looks(loaded, work.data.frames, config.looks))
        largest = None
        if seen is not None and config.largest is not None and config.reach == "unseen":
            # Of the parent, so that a resumed training has the same limit.
            largest = largest_log_scale(avatar, seen, config.largest)
        resumed, lost = take_up(work.folder, work.about, work.progress)
        if not (work.folder / VIEWS).is_dir():
            write_views(work.folder / VIEWS, make_views(work, loaded, config, rasterizer, seen))
        # What is on the disk is trained on, so that a resumed training sees the same.
        views = read_views(work.folder / VIEWS)
        candidates = views_between(views, config.azimuths)
        torch.manual_seed(work.options.seed)
        parts = Parts(avatar.train(), loaded.identity.to(device), loaded.config, rasterizer, device, ())
        masks = sorted(parts.config.masks())
        store = frame_store(parts.config, work.subject, work.options)
        pictures = FrameStore(
            view_frames(views, loaded.identity, masks, config.least),
            device,
            masks=[*masks, CONFIDENCE],
            weight=CONFIDENCE if config.confidence else None,
        )
        try:
            both = Alternation(config, loaded, parts, store, pictures, candidates, work.options, seen, largest)
            run = Training(work.folder, work.about, parts, work.options, loaded.loader, notes=lost)
            run.train(avatar, store, both.trainer, resumed, work.progress)
        finally:
            store.close()
            pictures.close()
        run.finish(work.subject.notes)


def make_views(
    work: StageWork, loaded: LoadedPortrait, config: CompleteConfig, rasterizer: Rasterizer, seen: Tensor | None
) -> list[PseudoView]:
    """Views of the prior, checked, with the confidence that the training frames leave them.

    Args:
        work: the stage's input.
        loaded: the parent.
        config: the stage's options.
        rasterizer: of the parent's device.
        seen: (V,) how far training frames show each vertex of the carrier; None where confidences do not count.

    Raises:
        BenchError: the prior fails, or gives views that cannot be used.
    """
    from headbench.harness.plugins import registry

    begun = time.perf_counter()
    portrait: Any = loaded.portrait
    identity = loaded.identity
    params = view_params(identity, "canonical")
    with torch.no_grad():
        vertices = portrait.carrier(params)[0]
    head = alignment_of(portrait.head, vertices)
    data = work.data
    prior = registry().load_view_prior(config.prior)()
    asked = ViewWork(
        parent=loaded,
        data=data,
        params=params,
        vertices=vertices,
        rasterizer=rasterizer,
        config=prior_options(config),
        source=work.inputs.get("source"),
        scratch=work.scratch,
        cameras=wanted_cameras(config, loaded, head, config.size or min(_LARGEST, max(data.width, data.height))),
        seed=work.options.seed,
        device=identity.shape.device,
        progress=work.progress,
    )
    views = list(prior.make(asked))
    check_views(views, vertices, config.prior)
    if config.confidence and seen is not None:
        views = weigh(views, vertices, portrait.head.faces, seen, jaw=float(head.M[1]) - _to_chin(head))
    seconds = time.perf_counter() - begun
    work.progress({"note": f"view prior {config.prior} gave {len(views)} views in {seconds:.1f} s"})
    return views


def _to_chin(head: Alignment) -> float:
    """Metres from the mouth to the lower edge of the jaw, about: two thirds of those from the eyes to the mouth."""
    return 2 / 3 * float(head.E[1] - head.M[1])


def wanted_cameras(config: CompleteConfig, loaded: LoadedPortrait, head: Alignment, size: int) -> dict[str, Camera]:
    """Cameras that a prior is asked for, by name of view, the frontal one first.

    Args:
        config: says which orbit.
        loaded: the parent, whose first training frame gives FATE's orbit its distance and field of view.
        head: points of the head in the pose of the views.
        size: side of the pictures in pixels.
    """
    if config.orbit == "fate":
        first = loaded.identity.camera
        K = np.eye(3)
        K[0, 0] = K[1, 1] = float(first.K[0, 0, 0]) * size / first.width
        K[:2, 2] = size / 2
        poses = fate_orbit(float(first.w2c[0, 2, 3]))
        return {f"{number:04d}": camera_of(w2c, K, size, size) for number, w2c in enumerate(poses, start=1)}
    found = {}
    for step in range(_AZIMUTHS):
        pose = orbit_pose(360 * step / _AZIMUTHS, _ELEVATIONS[step % len(_ELEVATIONS)])
        found[f"{step:04d}"] = camera_of_label(label_of_pose(pose).tolist(), head, size)
    return found


def views_between(views: Sequence[PseudoView], azimuths: tuple[float, float]) -> list[int]:
    """Positions of the views between two azimuths.

    Args:
        views: of a prior.
        azimuths: smallest and largest, degrees towards the subject's left.

    Raises:
        BenchError: there is none.
    """
    found = [view_direction(eye_of(view.camera).double().cpu().numpy())[0] % 360 for view in views]
    least, most = azimuths
    rows = [row for row, angle in enumerate(found) if least - _SLACK <= angle <= most + _SLACK]
    if not rows:
        there = ", ".join(f"{math.floor(angle)}" for angle in sorted(found)[:8])
        raise BenchError(
            f"expected a view between azimuths {least:g} and {most:g} degrees, found views at {there}.",
            help="--set complete.azimuths=[0,360]",
        )
    return rows
