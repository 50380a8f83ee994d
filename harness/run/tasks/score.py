"""Score task of a stage instance: score stored renders by a protocol."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headbench.harness.errors import BenchError
from headbench.harness.files import discard, sha256_of, write_json
from headbench.harness.layout import StagePaths
from headbench.harness.run.cell import Job, run_of
from headbench.harness.run.folder import remedy
from headbench.harness.run.listing import LISTING, damaged, listed
from headbench.harness.run.render import Progress, RenderKey, read_note
from headbench.harness.run.whole import Marker, read_marker
from headbench.harness.types import TEST

if TYPE_CHECKING:
    from headbench.harness.types import Subject

__all__ = ["Scorer", "score_task", "unstored"]


class Scorer(Protocol):
    """Interface of what scores stored renders by one protocol; implemented where the metrics are known."""

    name: str
    """Name and version of the protocol, name@version."""
    source: str
    """Name of the protocol on a command line: the same, or the path of its file."""
    hash: str
    key: RenderKey

    def inputs(self, device: str) -> dict[str, Any]:
        """Further things that the scores depend on, such as registered networks; JSON values."""
        ...

    def __call__(self, subject: Subject, renders: Path, target: Path, device: str, progress: Progress) -> None:
        """Write one JSON line per test frame, atomically; a subject without any has no views of the protocol's set.

        Args:
            subject: gives the test frames with their images.
            renders: folder of the renders.
            target: file of scores to write.
            device: device type or name, such as cpu or cuda.
            progress: is called with frames done and in all.
        """
        ...


def score_task(
    place: StagePaths, subject: Subject, scorer: Scorer, device: str, progress: Progress, force: bool = False
) -> bool:
    """Score an instance's stored renders unless scores of the same renders by the same protocol are there.

    Where the data lack the views that the protocol scores there are no renders, and the scores say so.

    Args:
        place: folders of the stage instance.
        subject: gives the frames with their images.
        scorer: protocol to score by.
        device: where to score, such as cpu or cuda.
        progress: is called with what is being done.
        force: score also where scores are there.

    Returns:
        whether anything was scored.

    Raises:
        BenchError: the renders that the protocol scores are missing or damaged, or of views that have changed since.
    """
    renders = place.renders(scorer.key.at(place.way).name)
    shown = subject.showing(scorer.key.views)
    if shown.test and not listed(renders):
        raise BenchError(
            f"{renders} has no complete renders, which protocol {scorer.name} scores.",
            help=_command(place, scorer),
        )
    viewed = _viewed(subject, scorer.key.views)
    note = read_note(renders) if viewed and shown.test else None
    if note is not None and note.viewed != viewed["views"]["digest"]:
        raise BenchError(
            f"{renders} shows {scorer.key.views} views that have changed since they were rendered.",
            help=_command(place, scorer),
        )
    target, marker = place.scores(scorer.name), place.marker(scorer.name)
    inputs = scorer.inputs(device) | viewed

    def origin() -> Marker:
        listing = sha256_of(renders / LISTING) if shown.test else ""
        return Marker(scorer.name, scorer.hash, listing, inputs, sha256_of(target))

    if not force and target.is_file() and read_marker(place, scorer.name) == origin():
        return False
    broken = damaged(renders) if shown.test else []
    if broken:
        more = f" and {len(broken) - 1} others" if len(broken) > 1 else ""
        raise BenchError(
            f"{renders / broken[0]}{more} was damaged or removed since it was rendered.",
            help=_command(place, scorer),
        )
    # With them networks and libraries are loaded; a scorer says when others follow.
    progress({"stage": f"score {scorer.name}", "part": "first frames"})
    discard(marker)
    scorer(shown, renders, target, device, progress)
    write_json(marker, asdict(origin()))
    return True


def unstored(place: StagePaths, subject: Subject, scorer: Scorer) -> str:
    """Say why a protocol cannot score what a stage instance has stored; empty where it can.

    Args:
        place: folders of the stage instance.
        subject: gives the frames.
        scorer: protocol to score by.
    """
    key = scorer.key.at(place.way)
    if not subject.showing(key.views).test:
        return f"the data have no {key.views} views"
    if listed(place.renders(key.name)):
        return ""
    return f"no renders are stored in {place.relative(place.renders(key.name))}; {_command(place, scorer)}"


def _viewed(subject: Subject, views: str) -> dict[str, Any]:
    """Set of views that is scored, with its digest; None where the data lack it. Empty for the held-out frames."""
    if views == TEST:
        return {}
    found = subject.views.get(views)
    return {"views": {"name": views, "digest": found.digest if found is not None else None}}


def _command(place: StagePaths, scorer: Scorer) -> str:
    """Command that renders a cell again for a protocol."""
    folder = place.cell
    job = Job.read(folder)
    asked = scorer.source in job.protocols or scorer.name in job.protocols
    command = remedy(run_of(folder), job.cell)
    if asked:
        return command
    protocol = shlex.quote(scorer.source)
    if command.startswith("bench "):
        return f"{command} --protocol {protocol}"
    return f"run the same `bench run` command again, with --protocol {protocol}"
