"""Replay of a training step's operations as CUDA graphs, so that the host's launch time does not set the rate.

A training step of an avatar is some hundreds of small kernels; launched one by one they cost more than they compute.
Recording changes no arithmetic: the same kernels run on the same memory. Where the rasterizer is recordable, all from
pose to gradients is one graph. Elsewhere rasterizing stays outside, because the rasterizer reads the number of tile
intersections back to the host.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from headbench.harness.splat import Rasterizer
from headbench.harness.splat.lists import Lists
from headbench.harness.train.graph_recorder import GraphRecorder
from headbench.harness.train.lingering import let_go
from headbench.harness.types import Rendering, ScreenStatistics, map_tensors

__all__ = ["Finish", "RecordedStep", "builder", "leaves", "sum_of"]


@dataclass
class _Work:
    """Tensors that the three parts of a step hand to each other; replays write into the same ones."""

    batch: Any = None
    posed: Any = None
    prepared: Any = None
    terms: Any = None
    from_losses: Sequence[Tensor | None] = ()
    """Gradients of the loss with respect to image, alpha, depth, then leaves of posed avatar and batch, then
    parameters."""
    gradients: Sequence[Tensor | None] = ()
    """Gradients of the loss with respect to the parameters, then to those inputs that require one."""


@dataclass(frozen=True)
class Finish:
    """Rest of a step after its gradients, which may be recorded as well: statistics and update."""

    ready: Callable[[Sequence[Tensor]], bool]
    """Tells if the rest of the step may be recorded, and makes beforehand what cannot be made in a recording.

    It is asked with the parameters that get a gradient, where the gradients of all replays lie."""
    work: Callable[[Rendering], object]
    """Does it by the gradients at the parameters; what it returns is kept as long as the recording, which reads it."""


class RecordedStep:
    """One recorded training step, from its inputs to the gradients of all parameters, for one layout of inputs.

    With a recordable rasterizer one graph does all that, on lists of a capacity that a rehearsal measures, and `finish`
    replays the rest of the step: a graph of its own, since a step that edits the Gaussians needs the gradients alone.
    Otherwise recorded are: `begin` with the rasterizer's `prepare`; the losses with their gradients; the gradients of
    the rest. Rasterizing and its gradients then run without recording between them.

    Args:
        owner: the avatar, whose parameters get gradients.
        rasterizer: the back end.
        begin: from inputs to (batch, posed avatar).
        compute_losses: from (posed avatar, batch, rendering) to named loss terms.
        inputs: dataclasses or mappings of tensors; their structure is kept, their values are an example.
        absolute_gradient: whether the rasterizer also sums absolute screen gradients.
        recorder: records into CUDA graphs.
        capacity: of a recordable rasterizer's lists; None: it is measured, for which the device is waited for.
        statistics: to which the gradients of each run are added; None, and with a rasterizer that is not recordable:
            nothing is.
        rehearsed: whether a step of this layout has been recorded before, of another number of Gaussians: then all
            kernels are loaded, and nothing is rehearsed where the capacity is known.

    Gradients and `terms` lie in memory that the next call overwrites: use or copy them within the step.
    """

    def __init__(
        self,
        owner: nn.Module,
        rasterizer: Rasterizer,
        begin: Callable[[Any], tuple[Any, Any]],
        compute_losses: Callable[[Any, Any, Rendering], dict[str, Tensor]],
        inputs: Any,
        absolute_gradient: bool,
        recorder: GraphRecorder,
        capacity: int | None = None,
        rehearsed: bool = False,
        statistics: ScreenStatistics | None = None,
    ) -> None:
        self._statistics = statistics
        self._rasterizer = rasterizer
        self._begin = begin
        self._compute_losses = compute_losses
        self._absolute = absolute_gradient
        self._recorder = recorder
        self._inputs = map_tensors(inputs, lambda t: t.detach().clone().requires_grad_(t.requires_grad))
        self._slots = [t.detach() for t in leaves(self._inputs)]
        self._free = [t for t in leaves(self._inputs) if t.requires_grad]
        self.parameters = [p for p in owner.parameters() if p.requires_grad]
        self._work = _Work()
        self._rendered: list[Tensor] = []
        self._pulls: list[Tensor] = []
        self._pulled: list[bool] = []
        self._leaves: list[Tensor] = []
        self._replay_update: Callable[[], None] | None = None
        self._update_reads: object = None
        self._stepped = False
        self._rendering: Rendering | None = None
        self._finishes: dict[Hashable, tuple[Callable[[], None], list[object]]] = {}
        self.lists: Lists | None = None
        """Of the one graph; None where rasterizing is not recorded."""
        let_go(self.parameters)
        if rasterizer.recordable:
            self.lists = Lists(leaves(self._inputs)[0].device, capacity)
            self._record_all(self.lists, rehearsed)
            return
        recorder.warm_up(self._plainly)
        # From here on the tensors of `_work` are those that the graphs write.
        self._replay_drive = recorder.record(self._drive)
        self._replay_losses = recorder.record(self._losses)
        self._replay_rest = recorder.record(self._rest)

    @property
    def terms(self) -> dict[str, Tensor]:
        """The loss terms of the last `run`."""
        found: dict[str, Tensor] = self._work.terms
        return found

    def run(self, inputs: Any, watch: Callable[[str], None]) -> Rendering:
        """Replay the step; afterwards parameters have their gradients, and `terms` holds the losses.

        Args:
            inputs: in the layout of the constructor's; their values are copied.
            watch: called with the name of each part when its work has been queued.

        Returns:
            the step's rendering.
        """
        torch._foreach_copy_(self._slots, leaves(inputs))
        if self.lists is not None:
            self._replay_all()
            assert self._rendering is not None
            rendering = self._rendering
        else:
            self._replay_drive()
            watch("drive")
            rendering = self._draw()
            watch("raster")
            self._replay_losses()
            watch("losses")
            self._pull(rendering)
            self._replay_rest()
        self._hand_over()
        watch("backward")
        return rendering

    def finish(self, key: Hashable, rest: Finish) -> bool:
        """Do the rest of a step whose gradients `run` has computed, by replay; it is recorded first where that is due.

        Args:
            key: steps of one key do the same after their gradients.
            rest: does it.

        Returns:
            whether it is done; if not, the caller does it: rasterizing is not recorded, or the rest is not ready.
        """
        found = self._finishes.get(key)
        if found is None:
            if self._rendering is None or not rest.ready(self.with_gradients()):
                return False
            reads: list[object] = []

            def recorded() -> None:
                assert self._rendering is not None
                reads[:] = [rest.work(self._rendering)]

            found = self._finishes[key] = self._recorder.record(recorded), reads
        found[0]()
        return True

    def input_gradients(self) -> Sequence[Tensor | None]:
        """Gradients, after `run`, of those inputs that require one, in the order of `leaves`."""
        return self._work.gradients[len(self.parameters) :]

    def update(self, step: Callable[[], object]) -> None:
        """Call an optimiser's `step`; it is recorded at the second call, since the first makes its moments.

        What it returns is kept as long as the recording, which may read it.
        """
        if self._replay_update is None and not self._stepped:
            self._stepped = True
            step()
            return
        if self._replay_update is None:

            def recorded() -> None:
                self._update_reads = step()

            self._replay_update = self._recorder.record(recorded)
        self._replay_update()

    def with_gradients(self) -> list[Tensor]:
        """The parameters that get a gradient."""
        pairs = zip(self.parameters, self._work.gradients, strict=False)
        return [parameter for parameter, gradient in pairs if gradient is not None]

    def _hand_over(self) -> None:
        """Leave the gradients at the parameters."""
        for parameter, gradient in zip(self.parameters, self._work.gradients, strict=False):
            parameter.grad = gradient

    def _record_all(self, lists: Lists, rehearsed: bool) -> None:
        """Record all from pose to gradients, after rehearsals of which the first measures the lists if need be.

        Args:
            lists: that the rasterizer draws from.
            rehearsed: as in the constructor.
        """
        collected = leaves(self._statistics)
        before = [tensor.clone() for tensor in collected]
        if lists.capacity is None:
            self._recorder.warm_up(self._all)
            lists.fix()
            rehearsed = False
        if not rehearsed:
            self._recorder.warm_up(self._all)
        for tensor, value in zip(collected, before, strict=True):
            tensor.copy_(value)  # a rehearsal is no step
        self._replay_all = self._recorder.record(self._all)

    def _all(self) -> None:
        work = self._work
        assert self.lists is not None
        with torch.enable_grad():
            work.batch, work.posed = self._begin(self._inputs)
            prepared = self._rasterizer.prepare_collecting(work.posed.gaussians, work.batch.camera, self._statistics)
            background = work.batch.background
            drawn = self._rasterizer.rasterize_within(prepared, background, self.lists, self._absolute)
            terms = self._compute_losses(work.posed, work.batch, drawn)
            inputs = [*self.parameters, *self._free]
            found = torch.autograd.grad(sum_of(terms), inputs, allow_unused=True)
        work.terms = {name: term.detach() for name, term in terms.items()}
        work.gradients = [None if g is None else _laid_out_like(t, g) for t, g in zip(inputs, found, strict=True)]
        # Without the graph of autograd, which holds the memory of the whole step.
        self._rendering = replace(
            drawn,
            image=drawn.image.detach(),
            alpha=drawn.alpha.detach(),
            depth=drawn.depth.detach(),
            collected=self._statistics is not None,
        )
        work.batch, work.posed = None, None

    def _plainly(self) -> None:
        self._drive()
        rendering = self._draw(make=True)
        self._losses()
        self._pull(rendering, make=True)
        self._rest()

    def _drive(self) -> None:
        work = self._work
        with torch.enable_grad():
            work.batch, work.posed = self._begin(self._inputs)
            work.prepared = self._rasterizer.prepare(work.posed.gaussians, work.batch.camera)

    def _draw(self, make: bool = False) -> Rendering:
        work = self._work
        prepared = map_tensors(work.prepared, _cut)
        with torch.enable_grad():
            rendering = self._rasterizer.rasterize(prepared, work.batch.background, self._absolute)
        self._leaves = [t for t in leaves(prepared) if t.requires_grad]
        rendered = [t.detach() for t in (rendering.image, rendering.alpha, rendering.depth, rendering.visible)]
        if make:
            self._rendered = [torch.empty_like(t) for t in rendered]
        torch._foreach_copy_(self._rendered[:3], rendered[:3])
        self._rendered[3].copy_(rendered[3])
        return rendering

    def _losses(self) -> None:
        work = self._work
        posed, batch = map_tensors(work.posed, _cut), map_tensors(work.batch, _cut)
        image, alpha, depth = (t.detach().requires_grad_() for t in self._rendered[:3])
        still = Rendering(image, alpha, depth, self._rendered[3], _Unrecorded(), _unmeasured)
        with torch.enable_grad():
            terms = self._compute_losses(posed, batch, still)
            total = sum_of(terms)
            asked = [t for t in (*leaves(posed), *leaves(batch)) if t.requires_grad]
            wanted = [image, alpha, depth, *asked, *self.parameters]
            work.from_losses = torch.autograd.grad(total, wanted, allow_unused=True)
        work.terms = {name: term.detach() for name, term in terms.items()}

    def _pull(self, rendering: Rendering, make: bool = False) -> None:
        """Propagate the loss's gradient from the rendering back to the prepared Gaussians."""
        outputs = [
            (t, g)
            for t, g in zip((rendering.image, rendering.alpha, rendering.depth), self._work.from_losses, strict=False)
            if g is not None and t.requires_grad
        ]
        if outputs:
            torch.autograd.backward([t for t, _ in outputs], [g for _, g in outputs])
        found = [t.grad for t in self._leaves]
        if make:
            self._pulled = [g is not None for g in found]
            self._pulls = [torch.empty_like(g) for g in found if g is not None]
        torch._foreach_copy_(self._pulls, [g for g in found if g is not None])

    def _rest(self) -> None:
        work = self._work
        asked = [t for t in (*leaves(work.posed), *leaves(work.batch)) if t.requires_grad]
        prepared = [t for t in leaves(work.prepared) if t.requires_grad]
        pulled = [t for t, there in zip(prepared, self._pulled, strict=True) if there]
        direct = work.from_losses[3 : 3 + len(asked)]
        pairs = [*zip(pulled, self._pulls, strict=True), *zip(asked, direct, strict=True)]
        pairs = [(t, g) for t, g in pairs if g is not None]
        inputs = [*self.parameters, *self._free]
        found = torch.autograd.grad(
            [t for t, _ in pairs], inputs, [g for _, g in pairs], allow_unused=True, retain_graph=False
        )
        besides = [*work.from_losses[3 + len(asked) :], *([None] * len(self._free))]
        sums = [a if b is None else b if a is None else a + b for a, b in zip(found, besides, strict=True)]
        work.gradients = [None if g is None else _laid_out_like(t, g) for t, g in zip(inputs, sums, strict=True)]


def _cut(tensor: Tensor) -> Tensor:
    """A leaf tensor that shares the memory of `tensor` and requires a gradient where `tensor` does."""
    return tensor.detach().requires_grad_(tensor.requires_grad)


def _laid_out_like(tensor: Tensor, gradient: Tensor) -> Tensor:
    """Copy of `gradient` with the strides of `tensor`, as autograd leaves it at a leaf and fused optimisers demand."""
    if gradient.stride() == tensor.stride():
        return gradient
    return torch.empty_like(tensor).copy_(gradient)


def sum_of(terms: Mapping[str, Tensor]) -> Tensor:
    """Sum of named loss terms, at least one: the scalar that is minimised."""
    first, *others = terms.values()
    for other in others:
        first = first + other
    return first


class _Unrecorded:
    """Stand-in for the screen gradient in recorded losses, where it does not exist before backward; reading raises."""

    def plain(self) -> Tensor:
        raise RuntimeError("losses cannot read the screen gradient: it exists only after backward")

    absolute = plain


def _unmeasured() -> Tensor:
    raise RuntimeError("recorded losses cannot read radii: they are measured afresh for each picture")


def leaves(value: Any) -> list[Tensor]:
    """The tensors in `value`, nested dataclasses and mappings, in the order of `builder`."""
    if isinstance(value, Tensor):
        return [value]
    names = getattr(value, "__dataclass_fields__", None)
    if names is not None:
        return [leaf for name in names for leaf in leaves(getattr(value, name))]
    if isinstance(value, Mapping):
        return [leaf for member in value.values() for leaf in leaves(member)]
    return []


def builder(value: Any) -> Callable[[Iterator[Tensor]], Any]:
    """A function that makes a copy of `value` with tensors taken from an iterator, in the order of `leaves`.

    Everything but tensors is kept. Made once and called in every step, so it skips the dataclasses' own constructors.
    """
    if isinstance(value, Tensor):
        return next
    names = getattr(value, "__dataclass_fields__", None)
    if names is not None:
        kind, parts = type(value), [(name, builder(getattr(value, name))) for name in names]

        def build(queue: Iterator[Tensor]) -> Any:
            made = object.__new__(kind)
            for name, part in parts:
                object.__setattr__(made, name, part(queue))
            return made

        return build
    if isinstance(value, Mapping):
        members = [(name, builder(member)) for name, member in value.items()]
        return lambda queue: {name: part(queue) for name, part in members}
    return lambda queue: value
