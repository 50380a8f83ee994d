"""Makes and prepares a protocol's metrics on a device; a metric that cannot be computed carries the reason."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from headbench.harness.errors import BenchError, MissingAsset, PluginError
from headbench.metrics.absent import Absent, AbsentKind
from headbench.metrics.choose import Chosen, choose
from headbench.metrics.needs import ALPHA, PROJECTION, missing_asset, missing_mask, needs_of

if TYPE_CHECKING:
    import torch

    from headbench.harness.plugins import Registry
    from headbench.metrics.metric import Metric
    from headbench.metrics.protocol import Protocol
    from headbench.metrics.truth import GroundTruth, Projector

__all__ = ["Ready", "guarded", "make_ready", "projector_of"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Ready:
    """A metric that is ready to be computed, or the reason why it cannot be."""

    chosen: Chosen
    metric: Metric | None
    absent: Absent | None = None

    @property
    def key(self) -> str:
        """Metric key: psnr, lpips/alex."""
        return self.chosen.key


def make_ready(
    protocol: Protocol,
    device: torch.device | str,
    truth: GroundTruth,
    first: str | None = None,
    asked: Mapping[str, Collection[str]] | None = None,
    known: Registry | None = None,
) -> list[Ready]:
    """Make and prepare the protocol's metrics, in the order of tables.

    Args:
        protocol: names the metrics and their options.
        device: where they are computed.
        truth: ground truth of the frames; asked for the masks of one frame where a metric needs any.
        first: id of the frame whose masks are looked at; None: there is no frame.
        asked: name of a metric -> the only variants of it to compute; None: no choice was made.
        known: registry in which metrics are looked up; None takes the registry of this process.

    Raises:
        BenchError: a metric is not registered, does not take its options, or cannot be made.
    """

    @functools.cache
    def masks() -> tuple[str, ...]:
        return () if first is None else (*truth.pixels(first).masks, *truth.computed)

    return [
        _ready(chosen, device, truth, masks, (asked or {}).get(chosen.spec.name)) for chosen in choose(protocol, known)
    ]


def _ready(
    chosen: Chosen,
    device: torch.device | str,
    truth: GroundTruth,
    masks: Callable[[], Collection[str]],
    asked: Collection[str] | None,
) -> Ready:
    """Make and prepare one metric, or find the reason why it cannot be computed.

    Args:
        chosen: the metric.
        device: where it is computed.
        truth: ground truth of the frames.
        masks: gives the names of the masks that the data have; called only where the metric needs any.
        asked: the only variants of the metric to compute; None: no choice was made.
    """
    needs = needs_of(chosen.spec, chosen.variant)
    absent = guarded(chosen, "asking for it", lambda: chosen.kind.left_out(chosen.variant, device, asked))
    if absent is not None:
        return Ready(chosen, None, absent)
    metric = guarded(chosen, "making it", lambda: chosen.kind(chosen.options, device, chosen.variant))
    absent = guarded(chosen, "asking what is missing", metric.missing) or missing_asset(needs)
    why = next((truth.lacking[need] for need in sorted(needs) if need in truth.lacking), None)
    if absent is None and why is not None:
        absent = Absent(AbsentKind.NOT_AVAILABLE, f"n/a ({why})")
    if absent is None and ALPHA in needs and not truth.has_alpha:
        absent = Absent(AbsentKind.NOT_AVAILABLE, "n/a (needs alpha; the ground truth has none)")
    if absent is None and PROJECTION in needs:
        absent = _missing_head(truth)
    if absent is None and missing_mask(needs, ()) is not None:
        absent = missing_mask(needs, masks())
    if absent is not None:
        return Ready(chosen, None, absent)
    guarded(chosen, "preparing it", metric.prepare)
    return Ready(chosen, metric)


def projector_of(truth: GroundTruth) -> Projector | None:
    """Function that projects the tracked head into frames, loading it at its first call; None without a head model."""
    head = truth.head
    if head is None:
        return None
    load = functools.cache(head)
    return lambda frames: load()(frames)


def guarded(chosen: Chosen, doing: str, action: Callable[[], _T]) -> _T:
    """Call `action`, which is a plugin's code, and return its result.

    Args:
        chosen: the metric whose code it is, for messages.
        doing: the subject of the message, such as "making it".
        action: what is called.

    Raises:
        PluginError: it failed; the message names plugin and metric. Errors that a person can mend, and a lack of
            memory, pass through.
    """
    try:
        return action()
    except (BenchError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in str(error):
            raise
        text = " ".join(str(error).split())
        said = f"{type(error).__name__}" + (f": {text}" if text else "")
        raise PluginError(f"{chosen.plugin}: metric {chosen.key}: {doing} failed with {said}.") from error


def _missing_head(truth: GroundTruth) -> Absent | None:
    if truth.head is None:
        return Absent(AbsentKind.NOT_AVAILABLE, "n/a (needs the tracked head; the data have none)")
    try:
        truth.head()
    except MissingAsset as error:
        return Absent(AbsentKind.NOT_AVAILABLE, f"n/a (needs the tracked head, which is not registered: {error.help})")
    return None
