"""The switch of the GPU kernels: which are used by default, what turns them on and off, and on which GPU they start."""

import pytest
import torch

from headbench.harness.device import resolve_device
from headbench.harness.errors import BenchError
from headbench.harness.kernels import KERNELS, SWITCH, chosen, kernels, make_current


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


def test_a_misspelt_kernel_is_an_error_on_a_cpu_too(monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "+skining")
    known = r"Available: activation, adam, .*, ssim\.$"
    words = rf"^HEADBENCH_KERNELS='\+skining': Unknown kernel 'skining'. .* 'skinning'. {known}"
    with pytest.raises(BenchError, match=words):
        kernels("ssim", torch.device("cpu"))
    with pytest.raises(BenchError, match=words):
        resolve_device("cpu")


def test_the_gpu_of_the_tensors_becomes_the_current_one(monkeypatch) -> None:
    current = [0]
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.append(device.index))
    for name in ("cpu", "cuda:0", "cuda", "cuda:1", "cuda:1"):
        make_current(torch.device(name))
    assert current == [0, 1], "it is set where it is another one"
    monkeypatch.setenv(SWITCH, "0")
    assert kernels("ssim", torch.device("cuda", 2)) is None
    assert current == [0, 1, 2], "torch's streams are asked for on the same one"
