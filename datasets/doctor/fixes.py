"""What to do, for scripts: one line an action, fields apart by tabs."""

from __future__ import annotations

from collections.abc import Sequence

from headbench.datasets.common.findings import by_number
from headbench.datasets.doctor.examine import Examination

__all__ = ["fix_lines"]

_BREAKS = str.maketrans({"\t": " ", "\n": " ", "\r": " "})


def fix_lines(examinations: Sequence[Examination]) -> list[str]:
    """``severity TAB subject TAB file TAB frames TAB action``, errors before warnings.

    Frames are ids apart by commas, or nothing. Problems of one file with one remedy are one line. Where a check names
    no remedy, what it expected and found stands in its place. Notes ask for nothing and have no line.
    """
    actions: dict[tuple[str, str, str, str], list[str]] = {}
    for examination in examinations:
        for problem in examination.problems:
            if problem.severity != "note":
                key = (problem.severity, examination.name, str(problem.path), problem.help or problem.message)
                frames = actions.setdefault(key, [])
                if problem.frame and problem.frame not in frames:
                    frames.append(problem.frame)
    lines = []
    for (severity, name, path, action), frames in sorted(actions.items(), key=lambda item: item[0][0] != "error"):
        fields = (severity, name, path, ",".join(sorted(frames, key=by_number)), action)
        lines.append("\t".join(field.translate(_BREAKS) for field in fields))
    return lines
