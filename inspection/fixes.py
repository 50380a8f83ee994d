"""Lines that say what to do, for scripts: one line per action, fields separated by tabs."""

from __future__ import annotations

from collections.abc import Sequence

from headbench.harness.problems import grouped
from headbench.inspection.examine import Examination

__all__ = ["fix_lines"]

_BREAKS = str.maketrans({"\t": " ", "\n": " ", "\r": " "})


def fix_lines(examinations: Sequence[Examination]) -> list[str]:
    """Make lines ``severity TAB subject TAB file TAB frames TAB action``, errors before warnings, one line per cause.

    File is the folder that holds them where a cause is in several. Frames are all ids, separated by commas, or nothing.
    Where a check names no remedy, what it expected and found stands in its place. Notes ask for nothing and have no
    line.
    """
    found = [
        (group, examination.name)
        for examination in examinations
        for group in grouped(examination.problems)
        if group.first.severity != "note"
    ]
    lines = []
    for group, name in sorted(found, key=lambda item: item[0].first.severity != "error"):
        action = group.first.help or group.first.message
        fields = (group.first.severity, name, str(group.place), ",".join(group.frames), action)
        lines.append("\t".join(field.translate(_BREAKS) for field in fields))
    return lines
