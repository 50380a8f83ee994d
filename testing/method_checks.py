"""The checks of a method, each a function of a `Case`. They take the harness's own ways, on a CPU, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar, MethodConfig, Portrait
from headbench.harness.head import TOPOLOGIES, HeadModel, load_head
from headbench.harness.plugins.specs import MethodSpec
from headbench.harness.session.recorded import recorded
from headbench.harness.splat import make_rasterizer
from headbench.harness.train import identity_of, load_portrait
from headbench.harness.train.course import Course
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Clock, Frame, HeadParams, Subject, TrainView
from headbench.testing.failure import require
from headbench.testing.scene import SIZE, Watch, batch_of, made_subject, posed
from headbench.testing.training import PlainTape, Staged, Watched, stage, watch

__all__ = ["CHECKS", "Case"]

_HEAD = "openhead"
_ANY = Clock(step=1, epoch=1, steps_per_epoch=3, total=12)
DRAWN = 0.03
"""Share of the pixels that must differ from the background."""


@dataclass
class Case:
    """One method in small, with what several checks share; made when it is asked for."""

    spec: MethodSpec
    kind: type[Portrait]
    config: MethodConfig
    scratch: Path
    """An empty folder."""
    heads: Sequence[HeadModel] = ()
    """Further head models to try, each in the topology that it has."""
    layouts: Mapping[str, Subject] = field(default_factory=dict)
    """Dataset -> a subject that was read through it."""
    watching: Watch = field(default_factory=Watch)

    @cached_property
    def head(self) -> HeadModel:
        """The built-in head, in the topology that the configuration names."""
        return load_head(_HEAD, self.config.topology())

    @cached_property
    def subject(self) -> Subject:
        """Three training frames and a test frame whose image is forbidden."""
        return made_subject(self.head, self.watching)

    @cached_property
    def trained(self) -> bool:
        """Whether there is anything to train."""
        return issubclass(self.kind, Avatar)

    @cached_property
    def plain(self) -> Watched:
        """A training in memory."""
        return watch(self.kind, self.config, self.subject, self.spec.name)

    @cached_property
    def staged(self) -> Staged:
        """A training with checkpoints, and what a power cut would have left of it beside it."""
        cut = self.steps // 3 if self.trained else 0
        return stage(self.scratch / "whole", self.kind, self.config, self.subject, self.about, cut)

    @cached_property
    def steps(self) -> int:
        """Of a training; checkpoints of `staged` lie a third apart."""
        return Course(self.config.train, len(self.subject.train)).total

    @cached_property
    def about(self) -> dict[str, str]:
        """What a checkpoint says of itself."""
        return {"method": self.spec.name, "preset": "tiny", "variant": "", "dataset": "made-up", "subject": "made-up"}

    def portrait(self, head: HeadModel | None = None, config: MethodConfig | None = None) -> tuple[Portrait, Subject]:
        """An untrained portrait on a head (the built-in one by default), and the subject it was made for."""
        head, config = head or self.head, config or self.config
        subject = self.subject if head is self.head else made_subject(head, self.watching)
        view = TrainView(subject.train, SIZE, SIZE, seed=0, directory=str(self.scratch))
        torch.manual_seed(0)
        return self.kind.create(head, identity_of(subject), view, config), subject


def _picture(portrait: Portrait, frame: Frame, background: float = 1.0) -> Tensor:
    colour = torch.full((len(frame.camera.w2c), 3), background)
    with torch.no_grad():
        return portrait.render(frame.params, frame.camera, colour, make_rasterizer("numba", "cpu"))


def _shown(image: Tensor, frame: Frame) -> None:
    """A finite picture of the right shape with something on it."""
    expected = (len(frame.camera.w2c), 3, frame.camera.height, frame.camera.width)
    require(tuple(image.shape) == expected, f"render() to give shape {expected}", f"{tuple(image.shape)}")
    require(bool(torch.isfinite(image).all()), "finite values in a render", "NaN or infinity")
    drawn = float((image - 1).abs().amax(1).gt(0.05).float().mean())
    require(drawn > DRAWN, f"something drawn on more than {DRAWN:.0%} of a white image", f"{drawn:.1%}")


def _finite(portrait: Portrait, when: str) -> None:
    bad = [n for n, p in portrait.state_dict().items() if p.is_floating_point() and not bool(torch.isfinite(p).all())]
    require(not bad, f"finite parameters {when}", f"NaN or infinity in {', '.join(bad)}")


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that are not equal to the last bit."""
    return sorted(n for n in {*one, *other} if n not in one or n not in other or not torch.equal(one[n], other[n]))


def check_create(case: Case) -> str:
    """A portrait is made from training frames, the same for the same seed, and without frames where weights follow."""
    portrait, subject = case.portrait()
    require(type(portrait) is case.kind, f"create() to return a {case.kind.__name__}", type(portrait).__name__)
    _finite(portrait, "at the start")
    again, _ = case.portrait()
    other = _same(portrait.state_dict(), again.state_dict())
    require(not other, "create() to depend on the seed alone", f"other values of {', '.join(other)}")
    empty = case.kind.create(case.head, identity_of(subject), None, case.config)
    saved = portrait.state_dict()
    empty.resize_for({name: value.shape for name, value in saved.items()})
    empty.load_state_dict(saved)
    changed = [name for name, _ in empty.named_buffers(remove_duplicate=True) if name not in saved]
    require(
        torch.equal(_picture(empty, subject.train[0]), _picture(portrait, subject.train[0])),
        "create() without frames and the saved tensors to show the same",
        "another picture" + (f"; not saved: {', '.join(changed)}" if changed else ""),
    )
    return f"{portrait.count():,} Gaussians" if case.trained else ""


def check_drive(case: Case) -> str:
    """A pose gives finite Gaussians of the right shapes; a batch is what its members are; the outer similarity holds."""
    portrait, subject = case.portrait()
    frames = subject.train[:2]
    both = replace(
        frames[0],
        params=HeadParams.join([f.params for f in frames]),
        camera=type(frames[0].camera).join([f.camera for f in frames]),
    )
    images = _picture(portrait, both)
    _shown(images, both)
    alone = torch.cat([_picture(portrait, frame) for frame in frames])
    off = float((images - alone).abs().max())
    require(off < 2e-3, "a batch of two poses to show what each shows alone", f"a difference of {off:.2g}")
    dark = _picture(portrait, frames[0], 0.0)
    require(not torch.equal(dark, alone[:1]), "the background to be seen", "the same picture on black and on white")
    if not isinstance(portrait, Avatar):
        return ""
    with torch.no_grad():
        drive = portrait.drive(both.params)
        count, vertices = portrait.count(), len(case.head.template)
        g = drive.gaussians
        for name, tail in (("means", (3,)), ("quats", (4,)), ("scales", (3,)), ("opacities", ())):
            shape = tuple(getattr(g, name).shape)
            require(
                shape in ((2, count, *tail), (count, *tail)), f"{name} of {count} Gaussians for 2 poses", f"{shape}"
            )
        require(tuple(drive.vertices.shape) == (2, vertices, 3), f"vertices (2, {vertices}, 3)", f"{drive.vertices.shape}")
        alike = torch.allclose(portrait.gaussians(both.params).means, g.means, atol=1e-6)
        require(alike, "gaussians() to be those of drive()", "others")
        moved = replace(posed(case.head, 1), outer=posed(case.head, 1, shift=torch.tensor([[0.1, 0.0, 0.0]])).outer)
        shift = portrait.drive(moved).gaussians.means - portrait.drive(posed(case.head, 1)).gaussians.means
        off = float((shift - torch.tensor([0.1, 0.0, 0.0])).abs().max())
        require(off < 1e-4, "Gaussians to follow the outer similarity (0.1 m along x)", f"{off:.2g} m beside it")
    return ""


def check_step(case: Case) -> str:
    """Training takes all its steps with finite scalar losses, changes parameters and comes nearer to the images."""
    if not case.trained:
        require(len(case.staged.steps) == 0, "no training steps of what is no Avatar", f"{len(case.staged.steps)}")
        return "nothing to train"
    plain = case.plain
    require(len(plain.losses) > 2, "a preset of more than 2 steps", f"{len(plain.losses)}")
    bad = [k for k, loss in enumerate(plain.losses, start=1) if loss != loss or abs(loss) == float("inf")]
    require(not bad, "finite losses", f"NaN or infinity in step {bad[0] if bad else 0}")
    _finite(plain.avatar, "after training")
    best = min(plain.errors[1:])
    require(
        best < plain.errors[0],
        "renders of training frames to come nearer to their images",
        f"a mean difference of {plain.errors[0]:.4f} before and of {best:.4f} at best after",
    )
    return f"{len(plain.losses)} steps, difference from the images {plain.errors[0]:.3f} to {best:.3f}"


def check_batch(case: Case) -> str:
    """Steps of two images, the last of an epoch a short one, go as steps of one do."""
    if not case.trained:
        return "nothing to train"
    train = {**case.config.train.model_dump(), "steps": 6, "epochs": None, "batch": 2, "batch_rates": "given"}
    config = type(case.config).model_validate({**case.config.model_dump(), "train": train})
    seen = watch(case.kind, config, case.subject, case.spec.name)
    require(len(seen.losses) == 4, "4 steps for 6 images of 3 frames, 2 at a time", f"{len(seen.losses)}")
    _finite(seen.avatar, "after steps of two images")
    return ""


def check_edit(case: Case) -> str:
    """Edits fit the table; training goes on after them."""
    if not case.trained:
        return "nothing to train"
    plain = case.plain
    require(min(plain.counts) > 0, "Gaussians to be left after every edit", "none")
    lengths = {name: len(plain.avatar.table[name]) for name in plain.avatar.table.names()}
    require(set(lengths.values()) == {plain.counts[-1]}, "columns of one length", f"{lengths}")
    rows = f", {plain.counts[0]:,} to {plain.counts[-1]:,} Gaussians" if len(set(plain.counts)) > 1 else ""
    return f"{len(plain.edits)} edits{rows}" if plain.edits else "no edit in this preset"


def check_gradient(case: Case) -> str:
    """Each parameter of each group with a rate above 0 gets a gradient in some step; a rate of 0 declares it frozen."""
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
    """Steps and renders by way of recording, with plain calls in place of CUDA graphs, end as plain ones do."""
    if not case.trained:
        return "nothing to record"
    plain = case.plain
    if not plain.recordable:
        return "never recorded: capture_key() gives None"
    found = watch(case.kind, case.config, case.subject, case.spec.name, record=True)
    for name, value in plain.end.items():
        other = found.end.get(name)
        fits = other is not None and other.shape == value.shape
        require(fits, f"{name} of shape {tuple(value.shape)} as by plain steps", f"{None if other is None else tuple(other.shape)}")
        assert other is not None
        # Not bit for bit: where a parameter has gradients from several sides, they are summed in another order.
        near = torch.allclose(other.double(), value.double(), rtol=1e-4, atol=1e-5)
        require(near, f"{name} as by plain steps", f"a difference of {float((other.double() - value.double()).abs().max()):.2g}")
    frame = case.subject.train[0]
    quick = recorded(plain.avatar, torch.device("cpu"), PlainTape(torch.device("cpu")))
    twice = [_picture(quick, each) for each in (case.subject.train[1], frame)][-1]
    require(torch.equal(twice, _picture(plain.avatar, frame)), "a recorded render to equal a plain one", "another picture")
    return ""


def check_resume(case: Case) -> str:
    """A training that was cut off ends bit-equal to one that was left alone."""
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
    """A checkpoint rebuilds the portrait without the dataset."""
    loaded = load_portrait(case.staged.checkpoint, "cpu", case.kind)
    frame = case.subject.test[0]
    image = _picture(loaded.portrait, frame)
    _shown(image, frame)
    again = load_portrait(case.staged.checkpoint, "cpu", case.kind)
    require(torch.equal(_picture(again.portrait, frame), image), "equal renders of one checkpoint", "others")
    if case.trained and not loaded.config.train.finetune.rates:
        other = _same(loaded.portrait.state_dict(), case.plain.avatar.state_dict())
        require(not other, "the trained tensors in the checkpoint", f"others of {', '.join(other)}")
    require(loaded.portrait.count() == (case.plain.counts[-1] if case.trained else 0), "as many Gaussians", "others")
    return ""


def check_test_images(case: Case) -> str:
    """Nobody asks for the image of a test frame."""
    frame = case.subject.test[0]
    _picture(load_portrait(case.staged.checkpoint, "cpu", case.kind).portrait, frame)
    opened = case.watching.opened
    require(not opened, "no test image to be opened in training and rendering", f"that of frame {', '.join(opened[:1])}")
    return ""


def check_heads(case: Case) -> str:
    """A step on every head model: the built-in one in each topology that the configuration can name, and others."""
    tried = []
    for config, head in _heads(case):
        portrait, subject = case.portrait(head, config)
        where = f"{head.tag} ({head.topology}, {len(head.template):,} vertices)"
        frame = replace(subject.train[0], params=posed(head, 1, lids=0.5))
        if isinstance(portrait, Avatar):
            _one_step(case, portrait, frame, where)
        _shown(_picture(portrait, frame), frame)
        tried.append(f"{head.tag} {head.topology}")
    return ", ".join(dict.fromkeys(tried))


def _heads(case: Case) -> Iterator[tuple[MethodConfig, HeadModel]]:
    """Configurations with a head each. The built-in head comes with fewer coefficients, too."""
    base = case.config.model_dump()
    fields = [
        name
        for name, about in type(case.config).model_fields.items()
        if get_args(about.annotation) and set(get_args(about.annotation)) <= set(TOPOLOGIES)
    ]
    by_topology: dict[str, MethodConfig] = {case.config.topology(): case.config}
    for name in fields:
        for topology in get_args(type(case.config).model_fields[name].annotation):
            config = type(case.config).model_validate({**base, name: topology})
            by_topology.setdefault(config.topology(), config)
    for topology, config in by_topology.items():
        yield config, load_head(_HEAD, topology)
    for head in case.heads:
        if head.topology in by_topology:
            yield by_topology[head.topology], head


def _one_step(case: Case, avatar: Avatar, frame: Frame, where: str) -> None:
    white = torch.ones(1, 3)
    optimizer = AvatarOptimizer(avatar, case.spec.name)
    drive = avatar.drive(frame.params)
    splat = make_rasterizer("numba", "cpu")(drive.gaussians, frame.camera, white)
    require(bool(splat.visible.any()), f"a Gaussian to be seen on {where}", "none")
    vertices = tuple(drive.vertices.shape)
    require(vertices[1] >= 3 and vertices[2] == 3, f"vertices (1, V, 3) on {where}", f"{vertices}")
    batch = batch_of(frame.params, frame.camera, white)
    torch.stack(list(avatar.losses(drive, splat, batch, _ANY).values())).sum().backward()
    optimizer.step(_ANY)
    _finite(avatar, f"after a step on {where}")


def check_layouts(case: Case) -> str:
    """Two steps and a render of a made-up subject read through each dataset's layout."""
    train = {**case.config.train.model_dump(), "epochs": None, "batch": 1, "resolution": None}
    train["steps"] = 2 if case.trained else 0
    config = type(case.config).model_validate({**case.config.model_dump(), "train": train})
    for name, subject in case.layouts.items():
        about = {**case.about, "dataset": name, "subject": subject.name}
        made = stage(case.scratch / f"on-{name}", case.kind, config, subject, about)
        frame = (subject.test or subject.train)[-1]
        image = _picture(load_portrait(made.checkpoint, "cpu", case.kind).portrait, frame)
        _shown(image, frame)
    return ", ".join(case.layouts)


CHECKS: dict[str, Callable[[Case], str]] = {
    "create": check_create,
    "drive": check_drive,
    "step": check_step,
    "batch": check_batch,
    "edit": check_edit,
    "gradient": check_gradient,
    "recorded": check_recorded,
    "resume": check_resume,
    "load": check_load,
    "test images": check_test_images,
    "heads": check_heads,
    "layouts": check_layouts,
}
"""Name -> check, in the order in which they run."""
