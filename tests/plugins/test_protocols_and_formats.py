"""Protocols and table formats register as other kinds do; their specs, files and classes are checked."""

from __future__ import annotations

import types

import pytest
import yaml

from headbench.harness.errors import BenchError, PluginError
from headbench.harness.plugins import ProtocolSpec, Registry, Source, TableFormatSpec, hookimpl
from headbench.metrics import load_protocol, protocol_names
from headbench.reports.format import formatted

CODE = """
from headbench.reports import TableFormat

class Good(TableFormat):
    def text(self, table):
        return f"{table}"

class Idle(TableFormat):
    pass

class Fails(Good):
    def text(self, table):
        return 1 / 0

class Number(Good):
    def text(self, table):
        return 3
"""


def made(**hooks: tuple[object, ...]) -> Registry:
    module = types.ModuleType("inline")
    for name, specs in hooks.items():
        setattr(module, name, _hook(specs))
    return Registry([Source("mine", lambda: module)])


def _hook(specs: tuple[object, ...]):
    return hookimpl(lambda register: [register(spec) for spec in specs] and None)


@pytest.fixture
def code(tmp_path, plug):
    """A package own_house with protocol files of several kinds, and the module own_formats."""
    values = load_protocol("headbench@1").model_dump(mode="json")
    folder = tmp_path / "own_house"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for label in ("house@1", "house@2"):
        name, _, version = label.partition("@")
        (folder / f"{label}.yaml").write_text(yaml.safe_dump(values | {"name": name, "version": int(version)}))
    (folder / "headbench@1.yaml").write_text(yaml.safe_dump(values | {"background": "black"}))
    (folder / "odd@1.yaml").write_text(yaml.safe_dump(values | {"name": "odd", "backgroud": "black"}))
    (tmp_path / "own_formats.py").write_text(CODE)
    plug(tmp_path)


def test_a_protocol_of_a_plugin_is_found_and_loaded_by_name_and_version(code) -> None:
    house = ProtocolSpec("house", ("own_house:house@1.yaml", "own_house:house@2.yaml"))
    known = made(register_protocols=(house, ProtocolSpec("headbench", ("own_house:headbench@1.yaml",))))
    assert known.problems() == [] and known.check() == []
    assert {"house@1", "house@2", "headbench@1"} <= {*protocol_names(known)}
    assert load_protocol("house@2", known).version == 2
    # The built-in one stays what it is.
    assert load_protocol("headbench@1", known).background == "white"
    with pytest.raises(BenchError, match=r"Unknown protocol 'house@3'\. Did you mean .*'house@"):
        load_protocol("house@3", known)


def test_faulty_protocols_are_named(code) -> None:
    specs = (
        ProtocolSpec("House", ("own_house:House@1.yaml",)),
        ProtocolSpec("other", ("own_house:house@1.yaml",)),
        ProtocolSpec("none", ()),
    )
    known = made(register_protocols=specs)
    assert [problem.message for problem in known.problems()] == [
        "ProtocolSpec 'House': name 'House' must be lower-case letters, digits and -, without a version",
        "ProtocolSpec 'other': file 'own_house:house@1.yaml' must read package:other@VERSION.yaml",
        "ProtocolSpec 'none': files must be a tuple of package:none@1.yaml, got ()",
    ]
    known = made(
        register_protocols=(
            ProtocolSpec("gone", ("own_house:gone@1.yaml",)),
            ProtocolSpec("odd", ("own_house:odd@1.yaml",)),
            ProtocolSpec("far", ("no_such_package:far@1.yaml",)),
        )
    )
    gone, odd, far = (problem.message for problem in known.check())
    assert gone.startswith("protocol gone@1: Cannot read protocol") and "'backgroud'. Did you mean 'background'" in odd
    assert far.startswith("protocol far@1: reading no_such_package:far@1.yaml")


def test_table_formats_are_checked_and_their_failures_are_named(code, monkeypatch) -> None:
    specs = (TableFormatSpec("CSV", "own_formats:Good"), TableFormatSpec("dot", "own_formats:Good", suffix=".txt"))
    assert [problem.message for problem in made(register_table_formats=specs).problems()] == [
        "TableFormatSpec 'CSV': name 'CSV' is that of a built-in format",
        "TableFormatSpec 'dot': suffix '.txt' must be up to 16 letters and digits, without a dot",
    ]
    names = ("Good", "Idle", "Fails", "Number")
    known = made(register_table_formats=tuple(TableFormatSpec(name.lower(), f"own_formats:{name}") for name in names))
    monkeypatch.setattr("headbench.reports.format.registry", lambda: known)
    assert formatted("a table", "GOOD") == "a table"  # type: ignore[arg-type]
    for name, words in (
        ("idle", "lacks text: every table format must define it"),
        ("fails", "mine: table format fails: writing a table failed with ZeroDivisionError"),
        ("number", "mine: table format number: expected a text, got int"),
        ("god", "Unknown table format 'god'"),
    ):
        with pytest.raises(PluginError, match=words):
            formatted("a table", name)  # type: ignore[arg-type]
