"""Bodies, the moving contents of a page: the whole avatar, a linear fit of it, or a clip of its final Gaussians."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headbench.export.html.controls import controls_of, moving, presets_of
from headbench.export.html.fit import BASES, FRAMES, fitted, put_fit
from headbench.export.html.licences import terms_of
from headbench.export.html.loss import drawable, least_psnr
from headbench.export.html.pack import Packer
from headbench.export.html.posed import posed
from headbench.export.html.recording import put_recording
from headbench.export.html.rig import put_rig, rig_of
from headbench.export.html.stills import evenly, most_frames, put_stills
from headbench.export.poses import Pose
from headbench.export.source import Source
from headbench.harness.head import SubjectHead, load_head
from headbench.harness.rigged import Rig

__all__ = ["BUDGET", "Body", "body_of"]

BUDGET = 6_000_000
"""Bytes that a page with final Gaussians has at most, unless a single frame is larger."""
_SAME = 45.0
"""Least PSNR in dB of what is the avatar but for rounding."""
_REST = 150_000
"""Bytes of a page besides its arrays, at most."""


@dataclass(frozen=True)
class Body:
    """Moving content of a page: Gaussians, with what the page's script moves them by."""

    kind: str
    """Name of what moves in the script: rig, fit or clip."""
    frames: tuple[Pose, ...]
    count: int
    """Number of Gaussians."""
    summary: str
    """Text that says how exact the page is; it stands behind the number of Gaussians."""
    packer: Packer
    about: Mapping[str, Any] = field(default_factory=dict)
    """Values for the page's script besides the arrays, as JSON."""
    fps: float = 25
    notes: tuple[str, ...] = ()


def body_of(source: Source, frames: tuple[Pose, ...]) -> Body:
    """Choose how much of an avatar a page can hold: all of it, a fit, or its final Gaussians in some frames."""
    loaded = source.session.loaded
    terms = terms_of(loaded.identity.head)
    if not terms.free and not source.may_share:
        out = "its bases, and fits to them, stay out" if source.fit else "its bases stay out"
        return _clip(
            source,
            frames,
            f"{terms.name} may not be passed on, so {out}: the page holds final Gaussians in recorded frames, without "
            "sliders (--i-may-share-flame puts the bases in, where your licence lets you).",
        )
    found = rig_of(loaded.portrait, frames)  # type: ignore[arg-type]  # formats with `needs` are given avatars
    why = f"networks of {loaded.about.get('method', 'the method')} move its Gaussians"
    if found is not None:
        body = _rig(source, frames, *found)
        if body is not None:
            return body
        why = "its Gaussians are not where its rig has them"
    if source.fit:
        return _fit(source, frames, why)
    return _clip(
        source,
        frames,
        f"{why}: the page holds them in recorded frames, without sliders (--fit makes some, at a loss).",
    )


def _rig(source: Source, frames: tuple[Pose, ...], rig: Rig, head: SubjectHead) -> Body | None:
    """The whole avatar; None where the rig draws something else than the avatar."""
    packer, width = Packer(), head.expression_size
    put_recording(packer, frames, width)
    told, read = put_rig(packer, rig, head)
    device = source.session.device
    loss = least_psnr(source, frames, lambda number: posed(read, head, frames[number].params.to(device)))
    if loss < _SAME:
        return None
    about = {
        "rig": told,
        "controls": controls_of(head.expression_names, width, head.eyelid_dirs is not None),
        "presets": presets_of(head.expression_names, width),
    }
    summary = f"exact in every pose but for rounding of its numbers ({loss:.0f} dB)"
    notes = ("--fit was left out: this avatar is exact without it.",) if source.fit else ()
    return Body("rig", frames, len(rig.face_index), summary, packer, about, source.fps, notes)


def _fit(source: Source, frames: tuple[Pose, ...], why: str) -> Body:
    """A linear function of the head's parameters, of as many bases as fit."""
    identity, device = source.session.loaded.identity, source.session.device
    head = load_head(identity.head, source.session.loaded.config.topology(), device=device).bind(identity)
    width, training = head.expression_size, evenly(source.fitting, FRAMES)
    fit, rank = fitted(source, head, training), BASES
    while True:
        packer = Packer()
        about, read = put_fit(packer, fit.cut(rank))
        put_recording(packer, frames, width)
        size = len(packer.packed().text)
        if size <= BUDGET - _REST or rank == 1:
            break
        rank = max(1, min(rank - 1, int(rank * (BUDGET - _REST) / size)))
    loss = least_psnr(source, frames, lambda number: drawable(read.at(frames[number], width)))
    summary = f"a fit of {about['rank']} linear bases, {loss:.1f} dB of the avatar's own pictures at least"
    notes = (
        f"{why}: the page holds {summary} in the {len(frames)} recorded frames; "
        f"it was fitted to {len(training)} training frames.",
    )
    controls, moved = controls_of(head.expression_names, width, True), read.moving(width)
    told = {
        "fit": about,
        "controls": moving(controls, moved),
        "presets": presets_of(head.expression_names, width, moved),
    }
    return Body("fit", frames, read.mean.shape[1], summary, packer, told, source.fps, notes)


def _clip(source: Source, frames: tuple[Pose, ...], why: str) -> Body:
    """Final Gaussians of as many of the frames as fit."""
    kept = evenly(frames, most_frames(source, frames[0], BUDGET))
    while True:
        packer = Packer()
        stills = put_stills(packer, source, kept)
        put_recording(packer, kept, 0)
        size = len(packer.packed().text)
        if size <= BUDGET - _REST or len(kept) == 1:
            break
        kept = evenly(frames, min(len(kept) - 1, int(len(kept) * (BUDGET - _REST) / size * 0.98)))
    notes = [why]
    if len(kept) < len(frames):
        notes.append(
            f"{len(kept)} of {len(frames)} frames are in the page, evenly spaced: more are above {BUDGET / 1e6:g} MB."
        )
    loss = least_psnr(source, kept, lambda number: drawable(stills.splats[number]))
    notes.append(
        f"the page's Gaussians are rounded to 8 and 16 bits: {loss:.1f} dB of the avatar's own pictures at least."
    )
    fps = source.fps * len(kept) / len(frames)
    return Body("clip", kept, len(stills.splats[0]), "a clip of final Gaussians", packer, {}, fps, tuple(notes))
