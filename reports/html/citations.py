"""BibTeX of what a run used: the methods, the datasets, and this program."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

from headbench.harness.errors import PluginError
from headbench.harness.plugins import registry
from headbench.harness.reading import Unreadable, read_text
from headbench.results import Run

__all__ = ["bibtex_of"]

_BLOCK = re.compile(r"^```bibtex\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^@\w+\{.*?^\}", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^\s*title\s*=\s*[{\"](.*)[}\"],?\s*$", re.MULTILINE)


def bibtex_of(run: Run) -> str:
    """Entries for the methods and datasets of a run and for headbench, each once.

    An entry is taken from the README beside the plugin's code whose title its citation names; where there is none, the
    citation becomes the note of an entry of type misc.
    """
    entries = [_program()]
    for name in dict.fromkeys(result.cell.method for result in run.results):
        entries += _of_plugin(name, "method")
    for name in dict.fromkeys(result.cell.dataset for result in run.results):
        entries += _of_plugin(name, "dataset")
    return "\n\n".join(dict.fromkeys(entries)) + "\n"


def _of_plugin(name: str, kind: str) -> list[str]:
    try:
        spec = registry().method(name) if kind == "method" else registry().dataset(name)
    except PluginError:
        return []
    if not spec.citation:
        return []
    citation = _plain(spec.citation)
    found = [entry for entry in _beside(spec.target) if any(title and title in citation for title in _titles(entry))]
    return found[:1] or [_misc(spec.name, spec.citation)]


def _beside(target: str) -> Iterable[str]:
    """BibTeX entries of the README in the package of ``package.module:Class``, which is not imported."""
    for block in _BLOCK.findall(_readme(target)):
        yield from _ENTRY.findall(block)


def _readme(target: str) -> str:
    """Text of the README beside the code; empty where there is none."""
    first, *rest = target.partition(":")[0].split(".")
    # Only the first package is asked for: to find an inner one, Python imports those around it, and with them torch.
    spec = importlib.util.find_spec(first)
    for place in spec.submodule_search_locations or () if spec else ():
        folder = Path(place).joinpath(*rest)
        with contextlib.suppress(Unreadable):
            return read_text((folder if folder.is_dir() else folder.parent) / "README.md")
    return ""


def _titles(entry: str) -> list[str]:
    return [_plain(title) for title in _TITLE.findall(entry)]


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.replace("{", "").replace("}", "").lower()).strip()


def _misc(name: str, citation: str) -> str:
    key = re.sub(r"[^A-Za-z0-9]", "", name) or "used"
    note = re.sub(r"[{}\\]", "", citation)
    return f"@misc{{{key},\n  title = {{{{{name}}}}},\n  note = {{{note}}}\n}}"


def _program() -> str:
    title = "headbench: a benchmark harness for {G}aussian head avatars from monocular video"
    lines = [f"  title = {{{title}}}", "  author = {{The headbench authors}}"]
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        lines.append(f"  version = {{{importlib.metadata.version('headbench')}}}")
    return "@software{headbench,\n" + ",\n".join(lines) + "\n}"
