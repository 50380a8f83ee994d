"""`bench assets`: register, check and fetch files that only the user may have, such as FLAME."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from headbench.harness.assets import (
    BUILT,
    KINDS,
    AssetKind,
    Built,
    Recognised,
    Record,
    families,
    home,
    record,
    register,
    verify,
)
from headbench.harness.assets import files as registered_files
from headbench.harness.assets.kinds import ELSEWHERE
from headbench.harness.assets.unopened import unopened
from headbench.harness.cli.options import Place
from headbench.harness.console import say
from headbench.harness.errors import BenchError, DataError
from headbench.harness.files import sha256_of, writable

__all__ = ["assets"]


@click.group()
def assets() -> None:
    """Register, check and fetch head models and network weights."""


def describe(kind: AssetKind, found: Record | None) -> str:
    """Lines on one asset for `bench assets list`: state, use, origin, shapes and licence.

    Args:
        kind: the asset.
        found: its registration; None where it is not registered.
    """
    return "\n".join([f"{kind.name}  [{'registered' if found else 'missing'}]", *_details(kind, found)])


def _details(kind: AssetKind, found: Record | None) -> list[str]:
    """Lines on an asset: what it is, who uses it, its shapes, where it is from or is to be had, and its licence."""
    lines = [f"    {kind.what}", f"    used by: {kind.used_by}"]
    if found:
        lines.append(f"    from {found.source}, {found.date}, {found.size:,} bytes")
        lines.append(f"    sha256: {found.sha256}")
        shapes = [f"{name} {shape}" for name, shape in found.shapes.items()]
        more = f", and {len(shapes) - 8} more" if len(shapes) > 8 else ""
        if shapes:
            lines.append(f"    arrays: {', '.join(shapes[:8])}{more}")
        if found.note:
            lines.append(f"    note: {found.note}")
    else:
        lines.append(f"    get it: {kind.where}")
        lines.append(f"    then: {kind.command}")
    for label, digest in kind.known.items():
        lines.append(f"    known: {label} {digest}")
    lines.append(f"    licence: {found.licence if found else kind.licence}")
    return lines


def _built(each: Built) -> list[str]:
    """Lines on an asset without a file of its own: what it is, who uses it, and what it is built from."""
    there = [name for name in each.needs if record(name) is not None]
    ready = f"from {', '.join(there)}" if there else f"needs one of {', '.join(each.needs)}"
    lines = [f"    {each.what}", f"    used by: {each.used_by}", f"    built {ready}"]
    return [*lines, f"    better with {each.better_with}"]


@assets.command("list")
def list_() -> None:
    """Show every asset: state, shapes, SHA-256, and where to get it."""
    say(f"assets below {home() / 'assets'} (HEADBENCH_HOME moves it)\n")
    for kind in KINDS:
        say(describe(kind, record(kind.name)) + "\n")
    for each in BUILT:
        say("\n".join([f"{each.name}  [no file]", *_built(each)]) + "\n")


@assets.command()
def check() -> None:
    """Read every registered asset again: size, SHA-256, content, shapes. Exits with 2 if one is damaged."""
    damaged = 0
    for kind in KINDS:
        problems: list[str] = []
        try:
            found = record(kind.name)
            if found is not None:
                problems = verify(kind.name)
        except BenchError as error:
            found, problems = None, [str(error)]
        damaged += bool(problems)
        state = "DAMAGED" if problems else "ok" if found else "missing"
        say(f"{state:8} {kind.name}" + ("" if found or problems else f": {kind.command}"))
        for problem in problems:
            say(f"         {problem}")
        for line in _details(kind, found):
            say(f"     {line}")
    for each in BUILT:
        say("\n".join([f"built    {each.name}", *(f"     {line}" for line in _built(each))]))
    if damaged:
        raise click.exceptions.Exit(2)


def _files(paths: tuple[Path, ...]) -> list[Path]:
    """Files that `paths` name, with those of folders at any depth, in order."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found.extend(sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")))
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path} is neither a file nor a folder.")
    if not found:
        raise DataError(f"There are no files in {', '.join(map(str, paths))}.")
    return found


@dataclass(frozen=True)
class _Find:
    """File that was recognised as an asset, with the text of its origin."""

    file: Path
    source: str
    seen: Recognised


def _recognise(files: list[Path], sources: dict[Path, str], kinds: tuple[AssetKind, ...]) -> dict[str, _Find]:
    """Recognise files as assets: asset name -> file. Other files are named on the terminal and left out.

    Args:
        files: files to look at.
        sources: text of the origin of merged files; others have their own path.
        kinds: assets that are looked for.

    Raises:
        DataError: two different files are the same asset.
    """
    found: dict[str, _Find] = {}
    for file in files:
        source = sources.get(file, str(file.resolve()))
        seen = _seen(file, kinds)
        if isinstance(seen, _Left):
            _leave_out(source, seen.why, seen.help)
        elif seen.found.name and seen.found.name != seen.kind.name:
            other = f"bench assets add {seen.found.name.partition('/')[0]} {file}"
            _leave_out(source, f"it is {seen.found.name}, not {seen.kind.name}", other)
        elif seen.kind.name not in found:
            found[seen.kind.name] = _Find(file, source, seen.found)
        elif sha256_of(found[seen.kind.name].file) != sha256_of(file):
            raise DataError(f"{source} and {found[seen.kind.name].source} both are {seen.kind.name}; name one of them.")
    return found


@dataclass(frozen=True)
class _Left:
    """File that is none of the assets looked for, with the reason and a remedy."""

    why: str
    help: str = ""


@dataclass(frozen=True)
class _Seen:
    """Asset that a file is, with what was recognised in it."""

    kind: AssetKind
    found: Recognised


def _seen(file: Path, kinds: tuple[AssetKind, ...]) -> _Seen | _Left:
    """Asset that a file is; for any other file, why it is not the asset that it comes nearest to."""
    closed = unopened(file)
    if closed is not None:
        return _Left(closed.reason, closed.help)
    refusals = {}
    for kind in kinds:
        seen = kind.recognise(file)
        if isinstance(seen, Recognised):
            return _Seen(kind, seen)
        refusals[kind.name] = seen
    nearest = max(refusals, key=lambda name: refusals[name].near)
    refusal = refusals[nearest]
    if refusal.near == ELSEWHERE:
        return _Left(f"its content is none of {', '.join(refusals)}")
    return _Left(f"it comes nearest to {nearest}, but: {refusal.reason}", refusal.help)


def _leave_out(source: str, why: str, help: str = "") -> None:
    say(f"left out {source}: {why}" + (f" (help: {help})" if help else ""))


def _that_fit(found: dict[str, _Find], kinds: tuple[AssetKind, ...]) -> dict[str, _Find]:
    """Found assets that fit the others found and registered; the rest is named on the terminal and left out."""
    others = registered_files() | {name: each.file for name, each in found.items()}
    fitting = {}
    for kind in kinds:
        if kind.name not in found:
            continue
        each = found[kind.name]
        fault = kind.mismatch(each.file, others)
        if fault:
            _leave_out(each.source, f"it comes nearest to {kind.name}, but: {fault}")
        else:
            fitting[kind.name] = each
    return fitting


def _merged(candidates: list[Path], kinds: tuple[AssetKind, ...], scratch: Path) -> tuple[list[Path], dict[Path, str]]:
    """Merge files that are parts of one asset.

    Args:
        candidates: files to look at.
        kinds: assets that are looked for.
        scratch: folder for merged files.

    Returns:
        the files with merged ones in place of their parts, and merged file -> text of its origin.
    """
    sources: dict[Path, str] = {}
    for kind in kinds:
        parts = {p: p.name.lower() for p in candidates if p.name.lower() in kind.parts}
        if not kind.parts or sorted(parts.values()) != sorted(kind.parts):
            continue
        both = " and ".join(str(p.resolve()) for p in sorted(parts))
        try:
            merged = kind.merge(sorted(parts), scratch / f"{kind.name.replace('/', '-')}.npz")
        except DataError as error:
            _leave_out(both, f"they are not {kind.name}: {error.args[0]}", error.help)
            continue
        finally:
            candidates = [p for p in candidates if p not in parts]
        candidates.append(merged)
        sources[merged] = both
    return candidates, sources


@assets.command()
@click.argument("tag")
@click.argument("files", nargs=-1, required=True, type=Place())
def add(tag: str, files: tuple[Path, ...]) -> None:
    """Register FILES, or all in folders, for TAG (flame2020, flame2023, flame2023_open, lpips).

    Each file is recognised by its content; files that are something else are left out, with what keeps them from being
    what they come nearest to. Nothing is registered before all files are read.
    """
    kinds = families(tag)
    writable(home(), folder=True)
    candidates = _files(files)
    with tempfile.TemporaryDirectory() as scratch:
        candidates, sources = _merged(candidates, kinds, Path(scratch))
        found = _that_fit(_recognise(candidates, sources, kinds), kinds)
        if not found:
            raise DataError(f"None of the files was recognised for {tag}.", help="bench assets list")
        for name, each in found.items():
            register(name, each.file, each.source, shapes=each.seen.shapes, note=each.seen.note)
            say(f"registered {name}: {each.source}" + (f" ({each.seen.note})" if each.seen.note else ""))


@assets.command()
@click.argument("what", type=click.Choice(["lpips"]))
@click.option("--yes", is_flag=True, help="Agree to the download and its licence.")
@click.option(
    "--from-torchvision",
    "backbones",
    multiple=True,
    type=Place(exists=True, dir_okay=False),
    help="Your own alexnet-owt-*.pth or vgg16-*.pth instead of a download.",
)
@click.option(
    "--heads",
    multiple=True,
    type=Place(exists=True, dir_okay=False),
    help="weights/v0.1/alex.pth or vgg.pth of the package lpips, where that is not installed.",
)
def fetch(what: str, yes: bool, backbones: tuple[Path, ...], heads: tuple[Path, ...]) -> None:
    """Get network weights: LPIPS with AlexNet and VGG16."""
    from headbench.harness.assets import lpips

    writable(home(), folder=True)
    if backbones:
        for path in lpips.from_torchvision(backbones, heads):
            say(f"registered {path}")
        return
    if heads:
        raise click.UsageError("--heads goes with --from-torchvision.")
    if not yes:
        raise BenchError(f"{lpips.CONSENT}\nNothing was done.", help=f"bench assets fetch {what} --yes")
    lpips.fetch(report=say)
