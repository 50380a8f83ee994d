"""`bench verify`: check that a run is still as it was written, and that its scores are those of its pictures."""

from __future__ import annotations

import dataclasses
import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from headbench.harness.cli.options import Place
from headbench.harness.console import say
from headbench.harness.errors import BenchError, of_system
from headbench.harness.names import one_line

if TYPE_CHECKING:
    from headbench.harness.layout import StagePaths
    from headbench.harness.run import CellRecord
    from headbench.harness.run.tasks import Scorer
    from headbench.harness.run.verify import Verified
    from headbench.harness.types import Frame, Subject

__all__ = ["verify"]

TOLERANCE = 1e-4
"""Tolerance of scores, relative above 1, else absolute: devices add in different orders."""


@click.command()
@click.argument("run", type=Place())
@click.option(
    "--sample",
    default=3,
    show_default=True,
    type=click.IntRange(min=0),
    help="Frames per cell and protocol whose scores are computed again from the pictures; this reads the dataset.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:K.")
def verify(run: Path, sample: int, device: str) -> None:
    """Hash every file of RUN that was hashed when it was written, and compute a sample of scores again.

    Nothing is changed; `bench run` does again what differs.

    Exit codes: 0 all is as it was written, 1 usage, 2 something differs.
    """
    from headbench.harness.run import read_cells
    from headbench.harness.run.verify import verify_cell

    subjects: dict[str, Subject] = {}
    files = frames = differences = 0
    helps: dict[str, None] = {}
    records = read_cells(run)
    for record in records:
        found = verify_cell(run, record)
        if sample:
            frames += _score_again(run, record, sample, device, found, subjects)
        for what, help in found.differences.items():
            say(f"{record.cell.path}: {one_line(what)}")
            helps.setdefault(help)
        for what in found.unverified:
            say(f"{record.cell.path}: not verified: {one_line(what)}")
        files += found.files
        differences += len(found.differences)
    result = f"{differences} difference{'s' * (differences > 1)}" if differences else "all is as it was written"
    say(f"{run}: {len(records)} cells, {files} files hashed, {frames} frames scored again: {result}")
    if differences:
        for help in helps:
            say(f"  help: {help}")
        raise Exit(2)


def _score_again(
    run: Path, record: CellRecord, count: int, device: str, found: Verified, subjects: dict[str, Subject]
) -> int:
    """Compute scores of some frames of a cell again by each of its protocols; return the number of frames.

    Args:
        run: folder of the run.
        record: record of the cell.
        count: maximum number of frames per protocol.
        device: where to score, such as cpu or cuda.
        found: gets what differs and what cannot be verified.
        subjects: subjects that were read before, by what identifies them; gets further ones.
    """
    from headbench.harness.layout import CellFolder
    from headbench.harness.run import Job, State, cell_folder

    folder = cell_folder(run, record.cell)
    if record.state is not State.DONE or not record.protocols:
        return 0
    try:
        job = Job.read(folder)
        subject = _subject(job, subjects)
    except Exception as error:  # a reader is a plugin's code and may raise anything
        error = of_system(error, "a file") if isinstance(error, OSError) and error.errno is not None else error
        words = error.args[0] if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
        found.unverified.append(f"scores against pictures, since the dataset cannot be read: {words}")
        return 0
    done = 0
    ways = [way for way, each in record.instances().items() if each.state is State.DONE]
    for label, way in itertools.product(record.protocols, ways):
        try:
            place = CellFolder(folder).stage(way)
            done += _compare(place, subject, _scorer(label, job.protocols), count, device, found)
        except BenchError as error:
            found.unverified.append(f"scores by {label} against pictures: {error.args[0]}")
    return done


def _subject(job: Any, subjects: dict[str, Subject]) -> Subject:
    """Read the subject of a job, which cells of one subject share through `subjects`."""
    from headbench.harness.plugins import registry
    from headbench.harness.run.subject import read_subject

    key = json.dumps([job.data, dict(job.data_options), job.limit, job.cell.dataset, dict(job.fingerprint)])
    if key not in subjects:
        subjects[key] = read_subject(job, registry())
    return subjects[key]


def _scorer(label: str, asked: Sequence[str]) -> Scorer:
    """Scorer of the protocol `label` (name@version), also of one that is among the files in `asked`."""
    from headbench.harness.cli.scoring import scorers

    files = [name for name in asked if name.endswith(".yaml") and Path(name).is_file()]
    for scorer in scorers(files):
        if scorer.name == label:
            return scorer
    return scorers([label])[0]


def _compare(place: StagePaths, given: Subject, scorer: Scorer, count: int, device: str, found: Verified) -> int:
    """Score some frames whose pictures are whole, and compare with the stored scores; return the number of frames.

    Args:
        place: folders of the stage instance.
        given: gives the frames with their images.
        scorer: protocol to score by.
        count: maximum number of frames.
        device: where to score, such as cpu or cuda.
        found: gets what differs and what cannot be verified.
    """
    from headbench.harness.run.cell import run_of
    from headbench.harness.run.listing import damaged, listed
    from headbench.harness.run.whole import read_marker
    from headbench.metrics import load_protocol, read_scores
    from headbench.metrics.choose import find

    renders, subject = place.renders(scorer.key.at(place.way).name), given.showing(scorer.key.views)
    marker, broken = read_marker(place, scorer.name), {*damaged(renders)}
    if marker is None or marker.hash != scorer.hash:
        found.unverified.append(f"scores by {scorer.name} against pictures, since the protocol has another hash now")
        return 0
    scored = marker.inputs.get("views")
    now = viewed.digest if (viewed := given.views.get(scorer.key.views)) is not None else None
    if isinstance(scored, Mapping) and scored.get("digest") != now:
        changed = f"the {scorer.key.views} views of the data are others now"
        found.unverified.append(f"scores by {scorer.name} against pictures, since {changed}")
        return 0
    there = listed(renders).keys() - broken
    whole = [frame for frame in subject.test if there >= {*scorer.key.files(frame.id)}]
    picked = _spread(whole, count)
    if not picked:
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "scores.jsonl"
        scorer(dataclasses.replace(subject, test=tuple(picked)), renders, target, device, lambda now: None)
        again = {frame.id: frame.values for frame in read_scores(target).frames}
    stored = {frame.id: frame.values for frame in read_scores(place.scores(scorer.name)).frames}
    # Other metrics need the frames around a frame, which the sample leaves out.
    alone = {key for key, spec in find(load_protocol(scorer.source)) if spec.scope == "frame"}
    for name, values in again.items():
        for what in _unlike(stored.get(name, {}), {key: value for key, value in values.items() if key in alone}):
            help = f"bench score {run_of(place.cell)} --protocol {scorer.source} --force"
            found.differs(f"frame {name}: {place.relative(place.scores(scorer.name))}: {what}", help)
    return len(again)


def _spread(frames: Sequence[Frame], count: int) -> list[Frame]:
    """Up to `count` of the frames, evenly spaced."""
    if len(frames) <= count:
        return list(frames)
    return [frames[k * len(frames) // count] for k in range(count)]


def _unlike(stored: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    """Sentences on metrics of a frame whose two values differ by more than rounding; only metrics of both count."""
    return [
        f"{key} is {stored[key]}, its picture gives {value:.6g}"
        for key, value in now.items()
        if key in stored and stored[key] != value and not abs(stored[key] - value) <= TOLERANCE * max(1.0, abs(value))
    ]
