"""Garbage is looked for again after a command that does without, however it ended."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from click.testing import CliRunner

from headbench.harness.cli.collecting import nothing_collected
from headbench.harness.cli.report import report


@pytest.mark.parametrize("looks", [True, False])
def test_what_was_on_before_is_on_afterwards(looks: bool) -> None:
    (gc.enable if looks else gc.disable)()
    try:
        with pytest.raises(KeyError), nothing_collected():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is looks
        with nothing_collected(False):
            assert gc.isenabled() is looks
    finally:
        gc.enable()


@pytest.mark.parametrize("when", [True, False])
def test_the_last_collection_looks_at_nothing_that_a_command_built(when: bool) -> None:
    ring: list[object] = []
    with nothing_collected(when):
        ring.append(ring)
    assert any(each is ring for each in gc.get_objects()) is not when


def test_a_refused_report_leaves_it_on(tmp_path: Path) -> None:
    assert CliRunner().invoke(report, [str(tmp_path), "--no-figures"]).exit_code == 1
    assert gc.isenabled()
