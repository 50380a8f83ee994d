"""The table in docs/robustness.md: rows come from the tests' marks `tried`, and only of tests that passed.

``python -m pytest -m "tried and not gpu" --robustness docs/robustness.md`` writes it; without the option nothing
changes.
"""

from __future__ import annotations

from pathlib import Path

GROUPS = ("faults in runs", "hostile files", "damaged inputs", "wrong command lines")
HEAD = """# Robustness

What was tried on purpose, what survives and what is lost. The table is written by the tests
(`python -m pytest -m "tried and not gpu" --robustness docs/robustness.md`): a row stands here only where its test
passed.
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
    if rows and report.when == "call":
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
    lines = [HEAD]
    for group in GROUPS:
        lines += [f"\n## {group.capitalize()}\n", "| tried | what survives | what is lost |", "|---|---|---|"]
        lines += [f"| {row[1]} | {row[2]} | {row[3]} |" for row in sorted(good) if row[0] == group]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
