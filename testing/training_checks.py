"""Checks of a method's training: its steps, its edits, resuming after a cut, saving and loading."""

from __future__ import annotations

import torch

from headbench.harness.session.inference import recorded
from headbench.harness.train import load_portrait
from headbench.testing.case import Case, finite, picture, shown, unequal
from headbench.testing.failure import require
from headbench.testing.spare_rows import require_idle_spare_rows
from headbench.testing.training import PlainRecorder, stage, watch

__all__ = [
    "check_batch",
    "check_edit",
    "check_gradient",
    "check_layouts",
    "check_load",
    "check_recorded",
    "check_resume",
    "check_step",
    "check_test_images",
]


def check_step(case: Case) -> str:
    """Check that training takes all its steps with finite losses, and that renders come nearer to the images."""
    if not case.trained:
        require(len(case.staged.steps) == 0, "no training steps of what is no Avatar", f"{len(case.staged.steps)}")
        return "nothing to train"
    plain = case.plain
    require(len(plain.losses) > 2, "a preset of more than 2 steps", f"{len(plain.losses)}")
    bad = [k for k, loss in enumerate(plain.losses, start=1) if loss != loss or abs(loss) == float("inf")]
    require(not bad, "finite losses", f"NaN or infinity in step {bad[0] if bad else 0}")
    finite(plain.avatar, "after training")
    best = min(plain.errors[1:])
    require(
        best < plain.errors[0],
        "renders of training frames to come nearer to their images",
        f"a mean difference of {plain.errors[0]:.4f} before and of {best:.4f} at best after",
    )
    return f"{len(plain.losses)} steps, difference from the images {plain.errors[0]:.3f} to {best:.3f}"


def check_batch(case: Case) -> str:
    """Check that steps of two images, with a short last one per epoch, train as steps of one do."""
    if not case.trained:
        return "nothing to train"
    train = {**case.config.train.model_dump(), "steps": 6, "epochs": None, "batch": 2}
    config = type(case.config).model_validate({**case.config.model_dump(), "train": train})
    seen = watch(case.kind, config, case.subject, case.spec.name)
    require(len(seen.losses) == 4, "4 steps for 6 images of 3 frames, 2 at a time", f"{len(seen.losses)}")
    finite(seen.avatar, "after steps of two images")
    nearer = min(seen.errors[1:]) < seen.errors[0]
    require(nearer, "renders to come nearer to their images by steps of two images", "none that did")
    return ""


def check_edit(case: Case) -> str:
    """Check that edits fit the table and that training goes on after them."""
    if not case.trained:
        return "nothing to train"
    plain = case.plain
    require(min(plain.counts) > 0, "Gaussians to be left after every edit", "none")
    lengths = {name: len(plain.avatar.table[name]) for name in plain.avatar.table.names()}
    require(set(lengths.values()) == {plain.counts[-1]}, "columns of one length", f"{lengths}")
    rows = f", {plain.counts[0]:,} to {plain.counts[-1]:,} Gaussians" if len(set(plain.counts)) > 1 else ""
    return f"{len(plain.edits)} edits{rows}" if plain.edits else "no edit in this preset"


def check_gradient(case: Case) -> str:
    """Check that each parameter with a rate above 0 gets a gradient in some step; a rate of 0 declares it frozen."""
    if not case.trained:
        return "nothing to train"
    plain = case.plain
    frozen = {name for name, rate in plain.rates.items() if rate == 0}
    left = sorted(key for key, most in plain.reached.items() if most == 0 and key.partition("/")[0] not in frozen)
    require(not left, "a gradient in every group whose rate is above 0", f"none in {', '.join(left)}")
    bad = sorted(key for key, most in plain.reached.items() if most != most or most == float("inf"))
    require(not bad, "finite gradients", f"NaN or infinity in {', '.join(bad)}")
    return f"{len(plain.rates)} groups" + (f", frozen: {', '.join(sorted(frozen))}" if frozen else "")


def check_recorded(case: Case) -> str:
    """Check that steps and renders that are recorded, without CUDA graphs, end as unrecorded ones do."""
    if not case.trained:
        return "nothing to record"
    plain = case.plain
    if not plain.recordable:
        return "never recorded: capture_key() gives None"
    found = watch(case.kind, case.config, case.subject, case.spec.name, record=True)
    for name, value in plain.end.items():
        other = found.end[name]
        require(other.shape == value.shape, f"{name} {tuple(value.shape)} as by plain steps", f"{tuple(other.shape)}")
        # Not bit for bit: where a parameter has gradients from several sides, they are summed in another order.
        off = (other.double() - value.double()).abs() - 1e-4 * value.double().abs()
        require(not bool((off > 1e-5).any()), f"{name} as by plain steps", "other values")
    frame = case.subject.train[0]
    quick = recorded(plain.avatar, torch.device("cpu"), PlainRecorder(torch.device("cpu")))
    twice = [picture(quick, each) for each in (case.subject.train[1], frame)][-1]
    require(
        torch.equal(twice, picture(plain.avatar, frame)), "a recorded render to equal a plain one", "another picture"
    )
    if plain.avatar.spare_row() is not None:
        require_idle_spare_rows(case)
    return ""


def check_resume(case: Case) -> str:
    """Check that a training that was cut off and resumed ends bit-equal to one that was not."""
    if not case.trained:
        return "nothing to train"
    whole = case.staged
    again = stage(case.scratch / "whole-cut", case.kind, case.config, case.subject, case.about)
    begins = case.steps // 3 + 1
    require(again.steps[:1] == (begins,), f"to go on with step {begins}", f"step {again.steps[:1]}")
    require(whole.checkpoint.name == again.checkpoint.name, whole.checkpoint.name, again.checkpoint.name)
    names = sorted(path.name for path in whole.checkpoint.glob("*.safetensors"))
    for name in names:
        ours, theirs = (folder / name for folder in (whole.checkpoint, again.checkpoint))
        alike = theirs.is_file() and ours.read_bytes() == theirs.read_bytes()
        require(alike, f"{name} of a resumed training as of one that was left alone", "other values")
    return f"from step {begins} of {case.steps}"


def check_load(case: Case) -> str:
    """Check that a checkpoint rebuilds the portrait without the dataset."""
    loaded = load_portrait(case.staged.checkpoint, "cpu", case.kind)
    frame = case.subject.test[0]
    image = picture(loaded.portrait, frame)
    shown(image, frame)
    again = load_portrait(case.staged.checkpoint, "cpu", case.kind)
    require(torch.equal(picture(again.portrait, frame), image), "equal renders of one checkpoint", "others")
    if case.trained and not loaded.config.train.finetune.rates:
        other = unequal(loaded.portrait.state_dict(), case.plain.avatar.state_dict())
        require(not other, "the trained tensors in the checkpoint", f"others of {', '.join(other)}")
        alike = torch.equal(picture(case.plain.avatar.eval(), frame), image)
        require(
            alike, "the trained portrait and its checkpoint to show the same", "another picture of the same tensors"
        )
    for name in loaded.config.train.finetune.rates:
        if "." not in name:
            tracked = torch.cat([getattr(frame.params, name) for frame in case.subject.train])
            refined = loaded.frames.get(name)
            require(refined is not None, f"refined {name} of training frames beside the model", "none")
            assert refined is not None
            require(not torch.equal(refined, tracked), f"{name} of training frames to be refined", "the tracked values")
    require(loaded.portrait.count() == (case.plain.counts[-1] if case.trained else 0), "as many Gaussians", "others")
    return ""


def check_test_images(case: Case) -> str:
    """Check that neither training nor rendering opens the image of a test frame."""
    frame = case.subject.test[0]
    picture(load_portrait(case.staged.checkpoint, "cpu", case.kind).portrait, frame)
    opened = case.watching.opened
    require(
        not opened, "no test image to be opened in training and rendering", f"that of frame {', '.join(opened[:1])}"
    )
    return ""


def check_layouts(case: Case) -> str:
    """Check two steps and a render of a synthetic subject that was read through each dataset's layout."""
    train = {**case.config.train.model_dump(), "epochs": None, "batch": 1, "resolution": None}
    train["steps"] = 2 if case.trained else 0
    config = type(case.config).model_validate({**case.config.model_dump(), "train": train})
    for name, subject in case.layouts.items():
        about = {**case.about, "dataset": name, "subject": subject.name}
        made = stage(case.scratch / f"on-{name}", case.kind, config, subject, about)
        frame = (subject.test or subject.train)[-1]
        image = picture(load_portrait(made.checkpoint, "cpu", case.kind).portrait, frame)
        shown(image, frame)
    return ", ".join(case.layouts)
