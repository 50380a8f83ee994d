"""Features of targets that are kept are those that would be computed, and are kept only where targets stay the same."""

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from headbench.harness.blocks.perceptual import LpipsLoss, VggLoss
from headbench.harness.errors import BenchError
from headbench.harness.train import loop
from headbench.harness.train.graph_recorder import GraphRecorder
from headbench.harness.train.shares import SPARE_ROWS, TARGET_FEATURES, share
from headbench.harness.train.target_features import KeptTargets
from headbench.harness.types import Batch, Clock, PosedAvatar, Rendering
from headbench.testing.training import watch


@pytest.fixture
def looking(cloud: type, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[dict[str, torch.Tensor], list[int]]]:
    """looking(config, subject, share, …) trains an avatar whose loss looks at features, recorded by plain calls.

    Returns the parameters after it, and the step of each look at targets.
    """
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(2))

    def features(image: torch.Tensor) -> list[torch.Tensor]:
        found = functional.conv2d(image.contiguous(memory_format=torch.channels_last), weight, padding=1)
        return [found, found.contiguous()[:, :, ::2, ::2].half()]

    def train(config, subject, share: float, key: Callable[[Clock], object] = lambda clock: "same", weigh=False):
        looks: list[int] = []

        def losses(self, posed: PosedAvatar, rendering: Rendering, batch: Batch, clock: Clock):
            def look() -> list[torch.Tensor]:
                looks.append(clock.step)
                return features(batch.image)

            theirs = look() if batch.kept is None else batch.kept("toy", look)
            pairs = zip(features(rendering.image), theirs, strict=True)
            return {"toy": sum((a.float() - b.float()).abs().mean() for a, b in pairs)}

        kind = type("Looking", (cloud,), {"losses": losses, "capture_key": lambda self, clock: key(clock)})
        shares = {TARGET_FEATURES: share}
        monkeypatch.setattr("headbench.harness.train.setup.share", lambda name, device: shares.get(name, 0.0))
        weighted = lambda batch, rendering: Batch(**{**vars(batch), "weight": batch.alpha})  # noqa: E731
        real = loop._weighted
        monkeypatch.setattr(loop, "_weighted", lambda b, r: real(weighted(b, r) if weigh else b, r))
        watched = watch(kind, config, subject, "cloud", record=True)
        monkeypatch.setattr(loop, "_weighted", real)
        return watched.end, looks

    return train


STEPS = {2, 4, 5, 7, 9, 10, 12}
"""Images drawn by the end of each step of two images; the first epoch ends with the third."""


def settings(cloud_config, background: str = "white", batch: int = 2):
    """Steps of two images of five frames, and of one at the end of an epoch, up to twelve images; see `STEPS`."""
    train = cloud_config.train.model_copy(update={"steps": 12, "batch": batch, "background": background})
    return cloud_config.model_copy(update={"train": train})


def test_kept_features_change_nothing_and_are_computed_once_per_frame(looking, cloud_config, made_subject) -> None:
    config, subject = settings(cloud_config), made_subject()
    computed, all_looks = looking(config, subject, 0.0)
    kept, looks = looking(config, subject, 1.0)
    assert set(all_looks) == STEPS
    assert set(looks) == {2, 4, 5}, "in the first epoch"
    assert computed.keys() == kept.keys()
    assert all(torch.equal(value, kept[name]) for name, value in computed.items())
    crowded, again = looking(config, subject, 1e-6)
    assert set(again) == STEPS, "where memory does not suffice nothing is kept"
    assert all(torch.equal(value, crowded[name]) for name, value in computed.items())


def test_losses_of_another_kind_compute_their_features_anew(looking, cloud_config, made_subject) -> None:
    def key(clock: Clock) -> object:
        return clock.step > 6

    computed, _ = looking(settings(cloud_config, batch=1), made_subject(), 0.0, key)
    kept, looks = looking(settings(cloud_config, batch=1), made_subject(), 1.0, key)
    assert set(looks) - {11, 12} == {1, 2, 3, 4, 5, 7, 8, 9, 10}, "the frame of step 6 comes again in the third epoch"
    assert all(torch.equal(value, kept[name]) for name, value in computed.items())


def test_nothing_is_kept_of_targets_that_change(looking, cloud_config, made_subject) -> None:
    """On random backgrounds, where weights move the target to the render, and without a recording."""
    config, subject = settings(cloud_config), made_subject()
    assert set(looking(settings(cloud_config, "random"), subject, 1.0)[1]) == STEPS
    assert set(looking(config, subject, 1.0, weigh=True)[1]) == STEPS
    assert set(looking(config, subject, 1.0, key=lambda clock: None)[1]) == STEPS


@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_losses_of_kept_features_are_those_of_images_to_the_bit(precision: torch.dtype, monkeypatch) -> None:
    generator = torch.Generator().manual_seed(1)
    weights, inside = {}, 3
    for layer in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28):
        weights[f"features.{layer}.weight"] = torch.randn(4, inside, 3, 3, generator=generator) * 0.4
        weights[f"features.{layer}.bias"] = torch.randn(4, generator=generator) * 0.1
        inside = 4
    for index in range(5):
        weights[f"lin{index}.weight"] = torch.rand(1, 4, 1, 1, generator=generator)
    images, targets = torch.rand(2, 3, 3, 64, 66, generator=generator)
    mask = (torch.rand(3, 1, 64, 66, generator=generator) > 0.5).float()
    rows = torch.tensor([2, 0, 1])
    for loss, more in (
        (LpipsLoss(weights=weights), (mask,)),
        (LpipsLoss(weights=weights), ()),
        (VggLoss("float32", weights), ()),
    ):
        network = loss.load(images.device)
        network._dtype = precision
        network.network.to(precision)
        store = KeptTargets(3, 1.0)
        found = []
        for kept in (None, store.reader(rows, fill=True), store.reader(rows, fill=False)):
            leaf = images.clone().requires_grad_()
            value = loss(leaf, targets, *more, kept=kept)
            found.append((value.detach(), *torch.autograd.grad(value, leaf)))
        assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
        one = loss(images[:1], targets[:1], *(m[:1] for m in more), kept=store.reader(rows[:1], fill=False))
        torch.testing.assert_close(one, loss(images[:1], targets[:1], *(m[:1] for m in more)))


@pytest.mark.gpu
def test_recorded_graphs_keep_and_read_the_rows_that_their_index_holds() -> None:
    images = torch.rand(5, 3, 16, 18, device="cuda")
    weight = torch.randn(8, 3, 3, 3, device="cuda").half()
    index, out = torch.tensor([0, 1], device="cuda"), torch.zeros(2, 8, 16, 18, device="cuda", dtype=torch.half)
    kept, recorder = KeptTargets(5, 1e-3), GraphRecorder(images.device)

    def features() -> list[torch.Tensor]:
        chosen = images.index_select(0, index).half().contiguous(memory_format=torch.channels_last)
        return [functional.conv2d(chosen, weight, padding=1)]

    def step(fill: bool) -> None:
        out.copy_(kept.reader(index, fill)("toy", features)[0])

    recorder.warm_up(lambda: step(True))
    filling = recorder.record(lambda: step(True))
    expected = {}
    for rows in ([0, 1], [2, 3], [4, 0]):
        index.copy_(torch.tensor(rows))
        filling()
        expected.update(zip(rows, out.clone(), strict=True))
    assert kept.fits
    reading = recorder.record(lambda: step(False))
    for rows in ([3, 1], [2, 4], [0, 3]):
        index.copy_(torch.tensor(rows))
        reading()
        assert all(torch.equal(found, expected[row]) for row, found in zip(rows, out, strict=True))


@pytest.mark.parametrize("variable", [TARGET_FEATURES, SPARE_ROWS])
def test_a_share_is_a_number_and_none_on_a_cpu(variable: str, monkeypatch) -> None:
    monkeypatch.delenv(variable, raising=False)
    assert share(variable, torch.device("cuda")) == 0
    monkeypatch.setenv(variable, "0.4")
    assert (share(variable, torch.device("cuda")), share(variable, torch.device("cpu"))) == (0.4, 0)
    for wrong in ("much", "1.5", "nan"):
        monkeypatch.setenv(variable, wrong)
        with pytest.raises(BenchError, match=f"{variable}='{wrong}': expected a share from 0 to 1"):
            share(variable, torch.device("cuda"))
