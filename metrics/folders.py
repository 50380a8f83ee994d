"""Two folders of pictures as renders and ground truth: which names there are, and which belong together.

Names are joined without their endings. Where all names of one folder stand in the other too, equal names belong
together; otherwise equal frame numbers do. A name's frame number is its one run of digits, or, where it has several,
the one that differs within the folder. Whatever could mean two things is refused. Needs no torch.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from headbench.harness.errors import BenchError, of_system
from headbench.harness.names import one_line, quoted
from headbench.harness.reading import kind_at
from headbench.harness.tensors import FLOATS

__all__ = ["SUFFIXES", "Joined", "Listed", "frame_numbers", "join_names", "list_pictures", "some"]

SUFFIXES = (".png", ".jpg", ".jpeg")
"""Suffixes of pictures, in small letters."""
_DIGITS = re.compile(r"[0-9]+")
_SHOWN = 5
"""Number of names that a message lists at most."""


@dataclass(frozen=True)
class Listed:
    """Pictures of one folder."""

    place: Path
    files: Mapping[str, Path]
    """Name without ending -> picture, sorted by name as people count: 2 before 10."""
    ignored: tuple[str, ...] = ()
    """Names of further entries that are no pictures; hidden ones are left out."""
    floats: Mapping[str, Path] = field(default_factory=dict)
    """Name without ending -> float render, of those that have one."""

    @property
    def names(self) -> list[str]:
        """Names of the pictures, or of the float renders where there is nothing else."""
        return list(self.files or self.floats)


@dataclass(frozen=True)
class Joined:
    """Names of renders and ground truth that belong together, and those that are alone."""

    pairs: Mapping[str, str]
    """Name in the ground truth -> name among the renders, in the order of the ground truth."""
    by: str
    """What joined them: name or number."""
    renders_alone: tuple[str, ...]
    """Names of renders without ground truth."""
    truth_alone: tuple[str, ...]
    """Names of the ground truth without a render."""

    def sentences(self) -> list[str]:
        """One sentence for each side that has names without a partner; none where all are joined."""
        found = []
        for what, other, names in (
            ("renders", "ground truth", self.renders_alone),
            ("pictures of the ground truth", "render", self.truth_alone),
        ):
            if names:
                found.append(f"{len(names)} {what} without {other}, not scored: {some(names)}")
        return found


def some(names: Sequence[str]) -> str:
    """First few of many names, on one line."""
    shown = ", ".join(map(one_line, names[:_SHOWN]))
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def list_pictures(folder: Path, floats: bool = False) -> Listed:
    """List the pictures in a folder, not in folders below it.

    Args:
        folder: the folder.
        floats: list float renders, too, which may lie beside pictures of the same names or alone.

    Raises:
        BenchError: it is no folder, cannot be listed, holds no picture, or two that differ only in their ending.
    """
    if kind_at(folder) != "a folder":
        raise BenchError(f"{folder}: expected a folder of pictures, found {kind_at(folder) or 'nothing'}.")
    try:
        entries = sorted(folder.iterdir(), key=lambda path: _counted(path.name))
    except OSError as error:
        raise of_system(error, str(folder)) from error
    files: dict[str, Path] = {}
    of_floats: dict[str, Path] = {}
    ignored = []
    for path in entries:
        if path.name.startswith("."):
            continue
        if floats and path.suffix.lower() == FLOATS:
            of_floats[path.stem] = path
            continue
        if path.suffix.lower() not in SUFFIXES:
            ignored.append(path.name)
            continue
        if path.stem in files:
            raise BenchError(
                f"{folder}: {one_line(files[path.stem].name)} and {one_line(path.name)} have one name, so that nobody "
                f"knows which is meant.",
                help="keep one of them",
            )
        files[path.stem] = path
    if not files and not of_floats:
        there = f"found only {some(ignored)}" if ignored else "found nothing"
        raise BenchError(f"{folder}: expected pictures ({', '.join(SUFFIXES)}), {there}.")
    return Listed(folder, files, tuple(ignored), of_floats)


def _counted(name: str) -> tuple[object, ...]:
    """Key that sorts names as people count; texts and numbers alternate in it, so that like is compared with like."""
    texts, numbers = _DIGITS.split(name), [int(run) for run in _DIGITS.findall(name)]
    return (*itertools.chain.from_iterable(itertools.zip_longest(texts, numbers, fillvalue=0)), name)


def join_names(renders: Collection[str], truth: Collection[str], where: tuple[str, str]) -> Joined:
    """Join names of renders with those of the ground truth, by name or by frame number.

    Args:
        renders: names without endings.
        truth: names without endings, or frame ids, in order.
        where: what messages call the two: their folders.

    Raises:
        BenchError: a name has no frame number or an ambiguous one, or nothing belongs together.

    Example:
        >>> joined = join_names(["render_0002", "render_0003"], ["1", "2", "3"], ("renders", "truth"))
        >>> joined.by, dict(joined.pairs), joined.truth_alone
        ('number', {'2': 'render_0002', '3': 'render_0003'}, ('1',))
    """
    given, wanted = set(renders), set(truth)
    if given <= wanted or wanted <= given:
        by, partner = "name", {name: name for name in renders}
    else:
        numbered = {number: name for name, number in frame_numbers(renders, where[0]).items()}
        numbers = frame_numbers(truth, where[1])
        by, partner = "number", {name: numbered[each] for name, each in numbers.items() if each in numbered}
    pairs = {name: partner[name] for name in truth if name in partner}
    if not pairs:
        raise BenchError(
            f"{where[0]} and {where[1]} have no frame number in common: {some(sorted(given))} against "
            f"{some(sorted(wanted))}.",
            help="number both from the same frame on",
        )
    used = set(pairs.values())
    alone = tuple(name for name in renders if name not in used), tuple(name for name in truth if name not in pairs)
    return Joined(pairs, by, *alone)


def frame_numbers(names: Collection[str], where: str) -> dict[str, int]:
    """Find the frame number in each name of a folder.

    Args:
        names: names without endings.
        where: what messages call them: their folder.

    Raises:
        BenchError: a name has none, names differ in more than one number or in words, or two have one number.

    Example:
        >>> frame_numbers(["cam2_007", "cam2_008"], "renders")
        {'cam2_007': 7, 'cam2_008': 8}
    """
    forms: dict[str, str] = {}
    for name in names:
        forms.setdefault(_DIGITS.sub("#", name), name)
    lacking = next((name for form, name in forms.items() if "#" not in form), None)
    if lacking is not None:
        raise BenchError(f"{where}: {quoted(lacking)} has no frame number.", help=_RENAME)
    if len(forms) > 1:
        first, second, *_ = forms.values()
        raise BenchError(
            f"{where}: expected names that differ in one number alone, found {quoted(first)} and {quoted(second)}.",
            help="keep pictures of one kind in the folder",
        )
    runs = {name: [int(run) for run in _DIGITS.findall(name)] for name in names}
    columns = list(zip(*runs.values(), strict=True))
    varying = [k for k, column in enumerate(columns) if len(set(column)) > 1]
    if len(columns) == 1:
        varying = [0]
    if len(varying) != 1:
        example = quoted(next(iter(names)))
        what = f"{len(varying)} numbers differ between names" if varying else "one name alone"
        raise BenchError(f"{where}: which number in {example} is that of the frame is ambiguous: {what}.", help=_RENAME)
    found = {name: numbers[varying[0]] for name, numbers in runs.items()}
    holders: dict[int, str] = {}
    for name, number in found.items():
        if holders.setdefault(number, name) != name:
            raise BenchError(
                f"{where}: {quoted(holders[number])} and {quoted(name)} are both frame {number}.",
                help="keep one of them",
            )
    return found


_RENAME = "rename the pictures to their frame numbers, or as in the other folder"
