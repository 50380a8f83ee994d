"""What the stages do to the buffer `colour` of the tests' method."""

import os
import signal
from pathlib import Path

import torch

from headbench.harness.avatar import Section
from headbench.harness.stage import Stage, input_file


class TintConfig(Section):
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    steps: int = 4
    swatch: Path | None = input_file(description="three numbers, instead of colour")


class Tint(Stage):
    config_type = TintConfig

    def run(self, work):
        portrait = work.parent.portrait
        assert work.subject.test == () and len(work.data.frames) == len(work.subject.train) > 0
        found = work.resume(portrait)
        done = found[0] if found is not None else 0
        swatch = work.inputs.get("swatch")
        colour = [float(part) for part in swatch.read_text().split()] if swatch else work.config.colour
        colour = torch.tensor(colour)[:, None, None]
        for step in range(done + 1, work.config.steps + 1):
            portrait.colour.lerp_(colour, 0.25)
            work.save(portrait, step, {"step": torch.tensor(step)})
            work.progress({"step": step, "total": work.config.steps})
            if step == int(os.environ.get("TINTS_DIE_AT", "0")):
                os.kill(os.getpid(), signal.SIGKILL)
        return portrait


class Invert(Stage):
    def run(self, work):
        portrait = work.parent.portrait
        portrait.colour.neg_().add_(1)
        return portrait
