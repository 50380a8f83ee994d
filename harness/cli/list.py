"""`bench list`: show the methods, datasets, metrics and the like that there are to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import rich_click as click

from headbench.harness.console import console, literal, say, size

if TYPE_CHECKING:
    from headbench.harness.plugins.specs import DatasetSpec, MethodSpec

__all__ = ["by_status", "list_"]


@click.group(name="list")
def list_() -> None:
    """Show what there is to choose from."""


@list_.command()
def methods() -> None:
    """Show methods: presets (the default one first), publication, licence, and on which datasets each was tried."""
    from headbench.harness.plugins import registry

    known = registry().datasets().values()
    for spec in registry().methods().values():
        presets = sorted(spec.presets, key=lambda name: (name != spec.default_preset, name))
        say(f"{spec.name} ({'baseline' if spec.baseline else 'method'}): {spec.summary or 'no summary'}")
        say(f"    presets: {', '.join(presets)}")
        say(f"    citation: {spec.citation or 'none given'}")
        if spec.importers:
            say("    published checkpoints: bench import FILE")
        say(f"    licence of the original: {spec.licence or 'none given'}")
        for state, names in by_status(spec, known).items():
            say(f"    {state}: {', '.join(names)}")
        say("")
    _problems()


def by_status(method: MethodSpec, known: Iterable[DatasetSpec]) -> dict[str, list[str]]:
    """Group datasets by how far a method was tried on them: state in words -> names, in the order of registration.

    Args:
        method: the method.
        known: datasets to group.
    """
    from headbench.harness.assets import NETWORKS

    found: dict[str, list[str]] = {}
    for dataset in known:
        lacking = sorted(method.needs - dataset.provides - set(NETWORKS))
        if lacking:
            state = f"cannot run, no {', '.join(lacking)} masks"
        elif dataset.name in method.checked:
            state = f"ran on {method.checked[dataset.name]}"
        else:
            state = "not tried"
        found.setdefault(state, []).append(dataset.name)
    return found


@list_.command()
def datasets() -> None:
    """Show dataset layouts and the masks they may have."""
    from headbench.harness.plugins import registry

    specs = registry().datasets().values()
    rows = [(s.name, ", ".join(s.layouts), ", ".join(sorted(s.provides)), s.homepage, s.summary) for s in specs]
    _table(("name", "layouts", "masks", "from", "summary"), rows)
    _problems()


@list_.command()
def metrics() -> None:
    """Show metrics that a protocol may ask for, what they need, and whether that is there."""
    from headbench.harness.plugins import registry
    from headbench.metrics import column_of
    from headbench.metrics.keys import split_key
    from headbench.metrics.needs import needs_of, states

    known, rows = registry(), []
    for spec in known.metrics().values():
        for key in spec.asked_as():
            variant = split_key(key)[1]
            column, needs = column_of(spec, variant), "; ".join(states(needs_of(spec, variant)))
            what = column.meaning if variant else spec.summary or column.meaning
            origin = known.origin(spec)
            better = column.better or "neither"
            rows.append((key, column.unit or "–", better, spec.scope, needs or "nothing", origin, what))
    _table(("name", "unit", "better", "scope", "needs", "from", "summary"), rows)
    _problems()


@list_.command()
def executors() -> None:
    """Show what can run cells, and what each still needs on this machine."""
    from headbench.harness.plugins import registry

    known = registry()
    rows = []
    for spec in known.executors().values():
        states = [f"{name}: {'not found on PATH' if name in spec.lacks() else 'there'}" for name in sorted(spec.needs)]
        rows.append((spec.name, "; ".join(states) or "nothing", known.origin(spec), spec.summary))
    _table(("name", "needs", "from", "summary"), rows)
    _problems()


@list_.command()
def stages() -> None:
    """Show stages of `bench run`: after which others they may stand, presets, and what they need."""
    from headbench.harness.plugins import registry

    known, rows = registry(), []
    for spec in known.stages().values():
        parents = ", ".join(spec.parents) or "nothing"
        presets = ", ".join(sorted(spec.presets, key=lambda name: (name != spec.default_preset, name))) or "–"
        presets = f"your own, of {spec.labels}" if spec.labels else presets
        needs = "; ".join(_stage_need(name) for name in sorted(spec.needs)) or "nothing"
        rows.append((spec.name, parents, presets, needs, known.origin(spec), spec.summary))
    _table(("name", "made from", "presets", "needs", "from", "summary"), rows)
    for spec in known.stages().values():
        for datasets, methods in _alike(spec.checked).items():
            say(f"{spec.name} ran on synthetic data of {', '.join(datasets)}: {', '.join(methods)}")
    _problems()


def _alike(checked: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, ...], list[str]]:
    """Methods by the datasets that they were tried on."""
    found: dict[tuple[str, ...], list[str]] = {}
    for method, datasets in checked.items():
        found.setdefault(tuple(datasets), []).append(method)
    return found


@list_.command("view-priors")
def view_priors() -> None:
    """Show what can give stage `complete` views of the unseen head, and what each reads of yours."""
    from headbench.harness.plugins import registry

    known = registry()
    rows = [
        (spec.name, spec.source or "nothing", spec.licence or "–", known.origin(spec), spec.summary)
        for spec in known.view_priors().values()
    ]
    _table(("name", "reads", "licence", "from", "summary"), rows)
    _problems()


def _stage_need(name: str) -> str:
    """Words on a need of a stage: a network with its state, or what the parent's class must have."""
    from headbench.harness.assets import NETWORKS, kind, record

    if name not in NETWORKS:
        return f"a parent with {name}"
    there = record(NETWORKS[name]) is not None
    return name if there else f"{name}: missing, {kind(NETWORKS[name]).command}"


@list_.command()
def formats() -> None:
    """Show formats of `bench export`: what they hold, need and open in, and how they hold a sequence of poses."""
    from headbench.export import FORMATS

    rows = [
        (
            each.name,
            ", ".join(each.suffixes) or "a folder",
            each.needs or "nothing",
            each.sequence,
            each.opens,
            each.holds,
        )
        for each in FORMATS.values()
    ]
    _table(("name", "files", "needs", "a sequence is", "opens in", "holds"), rows)


@list_.command()
def protocols() -> None:
    """Show evaluation protocols."""
    from headbench.harness.reading import parse_yaml, read_text
    from headbench.metrics import protocol_names
    from headbench.metrics.protocol import protocol_path

    rows = []
    for name in protocol_names():
        path = protocol_path(name)
        values = parse_yaml(read_text(path), path)
        summary = values.get("summary", "") if isinstance(values, dict) else ""
        rows.append((name, " ".join(str(summary).split())))
    _table(("name", "summary"), rows)
    _problems()


@list_.command("table-formats")
def table_formats() -> None:
    """Show formats in which tables are written."""
    from headbench.harness.plugins import registry
    from headbench.harness.plugins.table_format_checks import BUILT_IN_FORMATS

    known = registry()
    rows = [(name, "built in", "") for name in BUILT_IN_FORMATS]
    rows += [(spec.name, known.owner(spec), spec.summary) for spec in known.table_formats().values()]
    _table(("name", "plugin", "summary"), rows)
    _problems()


@list_.command()
def assets() -> None:
    """Show files that only you may have, and which of them are registered."""
    from headbench.harness.assets import KINDS, records

    there = records()
    rows = []
    for kind in KINDS:
        record = there.get(kind.name)
        state = f"registered, {size(record.size)}" if record else f"missing: {kind.command}"
        rows.append((kind.name, state, kind.what))
    _table(("name", "state", "what"), rows)


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(literal(cell) for cell in row))
    console().print(table)


def _problems() -> None:
    from headbench.harness.plugins import registry

    count = len(registry().problems())
    if count:
        say(f"{count} plugin problem{'s' * (count > 1)}: bench plugins", err=True)
