"""The table in docs/robustness.md: rows come from the tests' marks `tried`, and only of tests that passed.

``python -m pytest -m "tried and not gpu" --robustness docs/robustness.md`` writes it; without the option nothing
changes. Rows of tests that were not run, as those that need a cluster, stay as an earlier session wrote them, as long
as there is such a mark.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from syntax import walk

GROUPS = ("faults in runs", "hostile files", "damaged inputs", "wrong command lines")
HEAD = """# Robustness

What was tried on purpose, what survives and what is lost. The table is written by the tests
(`python -m pytest -m "tried and not gpu" --robustness docs/robustness.md`): a row stands here only where its test
passed when it was run last. Tests that need Slurm or Ray are run with `HEADBENCH_SLURM=1 HEADBENCH_RAY=1`.
"""


def pytest_addoption(parser):
    parser.addoption("--robustness", type=Path, help="write the table of what was tried into this file")


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "tried(group, what, survives, lost): a row of docs/robustness.md. group: "
        + ", ".join(GROUPS)
        + "; survives: what stays or is said; lost: what the user loses",
    )
    config._tried = {}


def pytest_runtest_logreport(report):
    rows = dict(report.user_properties).get("tried")
    # A test that was skipped says nothing; one that failed before or after its call failed.
    if rows and not report.skipped and (report.when == "call" or report.failed):
        for row in rows:
            _passed.setdefault(tuple(row), []).append(report.passed)


_passed: dict[tuple[str, ...], list[bool]] = {}


def row_of(mark) -> tuple[str, str, str, str]:
    """group, what, survives, lost of a mark `tried`."""

    def row(group, what, survives="one sentence with the file and what to do; nothing else stops", lost="nothing"):
        if group not in GROUPS:
            raise ValueError(f"{group!r} is none of {GROUPS}")
        return group, what, survives, lost

    return row(*mark.args, **mark.kwargs)


def pytest_collection_modifyitems(items):
    for item in items:
        rows = [row_of(mark) for mark in item.iter_markers("tried")]
        if rows:
            item.user_properties.append(("tried", rows))


def pytest_sessionfinish(session):
    target = session.config.getoption("--robustness")
    if target is None or hasattr(session.config, "workerinput"):
        return
    good = [row for row, results in _passed.items() if all(results)]
    good += _kept(target, session.config.rootpath / "tests")
    lines = [HEAD.rstrip()]
    for group in GROUPS:
        lines += [f"\n## {group.capitalize()}\n", "| tried | what survives | what is lost |", "|---|---|---|"]
        lines += [f"| {row[1]} | {row[2]} | {row[3]} |" for row in sorted(good) if row[0] == group]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _kept(target: Path, tests: Path) -> list[tuple[str, ...]]:
    """Rows of the table as it is whose tests exist and were not run in this session."""
    text = target.read_text(encoding="utf-8") if target.is_file() else ""
    run, wanted, kept, group = {row[1] for row in _passed}, marks_in(tests), [], ""
    for line in text.splitlines():
        if line.startswith("## "):
            group = line.removeprefix("## ").lower()
        found = re.fullmatch(r"\| (.*?) \| (.*) \| (.*?) \|", line)
        if found and found[1] not in run and any(re.fullmatch(each, found[1]) for each in wanted):
            kept.append((group, *found.groups()))
    return kept


def marks_in(tests: Path) -> list[str]:
    """Find what each ``pytest.mark.tried(group, what, ...)`` below a folder says was tried, as patterns.

    Raises:
        ValueError: a mark names what was tried by something else than a text, which would match any row.
    """
    found = []
    for path in sorted(tests.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        for node in walk(ast.parse(text)) if "mark.tried" in text else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "tried":
                what = node.args[1]
                parts = what.values if isinstance(what, ast.JoinedStr) else [what]
                if not any(isinstance(part, ast.Constant) for part in parts):
                    raise ValueError(f"{path.name}:{node.lineno}: what was tried has no words where the mark stands")
                # What a text of a parametrised mark is made of shows only when the tests run.
                texts = [re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in parts]
                found.append("".join(texts))
    return found
