"""Examination of one subject from end to end: the reader's own checks, then the head mesh against the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.harness.errors import DataError, MissingAsset
from headbench.harness.plugins import DatasetReader, Problem
from headbench.harness.types import Subject
from headbench.inspection.causes import check_sequences, diagnose
from headbench.inspection.timing import check_timing
from headbench.inspection.views import View, take_views

__all__ = ["Examination", "examine"]


@dataclass(frozen=True)
class Examination:
    """Result of examining one subject: its problems, and views of the mesh on its images."""

    name: str
    folder: Path
    problems: tuple[Problem, ...]
    subject: Subject | None
    """The subject; None where it cannot be read."""
    views: tuple[View, ...] = ()
    """First, middle and last frame with the mesh on them; none where the head model is not registered."""


def examine(
    reader: DatasetReader,
    name: str,
    folder: Path,
    options: Mapping[str, object],
    on_progress: Callable[[str], None] = lambda _: None,
) -> Examination:
    """Find all problems of a subject, those of its reader's own checks first.

    Args:
        reader: the dataset's.
        name: the subject's.
        folder: the subject's.
        options: the reader's, as a user gave them.
        on_progress: called with what is being done, for a line of progress.
    """
    on_progress("files")
    findings = Findings()
    findings.problems += reader.check(folder, options)
    if findings.errors():
        return Examination(name, folder, tuple(findings.problems), None)
    try:
        subject = reader.read(folder, options)
    except DataError as error:
        findings.error(folder, f"passes its checks and cannot be read: {error.args[0]}", help=error.help)
        return Examination(name, folder, tuple(findings.problems), None)
    on_progress("head mesh")
    own = Findings()
    views = _project(subject, folder, own)
    return Examination(name, folder, (*findings.problems, *own.ordered()), subject, views)


def _project(subject: Subject, folder: Path, findings: Findings) -> tuple[View, ...]:
    """Compare the mesh with the images and report what is wrong; returns the views."""
    mesh = ProjectedMesh.of(subject)
    try:
        views = take_views(subject, mesh, folder, findings)
        # Motion tells a shift more exactly than overlap, as long as the mesh is on the head at all.
        beside = any(not view.fits for view in views)
        if views and (beside or not check_timing(subject, mesh, folder, findings)):
            diagnose(subject, mesh, views, folder, findings)
        if views and not findings.errors():
            check_sequences(subject, mesh, views, folder, findings)
    except MissingAsset as error:
        findings.remark(folder, f"overlap of mesh and images not checked: {error.args[0]}", help=error.help)
        return ()
    except DataError as error:  # frames between the three that were looked at
        findings.error(folder, f"the head cannot be posed: {error.args[0]}", help=error.help)
    return views
