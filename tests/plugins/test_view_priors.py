"""View priors register as other kinds do; their specs and classes are checked."""

from __future__ import annotations

import types

import pytest

from headbench.harness.errors import PluginError
from headbench.harness.plugins import Registry, Source, ViewPriorSpec, hookimpl

GOOD = """
from headbench.harness.view_prior import ViewPrior

class Good(ViewPrior):
    def make(self, work):
        return []

class Options(Good):
    config_type = dict

class Idle(ViewPrior):
    pass
"""


def _registry(*specs: object) -> Registry:
    module = types.ModuleType("inline")
    hook = hookimpl(lambda register: [register(spec) for spec in specs] and None)
    module.register_view_priors = hook  # type: ignore[attr-defined]
    return Registry([Source("mine", lambda: module)])


@pytest.fixture
def code(tmp_path, plug) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "own_priors.py").write_text(GOOD, encoding="utf-8")
    plug(tmp_path)


def test_a_view_prior_is_found_and_loaded_by_its_name(code: None) -> None:
    made = _registry(ViewPriorSpec("Good", "own_priors:Good", "shows nothing", source="folder"))
    assert made.problems() == [] and list(made.view_priors()) == ["Good"]
    assert made.load_view_prior("good").__name__ == "Good" and made.view_prior("GOOD").source == "folder"
    with pytest.raises(PluginError, match=r"Unknown view-prior 'god'.*Did you mean 'Good'") as found:
        made.view_prior("god")
    assert found.value.help == "bench list view-priors"


def test_faulty_view_priors_are_named(code: None) -> None:
    made = _registry(ViewPriorSpec("a", "own_priors:Good", source="network"), ViewPriorSpec("b", "own_priors:Options"))  # type: ignore[arg-type]
    assert [problem.message for problem in made.problems()] == [
        "ViewPriorSpec 'a': source must be '', 'file' or 'folder', got 'network'"
    ]
    with pytest.raises(PluginError, match=r"config_type must be a class derived from .*Section"):
        made.load_view_prior("b")
    with pytest.raises(PluginError, match="lacks make: every view prior must define it"):
        _registry(ViewPriorSpec("idle", "own_priors:Idle")).load_view_prior("idle")
