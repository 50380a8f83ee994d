"""Each public function and class of the head, the rasterizers, the metrics and the session has an example that runs.

Examples stand at the end of docstrings. What they may use without an import: what their room exports, `torch`, `np` and
the other names that the fixture `names` provides.
"""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import torch

ROOMS = ("harness.head", "harness.splat", "metrics", "harness.session")


def exported() -> list[tuple[str, str]]:
    """(room, name) of each public callable."""
    doors = {room: importlib.import_module(f"headbench.{room}") for room in ROOMS}
    return [(room, name) for room, door in doors.items() for name in door.__all__ if callable(getattr(door, name))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A stage's folder and the subject that its avatar was trained on for two steps."""
    from headbench.harness.avatar import TrainConfig
    from headbench.harness.head import load_head
    from headbench.harness.options import Execution
    from headbench.harness.plugins import registry
    from headbench.harness.train import train_stage
    from headbench.testing.scene import made_subject

    kind = registry().load_method("GaussianAvatars")
    folder = tmp_path_factory.mktemp("examples")
    head = load_head("openhead")
    subject = made_subject(head)
    config = kind.config_type(train=TrainConfig(steps=2, background="white"))
    about = {"method": "GaussianAvatars", "preset": "", "variant": "", "dataset": "none", "subject": subject.name}
    train_stage(folder, about, kind, config, subject, Execution(device="cpu"))
    return folder, head, subject


@pytest.fixture
def names(trained, tmp_path):
    """What examples find: a head, a subject of three training frames and the first of them, a batch of the truth, and a
    trained avatar's stage and checkpoint; `folder` is empty."""
    from headbench.harness.session import find_checkpoint
    from headbench.harness.train.setup import identity_of
    from headbench.metrics import Truth
    from headbench.metrics.truth import Masks

    stage, head, subject = trained
    return {
        "torch": torch,
        "np": np,
        "head": head,
        "subject": subject,
        "identity": identity_of(subject),
        "frame": subject.train[0],
        "truth": Truth(torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8), ["00000"], ["all"], [Masks({}, 8, 8)]),
        "stage": stage,
        "checkpoint": find_checkpoint(stage),
        "folder": tmp_path,
    }


@pytest.mark.parametrize(("room", "name"), exported())
def test_a_public_name_has_an_example_that_runs(room: str, name: str, names) -> None:
    door = importlib.import_module(f"headbench.{room}")
    public = {each: getattr(door, each) for each in door.__all__}
    text = public[name].__doc__ or ""
    example = doctest.DocTestParser().get_doctest(text, {**public, **names}, f"{room}.{name}", None, None)
    lines = sum(len(each.source.splitlines()) for each in example.examples)
    assert 1 <= lines <= 5, f"{room}.{name} needs an example of one to five lines at the end of its docstring"
    assert not any(doctest.SKIP in each.options for each in example.examples)
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert said == []
