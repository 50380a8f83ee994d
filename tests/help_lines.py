"""Finds every text of the package that is shown as help: what a user shall do about an error, a problem or a finding.

Texts are templates, with {} for what is filled in when they are shown. They are found where they are given: arguments
called help, second arguments of our errors, fourth arguments of findings, and the constants, local names and functions
of the package that these refer to.
"""

from __future__ import annotations

import ast
import collections
import functools
import gc
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from syntax import children

import headbench

ROOT = Path(next(iter(headbench.__path__)))
ROOMS = (
    "harness",
    "datasets",
    "export",
    "inspection",
    "methods",
    "metrics",
    "reenact",
    "reports",
    "results",
    "stages",
    "submission",
    "viewer",
)
KEYWORDS = {"help", "hint", "remedy", "mode_help", "command"}
POSITIONS = {
    **dict.fromkeys(("BenchError", "DataError", "MissingAsset", "PluginError", "Unwritable", "differs"), 1),
    **dict.fromkeys(("Unreadable", "read_record"), 2),
    **dict.fromkeys(("error", "warning", "remark", "Problem", "_finding", "parsed"), 3),
}
"""Called name -> place of the help among the positional arguments."""
PAIRS = {"_FOUND", "missing_for_gsplat"}
"""A mapping and a function that hold or return pairs of a finding and its help."""
HINTED = re.compile(rf"\b({'|'.join((*KEYWORDS, *POSITIONS, *PAIRS))})\b")
"""A word without which a file gives no help."""
DEFINED = re.compile(r"\bdef (\w+)")
"""Pattern of a function's definition, with its name."""
TYPED = re.compile(
    r"\bbench [a-z{]|(?<![\w-])--[a-z]|\b(pip install|ffmpeg -|chmod |kill |git lfs|ulimit |cd {)|\b[A-Z]{4,}_?[A-Z]*="
)
"""What is there to be typed."""


@dataclass(frozen=True)
class Help:
    """One help text."""

    file: str
    line: int
    text: str

    @property
    def typed(self) -> bool:
        """Whether it holds a command or an option; otherwise it is for a person to do."""
        return TYPED.search(self.text) is not None


class _Package:
    """The files of the package, and its functions by name, for helps that a function returns."""

    def __init__(self) -> None:
        self.paths = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
        self._texts = {path: path.read_text(encoding="utf-8") for path in self.paths}
        self.silent = {path for path, text in self._texts.items() if not HINTED.search(text)}
        """Files where no help is given."""
        self._trees: dict[Path, ast.Module] = {}
        self._named: dict[str, list[Path]] = {}
        for path, text in self._texts.items():
            for name in dict.fromkeys(DEFINED.findall(text)):
                self._named.setdefault(name, []).append(path)

    def tree(self, path: Path) -> ast.Module:
        """Syntax tree of a file, which is parsed once."""
        if path not in self._trees:
            self._trees[path] = ast.parse(self._texts[path])
        return self._trees[path]

    @functools.cache  # noqa: B019, one package lives as long as its texts are collected
    def functions(self, name: str) -> list[tuple[Path, ast.FunctionDef]]:
        """The functions of a name, each with its file."""
        nodes = ((path, node) for path in self._named.get(name, []) for node in _statements(self.tree(path)))
        return [(path, node) for path, node in nodes if isinstance(node, ast.FunctionDef) and node.name == name]


class _Module:
    """Finds help texts in one file."""

    def __init__(self, package: _Package, path: Path) -> None:
        self.package, self.path, self.tree = package, path, package.tree(path)
        self.constants = _assigned(self.tree.body)

    def helps(self) -> Iterator[tuple[int, str]]:
        yield from self._below()
        functions = {name: self.package.functions(name) for name in PAIRS}
        here = {name for name, found in functions.items() if any(path == self.path for path, _ in found)}
        for name in sorted(PAIRS & {*self.constants, *here}):
            for pair in ast.walk(self.constants[name] if name in self.constants else self._function(name)):
                if isinstance(pair, ast.Tuple) and len(pair.elts) == 2:
                    yield from ((pair.lineno, text) for text in self.texts(pair.elts[1], {}, 3))

    def _function(self, name: str) -> ast.FunctionDef:
        return next(node for path, node in self.package.functions(name) if path == self.path)

    def _below(self) -> Iterator[tuple[int, str]]:
        left: list[tuple[ast.AST, dict[str, list[ast.expr]]]] = [(self.tree, {})]
        while left:
            node, local = left.pop()
            for place in _places(node):
                yield from ((place.lineno, text) for text in self.texts(place, local, 3))
            left += [(child, local | _local(child)) if isinstance(child, ast.FunctionDef) else (child, local)
                     for child in reversed(children(node))]  # fmt: skip

    def texts(self, node: ast.expr, local: dict[str, list[ast.expr]], depth: int) -> list[str]:
        """All texts that an expression may be; what is not known in it is {}."""
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else []
        if isinstance(node, ast.IfExp):
            return self.texts(node.body, local, depth) + self.texts(node.orelse, local, depth)
        if isinstance(node, ast.BoolOp):
            return [text for value in node.values for text in self.texts(value, local, depth)]
        if isinstance(node, ast.JoinedStr):
            parts = [self._filled(value, local, depth) for value in node.values]
            return ["".join(chosen) for chosen in itertools.product(*parts)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = (self.texts(side, local, depth) or ["{}"] for side in (node.left, node.right))
            return [a + b for a, b in itertools.product(left, right)]
        if depth and isinstance(node, ast.Name):
            found = local.get(node.id, []) or ([self.constants[node.id]] if node.id in self.constants else [])
            return [text for value in found for text in self.texts(value, local, depth - 1)]
        if depth and isinstance(node, ast.Call):
            return self._returned(node, local, depth)
        return []

    def _filled(self, node: ast.expr, local: dict[str, list[ast.expr]], depth: int) -> list[str]:
        """What a part of an f-string may be: itself, a command that a function of ours returns, or {}."""
        if isinstance(node, ast.Constant):
            return [str(node.value)]
        value = node.value if isinstance(node, ast.FormattedValue) else node
        found = self.texts(value, local, depth) if isinstance(value, ast.Call) else []
        return [text for text in found if TYPED.search(text)] or ["{}"]

    def _returned(self, call: ast.Call, local: dict[str, list[ast.expr]], depth: int) -> list[str]:
        name = _called(call)
        if _dotted(call) == "shlex.join" and isinstance(call.args[0], ast.List):
            parts = ["".join(self.texts(part, local, depth) or ["{}"]) for part in call.args[0].elts]
            return [" ".join(parts)]
        found = []
        for path, function in self.package.functions(name):
            module = self if path == self.path else _Module(self.package, path)
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    found += module.texts(node.value, _local(function), depth - 1)
        return found


def collect() -> list[Help]:
    """Every help text of the package, once per file, in the order of files."""
    package = _Package()
    found: dict[tuple[str, str], Help] = {}
    gc.disable()  # a million nodes, and no garbage
    for path in package.paths:
        if path not in package.silent:
            name = path.relative_to(ROOT).as_posix()
            for line, text in _Module(package, path).helps():
                if text.strip(" {}()"):
                    found.setdefault((name, text), Help(name, line, text))
    # Which keep the trees.
    _local.cache_clear()
    _Package.functions.cache_clear()
    gc.enable()
    return list(found.values())


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all statements in it, in the order of `ast.walk`, which looks at ten times as many expressions."""
    left = collections.deque([node])
    while left:
        yield (found := left.popleft())
        for name in ("body", "handlers", "orelse", "finalbody", "cases"):
            inner = getattr(found, name, ())
            left.extend(inner if isinstance(inner, list) else ())


def _called(call: ast.Call) -> str:
    return _dotted(call).rpartition(".")[2]


def _dotted(call: ast.Call) -> str:
    """The called name with up to one name before it, as in `shlex.join`; nothing where what is called has no name."""
    function = call.func.orelse if isinstance(call.func, ast.IfExp) else call.func
    if isinstance(function, ast.Name):
        return function.id
    if not isinstance(function, ast.Attribute):
        return ""
    before = function.value
    return f"{before.id}.{function.attr}" if isinstance(before, ast.Name) else f".{function.attr}"


def _places(node: ast.AST) -> list[ast.expr]:
    """The expressions that are helps right here."""
    if isinstance(node, ast.Assign):
        targets = [t for t in node.targets if isinstance(t, ast.Attribute) and t.attr == "help"]
        return [node.value] if targets else []
    if not isinstance(node, ast.Call) or _dotted(node).startswith("click."):
        return []
    if _called(node) in {"option", "argument", "command", "Option", "Argument"}:
        return []
    found = [k.value for k in node.keywords if k.arg in KEYWORDS]
    place = POSITIONS.get(_called(node))
    return found + (node.args[place : place + 1] if place is not None else [])


def _assigned(body: list[ast.stmt]) -> dict[str, ast.expr]:
    found = {}
    for node in body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and node.value is not None:  # type: ignore[attr-defined]
                found[target.id] = node.value  # type: ignore[attr-defined]
    return found


@functools.cache
def _local(function: ast.FunctionDef) -> dict[str, list[ast.expr]]:
    """Names of a function -> all that is assigned to them in it."""
    found: dict[str, list[ast.expr]] = {}
    for node in _statements(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                values = node.value.elts if isinstance(node.value, ast.Tuple) and len(names) > 1 else [node.value]
                for name, value in zip(names, values, strict=False):
                    if isinstance(name, ast.Name):
                        found.setdefault(name.id, []).append(value)
    return found
