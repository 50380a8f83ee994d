"""The switch of the GPU kernels: which are used by default, and what turns them on and off."""

import pytest
import torch

from headbench.harness.errors import BenchError
from headbench.harness.kernels import KERNELS, SWITCH, chosen, kernels


def test_the_switch_turns_kernels_on_and_off_and_names_what_it_does_not_know(monkeypatch) -> None:
    defaults = {name for name, (_, default) in KERNELS.items() if default}
    assert chosen("") == defaults
    assert "ssim" in defaults
    assert chosen("0") == set()
    assert chosen("-ssim, -lpips") == defaults - {"ssim", "lpips"}
    assert chosen(",".join(f"+{name}" for name in KERNELS)) == set(KERNELS)
    with pytest.raises(BenchError, match=r"HEADBENCH_KERNELS='-sim': .*Did you mean 'ssim'"):
        chosen("-sim")
    with pytest.raises(BenchError, match="'ssim' has no sign"):
        chosen("ssim")
    monkeypatch.setenv(SWITCH, "+ssim")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert kernels("ssim", torch.device("cpu")) is None, "a CPU computes in plain torch"
