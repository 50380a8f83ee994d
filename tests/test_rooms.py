"""The rooms keep to themselves: who may import whom, how long a file may be, and who may print."""

from __future__ import annotations

import ast
import functools
import gc
import importlib
from pathlib import Path

import pytest
from syntax import walk

import headbench

ROOT = Path(next(iter(headbench.__path__)))
LONGEST = 500
KERNELS = {"harness/splat/kernels.py"}
"""One file of rasterizer kernels may be longer."""

TYPES = {
    "harness.archives",
    "harness.arrays",
    "harness.tensors",
    "harness.types",
    "harness.errors",
    "harness.files",
    "harness.device",
    "harness.avatar",
    "harness.bound",
    "harness.console",
    "harness.home",
    "harness.importing",
    "harness.jit",
    "harness.kernels",
    "harness.layout",
    "harness.mp4",
    "harness.names",
    "harness.options",
    "harness.pictures",
    "harness.ply",
    "harness.memory",
    "harness.problems",
    "harness.reading",
    "harness.records",
    "harness.rotations",
    "harness.stage",
    "harness.staged",
    "harness.surface",
    "harness.versions",
    "harness.videos",
    "harness.validation",
    "harness.view_prior",
    "harness.trained",
    "harness.way",
}
"""Single files beside the rooms: what crosses borders and needs no room."""
RULES: dict[str, set[str]] = {
    "harness/plugins": {"harness.plugins"},
    "harness/head": {"harness.head", "harness.assets"},
    "harness/splat": {"harness.splat"},
    "harness/image": {"harness.image", "harness.assets"},
    "harness/assets": {"harness.assets"},
    "harness/train": {"harness.train", "harness.head", "harness.splat", "harness.image", "harness.plugins"},
    "harness/blocks": {"harness.blocks", "harness.train", "harness.head", "harness.splat", "harness.image"},
    "harness/session": {"harness.session", "harness.train", "harness.head", "harness.splat", "harness.image"},
    "harness/execution": {"harness.execution", "harness.run", "harness.plugins"},
    "harness/run": {"harness"},
    "harness/cli": {
        "harness",
        "metrics",
        "reports",
        "results",
        "submission",
        "inspection",
        "testing",
        "stages",
        "reenact",
        "export",
        "viewer",
        "datasets.synthetic",
    },
    "methods": {"harness", "methods"},
    "datasets": {"harness", "datasets"},
    "metrics": {"harness.image", "harness.assets", "harness.plugins", "metrics"},
    "reports": {"harness", "metrics", "reports", "results"},
    "results": {"harness", "metrics", "results"},
    "submission": {"harness", "metrics", "results", "submission"},
    "inspection": {"harness", "datasets.common", "inspection"},
    "stages": {"harness", "stages"},
    "reenact": {"harness", "reenact"},
    "export": {"harness", "export"},
    "viewer": {"harness", "export", "viewer"},
    "testing": {"harness", "testing"},
    "configs": set(),
}
"""Room -> prefixes of what it may import of ours, besides TYPES."""


LOOKED_AT = (ast.Import, ast.ImportFrom, ast.If, ast.Compare, ast.Call, ast.FunctionDef, ast.AsyncFunctionDef)
"""Kinds of nodes that tests of this file look at."""


@functools.cache
def files() -> list[Path]:
    rooms = [path for room in RULES for path in (ROOT / room).rglob("*.py")]
    return sorted({*rooms, *(ROOT / "harness").glob("*.py")})


@functools.cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def _nodes(path: Path) -> list[ast.AST]:
    """Nodes of a file that tests look at, parsed once for all of them."""
    gc.disable()  # a million nodes, and no garbage
    try:
        return [node for node in walk(ast.parse(_text(path))) if isinstance(node, LOOKED_AT)]
    finally:
        gc.enable()


@pytest.fixture(scope="module", autouse=True)
def _forgotten():
    """Forget the parsed files after the last test, or every collection of garbage would look at them."""
    yield
    _nodes.cache_clear()


def _called(node: ast.Call) -> str:
    """Name or dotted name of what is called; empty for anything else."""
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        return f"{node.func.value.id}.{node.func.attr}"
    return node.func.id if isinstance(node.func, ast.Name) else ""


def from_imports(path: Path) -> list[tuple[str, list[str]]]:
    """``from headbench.a.b import c`` as (a/b, [c]), wherever it stands in a file."""
    return [
        (node.module.removeprefix("headbench.").replace(".", "/"), [alias.name for alias in node.names])
        for node in _nodes(path)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("headbench.")
    ]


@functools.cache
def imports(path: Path) -> list[str]:
    """Modules of ours that a file imports when it runs (not for type checkers alone), without the first part."""
    skipped = {
        id(inner)
        for node in _nodes(path)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found = []
    package = ("headbench", *path.relative_to(ROOT).parent.parts)
    for node in _nodes(path):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [module, *(f"{module}.{alias.name}" for alias in node.names if module.count(".") < 2)]
    return sorted({name.removeprefix("headbench.") for name in found if name.startswith("headbench.")})


@functools.cache
def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT).as_posix()
    return next((room for room in RULES if relative.startswith(f"{room}/")), "harness")


def allowed(name: str, prefixes: set[str]) -> bool:
    if name in {"harness", "harness.plugins.hookspecs", "harness.plugins.specs", *TYPES}:
        return True
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in (*prefixes, *TYPES))


def test_the_rules_speak_of_rooms_that_are_there() -> None:
    assert [room for room in RULES if not list((ROOT / room).rglob("*.py"))] == []
    assert len(files()) > 60


@pytest.mark.parametrize("room", sorted(RULES))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files()
        if room_of(path) == room
        for name in imports(path)
        if not allowed(name, RULES[room])
    ]
    assert wrong == []


def test_what_crosses_borders_needs_no_room() -> None:
    wrong = [
        f"{path.name} imports {name}"
        for path in (ROOT / "harness").glob("*.py")
        for name in imports(path)
        if not allowed(name, set())
    ]
    assert wrong == []


def test_what_a_room_exports_is_imported_from_its_door() -> None:
    """The others may go on to a module, for what only one other room needs."""
    wrong = []
    for path in files():
        for module, names in from_imports(path):
            room = next((each for each in RULES if module.startswith(f"{each}/")), None)
            light = module in {"harness/plugins/hookspecs", "harness/plugins/specs"}  # as `allowed` has it
            # Files beside the rooms lie below them, and could not go through the door.
            if room is None or light or room_of(path) in {room, "harness"}:
                continue
            door = set(getattr(importlib.import_module(f"headbench.{room.replace('/', '.')}"), "__all__", ()))
            wrong += [f"{path.relative_to(ROOT)}: {name} of {module}" for name in names if name in door]
    assert wrong == []


def test_nobody_imports_private_names() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name} of {module}"
        for path in files()
        for module, names in from_imports(path)
        for name in (*names, *module.split("/"))
        if name.startswith("_") and not name.startswith("__")
    ]
    assert wrong == []


def test_the_harness_names_no_method_and_no_dataset() -> None:
    from headbench.harness.plugins import Registry, Source

    built_in = [
        Source(f"headbench.{kind}.plugin", lambda kind=kind: __import__(f"headbench.{kind}.plugin", fromlist=["x"]))
        for kind in ("methods", "datasets")
    ]
    made = Registry(built_in)
    names = {name.lower() for name in (*made.methods(), *made.datasets())}
    wrong = []
    for path in (ROOT / "harness").rglob("*.py"):
        for node in _nodes(path):
            if isinstance(node, ast.Compare):
                compared = [c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)]
                wrong += [f"{path.relative_to(ROOT)}:{node.lineno}" for text in compared if text.lower() in names]
    assert names and wrong == []


def test_no_file_is_longer_than_500_lines() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(_text(path).splitlines()) for path in files()}
    assert {name: count for name, count in lengths.items() if count > LONGEST and name not in KERNELS} == {}


def test_every_function_says_what_it_returns() -> None:
    wrong = []
    for path in files():
        for node in _nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is None:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert wrong == []


def test_what_is_printed_goes_through_the_console() -> None:
    """`say` and `literal` of harness/console.py: texts of files must not reach a terminal as escape sequences."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {_called(node)}"
        for path in files()
        if path != ROOT / "harness" / "console.py"
        for node in _nodes(path)
        if isinstance(node, ast.Call) and _called(node) in {"click.echo", "click.secho", "print"}
    ]
    assert wrong == []


def test_nothing_is_loaded_that_may_run_code() -> None:
    dangerous = ("pickle.load(", "yaml.load(", "weights_only=False", "exec(", "eval(code")
    wrong = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in files()
        for word in dangerous
        if word in _text(path).replace("safe_yaml.load(", "")
    ]
    assert wrong == []


DOORS = {
    "Image.open(": set(),
    "av.open(": {"harness/videos.py", "harness/image/video.py"},
    "yaml.safe_load(": set(),
    "json.load(": set(),
    "json.loads(": {
        *("harness/reading.py", "harness/plugins/trial.py", "harness/head/openhead/build.py"),
        *("harness/execution/ray/broker.py", "harness/execution/ray/link.py"),
    },
    "zipfile.ZipFile(": {"harness/archives.py", "submission/archive.py"},
    "np.load(": {"harness/head/openhead/__init__.py"},
    "load_file(": {"harness/tensors.py"},
    "safe_open(": set(),
    "torch.load(": set(),
    "Unpickler(": set(),
    "pickle.loads(": set(),
    ".read_text(": {
        *("harness/execution/system.py", "harness/plugins/loading.py", "harness/run/provenance.py"),
        "export/html/assemble.py",
        *("harness/head/openhead/build.py", "reports/html/pack.py", "reports/html/page.py"),
    },
    ".read_bytes(": {
        *("harness/plugins/trial.py", "harness/head/openhead/build.py", "harness/splat/drawing/build.py"),
        *("testing/dataset_checks.py", "testing/training_checks.py"),
    },
}
"""What opens or reads files without asking what they are -> where it stands: behind the door that does ask, or on files
that are ours or the system's."""


def test_files_of_strangers_are_opened_behind_their_doors() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in files()
        for word, places in DOORS.items()
        if path.relative_to(ROOT).as_posix() not in places and word in _text(path).replace("json.loads(json.dumps(", "")
    ]
    assert wrong == []


def test_paths_of_a_cell_are_made_in_one_place() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in files()
        if path != ROOT / "harness" / "layout.py"
        for word in ("stages/", '"stages"', '/ "renders"', '/ "scores"', '/ "speed.json"')
        if word in _text(path)
    ]
    assert wrong == []
