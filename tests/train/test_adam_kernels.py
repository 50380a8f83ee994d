"""Adam in one launch is Adam by formula and torch's own, through edits and resumptions; on a GPU, or interpreted."""

import os
from collections.abc import Callable, Iterable
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch

from headbench.harness.kernels import SWITCH
from headbench.harness.train.adam import Adam
from headbench.harness.train.graph_recorder import GraphRecorder
from headbench.harness.train.one_launch import OneLaunch, Tables
from headbench.harness.train.optimizer import AvatarOptimizer, Reach
from headbench.harness.types import Clock, Edit
from headbench.testing.training import watch

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
GROUPS = [((0.9, 0.999), 1e-8, 1e-3), ((0.5, 0.95), 1e-15, 0.3), ((0.0, 0.99), 1e-4, 1e-2)]
SHAPES = [(), (1,), (1023,), (1024,), (1025,), (3, 5, 97), (0, 4)]


@pytest.fixture(autouse=True)
def _on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "+adam")


@pytest.fixture
def adams() -> list[Adam]:
    """One Adam per group, each over tensors of all shapes, some of which have taken steps before."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for betas, eps, rate in GROUPS:
        tensors = [torch.randn(shape, generator=generator).to(DEVICE).requires_grad_() for shape in SHAPES]
        lr = torch.tensor(rate, device=DEVICE)
        made.append(Adam(tensors, lr=lr, betas=betas, eps=eps))
    give_gradients(made, 0)
    made[1].step()
    return made


def give_gradients(adams: Iterable[Adam | torch.optim.Adam], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for adam in adams:
        for number, p in enumerate(adam.param_groups[0]["params"]):
            scale = 10.0 ** (-4 * (number % 3))  # down to gradients whose squares are near eps
            p.grad = (scale * torch.randn(p.shape, generator=generator)).to(p.device)


def exact(p: torch.Tensor, state: dict[str, torch.Tensor], group: int) -> list[torch.Tensor]:
    """Parameter and moments after a step by the formula in float64; the rate as float32 has it."""
    (b1, b2), eps, rate = GROUPS[group]
    rate = float(torch.tensor(rate))
    mean, square, step = (state[k].double() if state else torch.zeros(()) for k in ("exp_avg", "exp_avg_sq", "step"))
    g, t = p.grad.double(), float(step) + 1
    mean, square = b1 * mean + (1 - b1) * g, b2 * square + (1 - b2) * g * g
    below = (square / (1 - b2**t)).sqrt() + eps
    return [p.detach().double() - rate / (1 - b1**t) * mean / below, mean, square]


@pytest.mark.gpu
def test_one_launch_is_the_formula_to_a_few_roundings(adams: list[Adam]) -> None:
    """A parameter within two units in its last place and 6e-7 of the update; a moment within 3e-7."""
    one_launch = OneLaunch()
    for seed in range(1, 4):
        give_gradients(adams, seed)
        adams[2].param_groups[0]["params"][0].grad = None
        pairs = [(a, i, p) for i, a in enumerate(adams) for p in a.param_groups[0]["params"]]
        expected = [exact(p, a.state[p], i) if p.grad is not None else [p.detach().double()] for a, i, p in pairs]
        before = [p.detach().double() for _, _, p in pairs]
        tables = one_launch.tables(adams, recording=False)
        tables.update()
        assert one_launch.tables(adams, recording=True) is tables, "a recording finds what the step before it made"
        for (adam, _, p), (value, *moments), old in zip(pairs, expected, before, strict=True):
            allowed = 6e-7 * (value - old).abs() + 2.4e-7 * value.abs()
            assert bool(((p.detach().double() - value).abs() <= allowed).all())
            for moment, key in zip(moments, ("exp_avg", "exp_avg_sq"), strict=False):
                scale = moment.abs() + (p.grad.double().abs() if key == "exp_avg" else 0)
                assert bool(((adam.state[p][key].double() - moment).abs() <= 3e-7 * scale).all())
    assert len(adams[2].state[adams[2].param_groups[0]["params"][0]]) == 0, "without a gradient nothing moves"
    assert [float(a.state[a.param_groups[0]["params"][1]]["step"]) for a in adams] == [3, 4, 3]


@pytest.mark.gpu
def test_one_launch_is_torchs_fused_adam(adams: list[Adam]) -> None:
    """Torch may round betas to float32 first, which is 2e-5 of a second moment."""
    copies = []
    for adam, (betas, eps, rate) in zip(adams, GROUPS, strict=True):
        tensors = [p.detach().clone().requires_grad_() for p in adam.param_groups[0]["params"]]
        lr = torch.tensor(rate, device=DEVICE)
        copies.append(torch.optim.Adam(tensors, lr=lr, betas=betas, eps=eps, fused=True))
        for p, q in zip(adam.param_groups[0]["params"], tensors, strict=True):
            copies[-1].state[q] = deepcopy(adam.state[p])
    one_launch = OneLaunch()
    for seed in range(1, 6):
        give_gradients(adams, seed)
        give_gradients(copies, seed)
        one_launch.tables(adams, recording=False).update()
        for copy in copies:
            copy.step()
    near = 1e-6 if DEVICE == "cpu" else 2e-5
    for adam, copy in zip(adams, copies, strict=True):
        for p, q in zip(adam.param_groups[0]["params"], copy.param_groups[0]["params"], strict=True):
            rate = float(adam.param_groups[0]["lr"])
            torch.testing.assert_close(p.detach(), q.detach(), rtol=1e-6, atol=10 * near * rate)
            for key in ("step", "exp_avg", "exp_avg_sq"):
                value, expected = adam.state[p][key], copy.state[q][key]
                largest = float(expected.abs().max()) if expected.numel() else 0.0
                torch.testing.assert_close(value, expected, rtol=near, atol=1e-6 * largest)


@pytest.mark.gpu
def test_what_the_kernel_cannot_do_is_left_to_torch(adams: list[Adam], monkeypatch) -> None:
    one_launch, (adam, *_) = OneLaunch(), adams
    give_gradients(adams, 1)
    assert one_launch.tables(adams, recording=True) is None, "tables come from the host, which a recording cannot ask"
    assert one_launch.tables(adams, recording=False) is not None
    first = adam.param_groups[0]["params"][5]
    first.grad = first.grad.transpose(0, 1).contiguous().transpose(0, 1)
    assert one_launch.tables(adams, recording=False) is None
    give_gradients(adams, 1)
    adam.param_groups[0]["lr"] = 1e-3
    assert one_launch.tables(adams, recording=False) is None
    monkeypatch.setenv(SWITCH, "-adam")
    assert one_launch.tables(adams[1:], recording=False) is None, "it is turned off"


@pytest.mark.gpu
def test_edits_resumptions_schedules_and_limited_reach_are_as_with_torch(cloud: Callable, monkeypatch) -> None:
    ends = []
    for switch in ("-adam", "+adam"):
        monkeypatch.setenv(SWITCH, switch)
        avatar = cloud(600).to(DEVICE)
        optimizer = AvatarOptimizer(avatar, "cloud", batch=2, rule="sqrt")
        used = []
        for step in range(1, 9):
            generator = torch.Generator().manual_seed(step)
            for p in avatar.parameters():
                p.grad = torch.randn(p.shape, generator=generator).to(DEVICE)
            optimizer.set_rates(Clock(step, 1, 100, 100), 0.5 if step > 6 else 1.0)
            rows = torch.arange(len(avatar.table), device=DEVICE) < 9
            reach = {2: Reach(shared=False), 3: Reach(make=lambda rows=rows: rows)}.get(step)
            used.append(optimizer.replayed_step(reach) is not None)
            if step == 4:
                keep = torch.arange(600, device=DEVICE) % 3 > 0
                new = {"xyz": torch.ones(70, 3), "opacity": torch.zeros(70), "colour": torch.zeros(70, 3)}
                new = {name: value.to(DEVICE) for name, value in new.items()}
                assert optimizer.apply(Edit(keep=keep, append=new, zero_moments=("colour",)))
            if step == 5:
                state = {key: value.clone() for key, value in optimizer.state().items()}
                optimizer = AvatarOptimizer(avatar, "cloud", batch=2, rule="sqrt")
                optimizer.load(state)
        assert used == [switch == "+adam" and step != 3 for step in range(1, 9)]
        ends.append({**dict(avatar.named_parameters()), **optimizer.state()})
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name].detach(), value.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_tables_are_made_without_a_change(adams: list[Adam]) -> None:
    give_gradients(adams, 1)
    one_launch = OneLaunch()
    assert one_launch.tables(adams, recording=False) is not None, "all moments are there"
    now = [p for adam in adams for p in adam.param_groups[0]["params"]]
    now += [value for adam in adams for state in adam.state.values() for value in state.values()]
    before = [value.detach().clone() for value in now]
    one_launch.prepare(adams)
    assert all(torch.equal(value, old) for value, old in zip(now, before, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE == "cpu", reason="CUDA graphs need a GPU")
def test_a_replayed_cuda_graph_reads_rates_and_gradients_where_they_lie(cloud: Callable, monkeypatch) -> None:
    ends = []
    for switch in ("-adam", "+adam"):
        monkeypatch.setenv(SWITCH, switch)
        avatar = cloud(3000).to(DEVICE)
        optimizer, recorder = AvatarOptimizer(avatar, "cloud"), GraphRecorder(torch.device(DEVICE))
        gradients = [torch.zeros_like(p) for p in avatar.parameters()]
        replay, kept = None, []
        for step in range(1, 6):
            generator = torch.Generator().manual_seed(step)
            for p, gradient in zip(avatar.parameters(), gradients, strict=True):
                gradient.copy_(torch.randn(p.shape, generator=generator))
                p.grad = gradient
            optimizer.set_rates(Clock(step, 1, 100, 100))
            if step == 1:
                optimizer.replayed_step()
                replay = recorder.record(lambda: kept.append(optimizer.replayed_step()))  # noqa: B023
                continue
            replay()
        assert (kept[0] is not None) == (switch == "+adam")
        ends.append({**dict(avatar.named_parameters()), **optimizer.state()})
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name].detach(), value.detach(), rtol=2e-5, atol=1e-6)


def test_a_recording_finds_the_tables_of_the_gradients_that_it_reads(monkeypatch) -> None:
    launched: list[torch.Tensor] = []
    module = SimpleNamespace(BLOCK=1024, update_all=lambda work, addresses, constants: launched.append(addresses))
    monkeypatch.setattr("headbench.harness.train.one_launch.kernels", lambda name, device: module)
    values = [torch.zeros(5).requires_grad_(), torch.zeros(2000).requires_grad_()]
    adam, one_launch = Adam(values, lr=torch.tensor(0.1)), OneLaunch()
    for value in values:
        value.grad = torch.ones_like(value)
    assert one_launch.tables([adam], recording=True) is None, "nothing is copied from the host while it records"
    one_launch.prepare([adam])
    (own,) = launched
    touched = set(own.flatten().tolist())
    assert not touched & {value.data_ptr() for value in values}, "what loads the kernel changes nothing else"
    tables = one_launch.tables([adam], recording=True)
    assert tables is not None
    assert tables.addresses[:, 1].tolist() == [value.grad.data_ptr() for value in values]
    assert tables.addresses[:, 0].tolist() == [value.data_ptr() for value in values]
    held = [value.grad for value in values]  # so that the next ones lie elsewhere
    for value in values:
        value.grad = torch.ones_like(value)
    assert one_launch.tables([adam], recording=True) is None
    assert len(held) == 2


@pytest.mark.gpu
@pytest.mark.skipif(DEVICE != "cpu", reason="recorded by plain calls; as CUDA graphs: test_recorded_steps_gpu.py")
def test_a_recorded_training_ends_as_with_torch(cloud, cloud_config, made_subject, monkeypatch) -> None:
    recorded = type("Recorded", (cloud,), {"capture_key": lambda self, clock: "same"})
    ends, made = [], []
    monkeypatch.setattr(Tables, "update", lambda self, real=Tables.update: made.append(self) or real(self))
    for switch in ("-adam", "+adam"):
        monkeypatch.setenv(SWITCH, switch)
        ends.append(watch(recorded, cloud_config, made_subject(frames=3), "cloud", record=True))
    assert len(made) == 4, "every step of the second training is one launch"
    assert ends[0].counts == ends[1].counts
    for key, value in ends[0].end.items():
        torch.testing.assert_close(ends[1].end[key], value, rtol=1e-5, atol=1e-6)
