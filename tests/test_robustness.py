"""docs/robustness.md holds the rows that the tests' marks say, and no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parent / "docs" / "robustness.md"


def _marks() -> list[str]:
    """What each ``pytest.mark.tried(group, what, ...)`` of the suite says was tried, as a pattern."""
    found = []
    for path in sorted(HERE.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "mark.tried" in text else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "tried":
                what = node.args[1]
                parts = what.values if isinstance(what, ast.JoinedStr) else [what]
                # What a text of a parametrised mark is made of shows only when the tests run.
                texts = [re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in parts]
                found.append("".join(texts))
    return found


def test_the_table_has_a_row_for_everything_that_was_tried() -> None:
    rows = [row for row in re.findall(r"^\| (.*?) \| ", TABLE.read_text(encoding="utf-8"), re.M) if row != "tried"]
    wanted = _marks()
    missing = [text for text in wanted if not any(re.fullmatch(text, row) for row in rows)]
    gone = [row for row in rows if not any(re.fullmatch(text, row) for text in wanted)]
    help = 'python -m pytest -m "tried and not gpu" --robustness docs/robustness.md'
    assert not missing and not gone, f"{help} writes the table again; missing {missing}, no longer tried {gone}"
    assert len(rows) > 60
