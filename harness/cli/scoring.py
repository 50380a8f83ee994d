"""Join the metrics to the run room, which may not import them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.run.render import Progress, RenderKey
from headbench.harness.run.tasks import Scorer

if TYPE_CHECKING:
    from headbench.harness.train.track import Tracking
    from headbench.harness.types import Subject
    from headbench.metrics import Protocol

__all__ = ["needs_of_protocol", "scorers"]


def scorers(names: Iterable[str], nets: Collection[str] | None = None) -> list[Scorer]:
    """Make a scorer for each protocol.

    Args:
        names: ``name@version`` of a protocol, or the path of its file.
        nets: LPIPS networks to compute; None means all that are worth their time on the device.

    Raises:
        BenchError: a protocol is unknown, not valid, or in need of something that cannot be done here.
    """
    names = list(names)
    if not names:
        return []
    from headbench.metrics import load_protocol

    return [_Scorer(load_protocol(name), nets, name) for name in dict.fromkeys(names)]


def needs_of_protocol(protocol: Protocol) -> frozenset[str]:
    """Names of all that a protocol's metrics need."""
    from headbench.metrics.choose import find
    from headbench.metrics.keys import split_key
    from headbench.metrics.needs import needs_of

    return frozenset[str]().union(*(needs_of(spec, split_key(key)[1]) for key, spec in find(protocol)))


class _Scorer:
    """Scorer that applies one protocol to folders of renders."""

    def __init__(self, protocol: Protocol, nets: Collection[str] | None, asked: str) -> None:
        self.protocol = protocol
        self.nets = nets
        self.name = protocol.label
        self.source = str(Path(asked).resolve()) if asked.endswith(".yaml") else self.name
        self.hash = protocol.hash
        drawn = protocol.stage, protocol.background, _tracking(protocol), protocol.views
        self.key = RenderKey(protocol.render_key, *drawn, floats=protocol.floats)

    def inputs(self, device: str) -> dict[str, Any]:
        """Inputs of scores besides renders: networks, SHA-256 of registered files, and strangers' plugins."""
        from headbench.harness.assets import record
        from headbench.harness.device import resolve_device
        from headbench.harness.plugins import registry
        from headbench.metrics.choose import find
        from headbench.metrics.needs import assets_of

        known, found = registry(), find(self.protocol)
        files = {need: record(name) for need, name in assets_of(needs_of_protocol(self.protocol)).items()}
        origins = {key: known.origin(spec) for key, spec in found if known.origin(spec) != "built in"}
        return {
            "weights": {need: None if entry is None else entry.sha256 for need, entry in files.items()},
            "nets": None if self.nets is None else sorted(self.nets),
            "device": resolve_device(device).type,
        } | ({"plugins": origins} if origins else {})

    def __call__(self, subject: Subject, renders: Path, target: Path, device: str, progress: Progress) -> None:
        """Score the renders of a subject's test frames, and write the scores; without any it lacks the views.

        Args:
            subject: gives the test frames with their images.
            renders: folder of the renders.
            target: file of scores to write.
            device: where to score, such as cpu or cuda.
            progress: is called with frames done and in all.
        """
        from headbench.harness.cli.truth import ground_truth
        from headbench.harness.device import device_label, resolve_device
        from headbench.metrics import score_frames, without_views, write_scores

        def report(done: int, total: int) -> None:
            progress({"stage": f"score {self.name}", "step": done, "total": total, "part": "further frames"})

        where = resolve_device(device)
        paths = {frame.id: renders / self.key.files(frame.id)[-1] for frame in subject.test}
        if paths:
            truth = ground_truth(subject, where, needs_of_protocol(self.protocol))
            scores = score_frames(paths, truth, self.protocol, where, nets=self.nets, report=report)
        else:
            scores = without_views(self.protocol)
        write_scores(target, dataclasses.replace(scores, device=device_label(where)))


def _tracking(protocol: Protocol) -> Tracking | None:
    """Rule of a protocol's test-time tracking; None where it asks for none."""
    rule = protocol.test_time_tracking
    if rule is None:
        return None
    from headbench.harness.train.track import Tracking

    loss = rule.loss if isinstance(rule.loss, str) else rule.loss.model_dump()
    rates: dict[str, float] = dict(rule.rates.items())
    return Tracking(rule.steps, rates, rule.optimizer, loss, rule.batch)
