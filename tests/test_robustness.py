"""docs/robustness.md holds the rows that the tests' marks say, and no others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from robustness import marks_in

HERE = Path(__file__).parent
TABLE = HERE.parent / "docs" / "robustness.md"


def test_the_table_has_a_row_for_everything_that_was_tried() -> None:
    rows = [row for row in re.findall(r"^\| (.*?) \| ", TABLE.read_text(encoding="utf-8"), re.M) if row != "tried"]
    wanted = marks_in(HERE)
    missing = [text for text in wanted if not any(re.fullmatch(text, row) for row in rows)]
    gone = [row for row in rows if not any(re.fullmatch(text, row) for text in wanted)]
    help = 'python -m pytest -m "tried and not gpu" --robustness docs/robustness.md'
    assert not missing and not gone, f"{help} writes the table again; missing {missing}, no longer tried {gone}"
    assert len(rows) > 60


CASES = """
import pytest
GROUP = "faults in runs"
@pytest.mark.tried(GROUP, "b, which holds")
def test_b(): pass
@pytest.mark.tried(GROUP, "a, which fails")
def test_a(): assert False
@pytest.mark.tried(GROUP, "c, which needs what is not here", "all | of it")
def test_c(): pytest.skip()
@pytest.mark.tried(GROUP, "d, which was never run")
def test_d(): pytest.skip()
@pytest.fixture
def broken(): raise OSError
@pytest.mark.tried(GROUP, "f, which does not begin")
def test_f(broken): pass
"""

WHAT = ("a, which fails", "b, which holds", "e, which is gone", "f, which does not begin")


def test_a_row_stays_where_its_test_was_not_run_and_goes_where_it_failed_or_is_gone(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_cases.py").write_text(CASES)
    (tmp_path / "pytest.ini").touch()
    rows = "".join(f"| {what} | old | old |\n" for what in WHAT)
    kept = "| c, which needs what is not here | all | of it | nothing |"
    head = "| tried | what survives | what is lost |\n|---|---|---|\n"
    (tmp_path / "table.md").write_text(f"## Faults in runs\n\n{head}{rows}{kept}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "robustness", "--robustness", "table.md", "tests"]
    # It needs none of the plugins that are installed, which import NumPy.
    env = os.environ | {"PYTHONPATH": str(HERE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "1 failed, 1 passed, 2 skipped, 1 error" in done.stdout, done
    table = (tmp_path / "table.md").read_text()
    faults = table.partition("## Faults in runs")[2].partition("## ")[0]
    assert faults.count(head) == faults.count("| tried |") == 1 and "\n\n\n" not in table
    lines = [line for line in faults.splitlines() if line.startswith("| ") and "tried" not in line]
    assert [line.split(" | ")[0] for line in lines] == ["| b, which holds", kept.split(" | ")[0]]
    assert lines[1] == kept and "| old |" not in table


@pytest.mark.parametrize("what", ["WHICH", "*words", 'f"{WHICH}"'])
def test_words_that_would_match_every_row_are_refused(what: str, tmp_path: Path) -> None:
    (tmp_path / "test_cases.py").write_text(f"import pytest\n@pytest.mark.tried(GROUP, {what})\ndef test_a(): ...\n")
    with pytest.raises(ValueError, match=r"test_cases\.py:2: what was tried has no words"):
        marks_in(tmp_path)
