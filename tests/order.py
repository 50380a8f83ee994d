"""The order of files of tests: long ones first, so that no worker waits at the end for another with a long one."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

LONGEST = (
    "stages/test_every_pair.py",
    "run/test_fault_matrix.py",
    "conformance/test_builtin_methods.py",
    "browser/test_viewer_page.py",
    "inspection/test_doctor_causes.py",
    "nersemble/test_nersemble_layouts.py",
    "run/test_damage_runs.py",
    "reenact/test_layouts_drive.py",
    "reenact/test_methods_driven.py",
    "conformance/test_builtin_datasets.py",
    "synthetic/test_synthetic_around.py",
    "stages/bake/test_bake_stage.py",
    "run/test_help_lines.py",
    "head/test_load_head.py",
    "assets/test_templates.py",
    "export/test_html.py",
    "cli/test_console_texts.py",
    "cli/test_light.py",
    "packaging/test_distribution.py",
    "stages/complete/test_complete_external.py",
)
"""Files that take seconds with few tests, or minutes where slow ones run."""


def put_long_files_first(items: list[pytest.Item]) -> None:
    """Sort the tests' files: `LONGEST`, then those with many tests; within a file tests stay as they are."""
    here = Path(__file__).parent
    counts = collections.Counter(item.path for item in items)
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (places.get(item.path, len(LONGEST)), -counts[item.path], item.path))
