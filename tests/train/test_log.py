"""metrics.jsonl: means since the last line, each step once after a resume, and no silent NaN."""

import json
from pathlib import Path

import pytest
import torch

from headbench.harness.errors import BenchError
from headbench.harness.train.log import TrainLog
from headbench.harness.types import Clock


def lines(stage: Path) -> list[dict]:
    return [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]


def test_a_line_holds_means_since_the_last_line(tmp_path: Path) -> None:
    seen: list[dict] = []
    log = TrainLog(tmp_path, 2, 0, lambda entry: seen.append(dict(entry)), False)
    for step in range(1, 6):
        log.add({"l1": torch.tensor(float(step)), "vgg": torch.tensor(1.0)}, Clock(step, 1, 5, 5), 10 * step)
    assert [(e["step"], e["l1"], e["loss"], e["gaussians"]) for e in lines(tmp_path)] == [
        (2, 1.5, 2.5, 20),
        (4, 3.5, 4.5, 40),
        (5, 5.0, 6.0, 50),
    ]
    assert [e["total"] for e in seen] == [5, 5, 5]
    assert seen[-1]["eta"] == 0


def test_a_resumed_log_drops_lines_after_the_checkpoint_and_one_cut_short(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 50}\n{"step": 100}\n{"step": 150}\n{"ste')
    TrainLog(tmp_path, 50, 100, None, False)
    assert [e["step"] for e in lines(tmp_path)] == [50, 100]


def test_a_term_that_is_not_finite_stops_training_and_is_named(tmp_path: Path) -> None:
    log = TrainLog(tmp_path, 1, 0, None, False)
    with pytest.raises(BenchError, match=r"'vgg'.*step 3"):
        log.add({"l1": torch.tensor(1.0), "vgg": torch.tensor(float("nan"))}, Clock(3, 1, 5, 5), 1)


@pytest.mark.slow
@pytest.mark.tried(
    "damaged inputs",
    "a loss that is not finite",
    survives="the step and the frames it drew, and those of the one before",
)
def test_the_frames_of_the_first_step_that_is_not_finite_are_named(tmp_path: Path) -> None:
    log = TrainLog(tmp_path, 5, 0, None, False)
    with pytest.raises(BenchError) as told:
        for step in range(1, 11):
            value = float("inf") if step == 8 else 0.1
            log.add({"l1": torch.tensor(0.1), "vgg": torch.tensor(value)}, Clock(step, 1, 5, 50), 1, (f"{step:05d}",))
    assert [e["step"] for e in lines(tmp_path)] == [5]
    assert "['vgg'] are not finite since step 8, which drew frame 00008 (the step before it: 00007)" in str(told.value)
