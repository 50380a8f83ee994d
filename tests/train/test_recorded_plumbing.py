"""A recorded step that refines frame parameters, without a GPU: `check_method` looks at all others."""

from collections.abc import Callable

import torch

from headbench.harness.plugins import registry
from headbench.harness.types import Subject
from headbench.testing.small import small_config
from headbench.testing.training import watch


def test_recorded_and_plain_training_refine_the_same_parameters(made_subject: Callable[..., Subject]) -> None:
    name, subject = "GaussianAvatars", made_subject(frames=3)
    kind = registry().load_method(name)
    tiny = small_config(registry().method(name), kind)
    tuned = {**tiny.train.model_dump(), "steps": 4, "finetune": {"rates": {"expression": 1e-3}}}
    config = kind.config_type.model_validate({**tiny.model_dump(), "train": tuned})
    plain, recorded = (watch(kind, config, subject, name, record).end for record in (False, True))
    assert plain.keys() == recorded.keys() and "tables.expression" in plain
    for key, value in plain.items():
        # Not bit for bit: where a parameter has gradients from several sides, they are summed in another order.
        torch.testing.assert_close(recorded[key], value, rtol=1e-4, atol=1e-5)
    tracked = torch.cat([frame.params.expression for frame in subject.train])
    assert 1e-3 < float((plain["tables.expression"] - tracked).abs().max()) <= 4e-3, "up to a rate per step"
