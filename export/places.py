"""Places of exported files: checked before any work, and written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from headbench.export.formats import Format
from headbench.export.poses import Pose, Poses
from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_folder, atomic_path, writable, write_json

__all__ = ["check_place", "each_pose", "refuse_full"]

LISTING = "poses.json"
"""Name of the file beside numbered files that says which pose each of them is."""


def check_place(form: Format, poses: Poses, out: Path) -> None:
    """Refuse a place that the format's files cannot have, before any work.

    Raises:
        BenchError: the ending is another one, a folder there holds something, or nothing can be written there.
    """
    if not form.suffixes or (poses.is_sequence and form.numbered):
        writable(out, folder=True)
        refuse_full(out)
        return
    expected = " or ".join(form.suffixes)
    if out.is_dir():
        help = f"--out {out / f'head{form.suffixes[0]}'}"
        raise BenchError(f"{out}: expected the name of a file that ends in {expected}, found a folder.", help)
    if out.suffix.lower() not in form.suffixes:
        found = out.suffix or "no ending"
        raise BenchError(
            f"{out}: expected a name that ends in {expected}, found {found}.",
            help=f"--out {out.with_suffix(form.suffixes[0])}",
        )
    writable(out)


def refuse_full(folder: Path) -> None:
    """Refuse a folder that holds something: files of two exports must not mix.

    Raises:
        BenchError: it is not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise BenchError(
            f"{folder}: expected an empty folder or none, found one that holds files.",
            help="name another place, or remove it",
        )


def each_pose(
    poses: Poses,
    out: Path,
    suffix: str,
    write: Callable[[Pose, Path], object],
    beside: Mapping[str, bytes] | None = None,
) -> list[str]:
    """Write one file per pose: `out` itself, or numbered files in the folder `out` for a sequence.

    Args:
        poses: to write.
        out: file, or for a sequence the folder, which appears when all its files are written.
        suffix: ending of numbered files.
        write: writes one pose to a path, whose ending need not be the format's; it may return sentences on what was
            left out.
        beside: name -> content of further files, in the folder of `out` or of the sequence.

    Returns:
        those sentences, each once.
    """
    notes: dict[str, None] = {}

    def one(pose: Pose, path: Path) -> None:
        said = write(pose, path)
        notes.update(dict.fromkeys(said if isinstance(said, list) else []))

    if not poses.is_sequence:
        # The file itself comes last: where it is, they are.
        for name, content in (beside or {}).items():
            with atomic_path(out.with_name(name)) as temporary:
                temporary.write_bytes(content)
        with atomic_path(out) as temporary:
            one(poses.members[0], temporary)
        return list(notes)
    with atomic_folder(out) as temporary:
        names = {}
        for number, pose in enumerate(poses.members):
            name = f"{number:05d}{suffix}"
            one(pose, temporary / name)
            names[name] = pose.name
        for name, content in (beside or {}).items():
            (temporary / name).write_bytes(content)
        write_json(temporary / LISTING, names)
    return list(notes)
