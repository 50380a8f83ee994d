"""The chain of a cell: train, render, speed, score, and where a protocol asks for it track before rendering.

A stage whose complete output fits its inputs is not repeated.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headbench.harness.errors import BenchError
from headbench.harness.files import remove_leftovers, sha256_of, write_json
from headbench.harness.layout import CellFolder
from headbench.harness.records import write_sealed
from headbench.harness.run.cell import Job, run_of
from headbench.harness.run.data import Manifest, differences
from headbench.harness.run.folder import remedy
from headbench.harness.run.listing import LISTING, damaged, listed
from headbench.harness.run.plan import limited
from headbench.harness.run.provenance import record_provenance
from headbench.harness.run.render import Progress, RenderKey, render_frames, rendered
from headbench.harness.run.speed import read_speed
from headbench.harness.run.track import track_frames, tracked_digest, tracked_frames
from headbench.harness.run.whole import Marker, read_marker
from headbench.harness.validation import validate

if TYPE_CHECKING:
    from headbench.harness.plugins import Registry
    from headbench.harness.types import Subject

__all__ = ["Scorer", "read_subject", "run_stages", "score_stage"]


class Scorer(Protocol):
    """Scores stored renders by one protocol; given by whoever may know the metrics."""

    name: str
    """name@version"""
    source: str
    """What a command line calls it: the same, or the path of its file."""
    hash: str
    key: RenderKey

    def inputs(self, device: str) -> dict[str, Any]:
        """What else the scores depend on, such as registered networks; JSON."""
        ...

    def __call__(self, subject: Subject, renders: Path, target: Path, device: str, progress: Progress) -> None:
        """Write one JSON line a test frame to `target`, atomically."""
        ...


def run_stages(folder: Path, job: Job, registry: Registry, scorers: Sequence[Scorer], progress: Progress) -> None:
    """Do what is left of a cell.

    Raises:
        BenchError: what a person can mend; anything else is a fault of a plugin or of ours.
    """
    from headbench.harness.device import be_deterministic, resolve_device, use_threads
    from headbench.harness.session.recorded import recorded
    from headbench.harness.splat import make_rasterizer
    from headbench.harness.train import load_portrait, train_stage

    remove_leftovers(folder)
    use_threads(job.execution.threads, resolve_device(job.execution.device))
    progress({"stage": "read"})
    portrait_type = registry.load_method(job.cell.method)
    config = validate(portrait_type.config_type, job.config, str(folder / "job.json"))
    subject = read_subject(job, registry, run_of(folder))
    record_provenance(folder, job)
    place = CellFolder(folder).stage()
    stage = place.folder
    options = job.execution
    progress({"stage": "train"})
    summary = train_stage(
        stage,
        job.cell.about(),
        portrait_type,
        config,
        subject,
        options,
        lambda now: progress({"stage": "train", **now}),
    )
    checkpoint = stage / f"checkpoint-{summary.steps}"
    weights = sha256_of(checkpoint / "model.safetensors")
    ids = [frame.id for frame in subject.test]
    keys = {scorer.key.name: scorer.key for scorer in scorers} or {RenderKey().name: RenderKey()}

    def tracked(key: RenderKey) -> str | None:
        return tracked_digest(place.tracking(key.name), weights, key, subject.test)

    def complete(key: RenderKey) -> bool:
        digest = tracked(key) if key.tracking is not None else None
        known = key.tracking is None or digest is not None
        return known and rendered(place.renders(key.name), weights, ids, digest)

    missing = [key for key in keys.values() if not complete(key)]
    if missing or not _fresh(folder, weights):
        device = resolve_device(options.device)
        loaded = load_portrait(checkpoint, str(device)).portrait
        # Training has set this already where it ran in this process, and not where it was finished before.
        be_deterministic(options.deterministic)
        trained = (summary.steps, len(subject.train))
        for key in missing:
            if key.tracking is not None and tracked(key) is None:
                track_frames(
                    loaded,
                    config,
                    subject.test,
                    trained,
                    place.tracking(key.name),
                    key,
                    weights,
                    options.rasterizer,
                    device,
                    progress,
                )
        portrait = recorded(loaded, device)
        rasterizer = make_rasterizer(options.rasterizer, device, depth=False)
        for key in missing:
            target = place.renders(key.name)
            frames, digest = list(subject.test), None
            if key.tracking is not None:
                frames, digest = tracked_frames(place.tracking(key.name), subject.test), tracked(key)
            render_frames(portrait, rasterizer, frames, target, key, weights, device, progress, digest)
        if not _fresh(folder, weights):
            from headbench.harness.run.speed import measure_speed

            progress({"stage": "speed"})
            found = measure_speed(portrait, rasterizer, subject.test, device, summary)
            write_sealed(place.speed, {"checkpoint": weights, **found})
    for scorer in scorers:
        score_stage(folder, subject, scorer, options.device, progress)


def score_stage(folder: Path, subject: Subject, scorer: Scorer, device: str, progress: Progress) -> bool:
    """Score a cell's stored renders unless scores of the same renders by the same protocol are there.

    Returns:
        whether anything was scored.

    Raises:
        BenchError: the renders that the protocol scores are missing.
    """
    place = CellFolder(folder).stage()
    renders = place.renders(scorer.key.name)
    if not listed(renders):
        raise BenchError(
            f"{renders} has no complete renders, which protocol {scorer.name} scores.", help=_command(folder, scorer)
        )
    inputs = scorer.inputs(device)
    target = place.scores(scorer.name)
    marker = place.marker(scorer.name)

    def origin() -> Marker:
        return Marker(scorer.name, scorer.hash, sha256_of(renders / LISTING), inputs, sha256_of(target))

    if target.is_file() and read_marker(folder, scorer.name) == origin():
        return False
    broken = damaged(renders)
    if broken:
        more = f" and {len(broken) - 1} others" if len(broken) > 1 else ""
        raise BenchError(
            f"{renders / broken[0]}{more} was damaged or removed since it was rendered.", help=_command(folder, scorer)
        )
    progress({"stage": f"score {scorer.name}"})
    marker.unlink(missing_ok=True)
    scorer(subject, renders, target, device, progress)
    write_json(marker, asdict(origin()))
    return True


def _command(folder: Path, scorer: Scorer) -> str:
    """What renders a cell again for a protocol."""
    job = Job.read(folder)
    asked = scorer.source in job.protocols or scorer.name in job.protocols
    return remedy(run_of(folder), job.cell) + ("" if asked else f" --protocol {shlex.quote(scorer.source)}")


def read_subject(job: Job, registry: Registry, run: Path | None = None) -> Subject:
    """The subject of a job, limited as the job says.

    Args:
        run: its run's folder, which tells what frames changed if the data are others now.

    Raises:
        DataError: it cannot be read.
        BenchError: it is not what the job was planned with.
    """
    subject = registry.load_dataset(job.cell.dataset).read(Path(job.data), job.data_options)
    subject = limited(subject, job.limit)
    now = Manifest.of(subject)
    changed = differences(job.fingerprint, now.fingerprint, Manifest.read(run, job.data_file) if run else None, now)
    if changed:
        raise BenchError(f"{job.data} changed since the run was planned: {'; '.join(changed)}.", help="bench run again")
    return subject


def _fresh(folder: Path, checkpoint: str) -> bool:
    speed = read_speed(folder)
    return speed is not None and speed.checkpoint == checkpoint
