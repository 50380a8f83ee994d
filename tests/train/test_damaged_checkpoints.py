"""Checkpoints that are not as they were written: the one before is taken, and said; the run ends as if left alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from headbench.harness.errors import BenchError
from headbench.harness.options import Execution
from headbench.harness.plugins import registry
from headbench.harness.records import write_sealed
from headbench.harness.train import load_portrait, train_stage
from headbench.harness.trained import TrainSummary, checkpoint_fault, checkpoints, read_state, read_summary
from headbench.harness.types import Subject
from headbench.testing.small import small_config

METHOD = "SplattingAvatar"
ABOUT = {"method": METHOD, "preset": "tiny", "variant": "", "dataset": "none", "subject": "made"}
STEPS, EVERY, LOG = 9, 3, 4
"""A line of the log holds steps of before a checkpoint and of after it."""


def train(stage: Path, subject: Subject) -> tuple[TrainSummary, list[dict[str, Any]]]:
    """The summary, and all that was said on the way but which part began."""
    kind = registry().load_method(METHOD)
    values = small_config(registry().method(METHOD), kind).model_dump()
    train = {**values["train"], "steps": STEPS, "resolution": None}
    config = kind.config_type.model_validate({**values, "train": train})
    options = Execution("cpu", checkpoint_every=EVERY, log_every=LOG, preview_every=1000, deterministic=True)
    said: list[dict[str, Any]] = []

    def hear(now: Mapping[str, Any]) -> None:
        if "part" not in now:
            said.append(dict(now))

    return train_stage(stage, ABOUT, kind, config, subject, options, hear), said


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, made_subject: Callable[..., Subject]) -> tuple[Path, Subject]:
    """A finished stage and its subject. Read only."""
    stage = tmp_path_factory.mktemp("whole") / "train"
    subject = made_subject(frames=3)
    train(stage, subject)
    assert [path.name for path in checkpoints(stage)] == ["checkpoint-6", "checkpoint-9"]
    return stage, subject


@pytest.fixture
def stage(whole: tuple[Path, Subject], tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(whole[0], tmp_path / "train")
    return tmp_path / "train"


def results(stage: Path) -> dict[str, object]:
    """Weights, optimiser and the log's lines without their rates."""
    found: dict[str, object] = {
        name: (checkpoints(stage)[-1] / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")
    }
    lines = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    return found | {"log": [[(k, v) for k, v in line.items() if k != "rate"] for line in lines]}


def edited(path: Path, **values: object) -> None:
    """Change a state file as somebody would who knows of its seal."""
    write_sealed(path, {**json.loads(path.read_text()), **values})


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights cut": (lambda c: cut(c / "model.safetensors"), "model.safetensors has another SHA-256"),
    "weights altered in one byte": (lambda c: flip(c / "model.safetensors"), "model.safetensors has another SHA-256"),
    "optimiser removed": (lambda c: (c / "optimizer.safetensors").unlink(), "optimizer.safetensors is missing"),
    "state empty": (lambda c: (c / "state.json").write_text(""), "state.json: found an empty file"),
    "state {}": (lambda c: (c / "state.json").write_text("{}"), "state.json: found nothing as step"),
    "state removed": (lambda c: (c / "state.json").unlink(), "not a checkpoint: it has no state.json"),
    "state with another number": (
        lambda c: (c / "state.json").write_text((c / "state.json").read_text().replace('"seed": 0', '"seed": 1')),
        "found values that have changed",
    ),
    "state of another step": (lambda c: edited(c / "state.json", step=7), "found step 7"),
    "state without hashes": (lambda c: edited(c / "state.json", sha256={}), "found no SHA-256"),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(
            what,
            marks=pytest.mark.tried(
                "faults in runs",
                f"the newest checkpoint damaged: {what}",
                "the one before is taken, which the log and the table say; the run ends as if left alone",
                "the steps since the checkpoint before",
            ),
        )
        for what in DAMAGES
    ],
)
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(
    stage: Path, whole: tuple[Path, Subject], what: str
) -> None:
    damage, words = DAMAGES[what]
    damage(stage / "checkpoint-9")
    assert words in checkpoint_fault(stage / "checkpoint-9")
    summary, said = train(stage, whole[1])
    (note,) = summary.notes[-1:]
    assert note.startswith("checkpoint-9 was damaged (") and words in note
    assert note.endswith("training went on from checkpoint-6") and {"note": note} in said
    assert [entry["step"] for entry in said if "step" in entry] == [8, 9]
    assert results(stage) == results(whole[0])
    assert read_state(stage / "checkpoint-9").notes == (note,), "a kill now would not lose it"


@pytest.mark.tried("faults in runs", "all checkpoints damaged", "training begins again, and says so", "the training")
def test_where_no_checkpoint_is_whole_training_begins_again(stage: Path, whole: tuple[Path, Subject]) -> None:
    for name in ("checkpoint-6", "checkpoint-9"):
        flip(stage / name / "model.safetensors")
    summary, said = train(stage, whole[1])
    assert [note.partition(" (")[0] for note in summary.notes[-2:]] == [
        "checkpoint-6 was damaged",
        "checkpoint-9 was damaged",
    ]
    assert all(note.endswith("training began again") for note in summary.notes[-2:])
    assert said[-1]["step"] == STEPS and results(stage) == results(whole[0])


@pytest.mark.parametrize("content", [None, "", "{}", '{"steps": 9', '{"steps": "nine"}'])
@pytest.mark.tried("faults in runs", "the summary of a training damaged", "it is made again from the last checkpoint")
def test_a_damaged_summary_is_made_again_without_training(
    stage: Path, whole: tuple[Path, Subject], content: str | None
) -> None:
    before = read_summary(stage)
    (stage / "summary.json").unlink() if content is None else (stage / "summary.json").write_text(content)
    summary, said = train(stage, whole[1])
    assert summary == before == read_summary(stage) and said == []


@pytest.mark.tried("faults in runs", "an older checkpoint of a finished training damaged", "it is removed")
def test_a_damaged_older_checkpoint_goes(stage: Path, whole: tuple[Path, Subject]) -> None:
    flip(stage / "checkpoint-6" / "optimizer.safetensors")
    assert train(stage, whole[1])[0] == read_summary(whole[0])
    assert [path.name for path in checkpoints(stage)] == ["checkpoint-9"]


@pytest.mark.tried(
    "faults in runs", "a checkpoint of a newer version", "one sentence; nothing is removed", "nothing: update headbench"
)
def test_a_checkpoint_of_a_newer_version_is_no_damage(stage: Path, whole: tuple[Path, Subject]) -> None:
    edited(stage / "checkpoint-9" / "state.json", format=3)
    (stage / "summary.json").unlink()
    with pytest.raises(BenchError, match=r"found checkpoint format 3, this version reads up to 2"):
        train(stage, whole[1])
    assert [path.name for path in checkpoints(stage)] == ["checkpoint-6", "checkpoint-9"]


def test_checkpoints_of_format_1_have_no_hashes_and_go_on(stage: Path, whole: tuple[Path, Subject]) -> None:
    for checkpoint in checkpoints(stage):
        values = json.loads((checkpoint / "state.json").read_text())
        for name in ("seal", "sha256", "log", "notes", "machine"):
            del values[name]
        (checkpoint / "state.json").write_text(json.dumps({**values, "format": 1}))
    cut(stage / "checkpoint-9" / "model.safetensors")
    (stage / "summary.json").unlink()
    summary, _ = train(stage, whole[1])
    assert "model.safetensors is cut" in summary.notes[-1]
    assert results(stage)["model.safetensors"] == results(whole[0])["model.safetensors"]


def test_a_checkpoint_of_another_cell_is_refused(stage: Path, whole: tuple[Path, Subject]) -> None:
    edited(stage / "checkpoint-9" / "state.json", about={**ABOUT, "subject": "somebody"})
    (stage / "summary.json").unlink()
    with pytest.raises(BenchError, match=r"is of another cell: .*somebody"):
        train(stage, whole[1])


@pytest.mark.tried("faults in runs", "weights altered after training", "`bench render` refuses them by their hash")
def test_altered_weights_are_not_shown(stage: Path) -> None:
    flip(stage / "checkpoint-9" / "model.safetensors")
    with pytest.raises(BenchError, match=r"model\.safetensors: found a file with another SHA-256"):
        load_portrait(stage / "checkpoint-9")


@pytest.mark.tried(
    "faults in runs", "half a line at the end of metrics.jsonl, or no text", "the lines up to the checkpoint stay"
)
def test_half_a_line_of_the_log_goes(stage: Path, whole: tuple[Path, Subject]) -> None:
    shutil.rmtree(stage / "checkpoint-9")
    (stage / "summary.json").unlink()
    with (stage / "metrics.jsonl").open("ab") as log:
        log.write(b'null\n[]\n{"step": "x"}\n\xff\xfe\n{"step": 10, "lo')
    train(stage, whole[1])
    assert results(stage) == results(whole[0])


@pytest.mark.tried(
    "faults in runs", "a power cut while a checkpoint is written", "the disk has tensors before the state file"
)
def test_tensors_are_on_the_disk_before_the_state_file(
    tmp_path: Path, whole: tuple[Path, Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    train(tmp_path / "train", whole[1])
    first = synced.index("model.safetensors")
    state, folder, stage = synced[first + 2 : first + 5]
    assert synced[first + 1] == "optimizer.safetensors" and state.startswith(".state.json.")
    assert folder.startswith(".checkpoint-3.") and stage == "train"
