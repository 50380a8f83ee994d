"""Reads a cell's score files: only those that are unchanged since they were written and named after their protocol."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from headbench.harness.errors import BenchError
from headbench.harness.files import read_json
from headbench.harness.layout import StagePaths
from headbench.harness.names import is_label, one_line
from headbench.harness.reading import Unreadable, read_bytes
from headbench.metrics import Scores, protocol_names, read_scores

__all__ = ["read_instance_scores", "rerun", "rescore"]


def read_instance_scores(place: StagePaths, run: Path) -> tuple[dict[str, Scores], dict[str, str]]:
    """Read the scores of a cell's stage instance, by protocol, with reasons for files that are not used.

    A file is used where it has the SHA-256 that its marker (``scores/<protocol>.json``) was written with, holds what
    a file of scores holds, and is called as its protocol.

    Args:
        place: paths of the stage instance's files.
        run: the run's folder, for remedies in messages.

    Returns:
        protocol (name@version) -> scores; and protocol, or name of a file that is named otherwise, -> a sentence that
        says what is wrong and what to do.
    """
    scores: dict[str, Scores] = {}
    faults: dict[str, str] = {}
    for path in place.score_files():
        label = path.name.removesuffix(".jsonl")
        if not is_label(label):
            faults[one_line(path.name)] = "no file of scores is called so (name@version.jsonl); remove it"
            continue
        content, altered = _content(path, place.relative(path))
        if altered:
            faults[label] = f"{altered}; {rescore(run, label)}"
            continue
        try:
            found = read_scores(path, content)
        except BenchError as error:
            said = str(error.args[0]).removeprefix(f"{path} ").rstrip(".")
            faults[label] = f"{place.relative(path)} {said}; {rescore(run, label, force=True)}"
            continue
        if found.protocol != label:
            faults[label] = (
                f"{place.relative(path)} holds scores by {found.protocol}; {rescore(run, label, force=True)}"
            )
            continue
        scores[label] = found
    return scores, faults


def rescore(run: Path, protocol: str, force: bool = False) -> str:
    """Command line that scores a run by a protocol.

    Args:
        run: the run's folder.
        protocol: name@version, or the name alone of a built-in one.
        force: add ``--force``, which scores also where a marker says that nothing is to be done.
    """
    known = [name for name in protocol_names() if protocol in (name, name.partition("@")[0])]
    name = known[-1] if known else f"FOLDER/{protocol}.yaml"
    return f"bench score {shlex.quote(str(run))} --protocol {shlex.quote(name)}{' --force' if force else ''}"


def rerun(run: Path) -> str:
    """Command line that does again what is missing or damaged in a run."""
    return shlex.join(["bench", "run", str(run / "run.yaml")])


def _content(path: Path, shown: str) -> tuple[bytes, str]:
    """Bytes of a score file, and why they are not what its score stage wrote; empty where they are.

    The bytes that were hashed are those that are parsed: a file that changes meanwhile is not half-believed.
    """
    marker = path.with_suffix(".json")
    try:
        content = read_bytes(path)
    except Unreadable as error:
        return b"", f"{shown}: {error.found}"
    try:
        written = read_json(marker).get("scores")
    except Unreadable as error:
        what = "is not there" if error.missing else f"cannot be read: {error.found}"
        return content, f"{shown} cannot be checked, as its marker {marker.name} {what}"
    same = written == hashlib.sha256(content).hexdigest()
    return content, "" if same else f"{shown} was changed after it was written"
