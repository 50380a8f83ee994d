"""Conformance suite of a method: `check_method` and `try_method`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.plugins.checks import portrait_class
from headbench.harness.plugins.specs import MethodSpec
from headbench.testing.case import Case
from headbench.testing.failure import Outcome, attempt
from headbench.testing.method_checks import CHECKS
from headbench.testing.small import small_config

if TYPE_CHECKING:
    from headbench.harness.head import HeadModel
    from headbench.harness.types import Subject

__all__ = ["check_method", "try_method"]


def check_method(
    spec: MethodSpec,
    preset: str = "",
    only: Sequence[str] = (),
    heads: Sequence[HeadModel] = (),
    layouts: Mapping[str, Subject] | None = None,
) -> list[Outcome]:
    """Check that a method does what the harness relies on, on a CPU, in seconds.

    Args:
        spec: as it is registered; it need not be registered.
        preset: one of the method's presets; empty takes `tiny`, or where it has none the default preset with few steps.
            With `tiny`, another preset is taken with its numbers.
        only: names of checks (`headbench.testing.METHOD_CHECKS`); empty runs all.
        heads: further head models to try, such as FLAME's from files of yours.
        layouts: dataset -> a subject that was read through it; None takes synthetic ones of all built-in datasets.

    Returns:
        one outcome per check, none of them a failure.

    Raises:
        NonConforming: the first check that fails; it names method, check, what was expected and what was found.

    Example:
        >>> from headbench.testing import check_method
        >>> from headbench_beads import BEADS  # doctest: +SKIP
        >>> outcomes = check_method(BEADS)  # doctest: +SKIP
    """
    found = []
    for outcome in try_method(spec, preset, only, heads, layouts):
        if outcome.failure is not None:
            raise outcome.failure
        found.append(outcome)
    return found


def try_method(
    spec: MethodSpec,
    preset: str = "",
    only: Sequence[str] = (),
    heads: Sequence[HeadModel] = (),
    layouts: Mapping[str, Subject] | None = None,
) -> Iterator[Outcome]:
    """Yield the outcomes of a method's checks one by one, going on after failures.

    Args:
        spec: as it is registered; it need not be registered.
        preset: one of the method's presets; empty takes `tiny`, or where it has none the default preset with few steps.
        only: names of checks (`headbench.testing.METHOD_CHECKS`); empty runs all.
        heads: further head models to try.
        layouts: dataset -> a subject that was read through it; None takes synthetic ones of all built-in datasets.

    Raises:
        BenchError: there is no such preset or check.
    """
    for name in only:
        if name not in CHECKS:
            raise BenchError(did_you_mean("check", name, CHECKS))
    if preset and preset not in spec.presets:
        raise BenchError(did_you_mean("preset", preset, spec.presets))
    subject = f"method {spec.name}"
    with tempfile.TemporaryDirectory(prefix="headbench-check-") as folder, _one_thread():
        case: list[Case] = []

        def load() -> str:
            kind = portrait_class(spec, spec.name)
            config = small_config(spec, kind, preset)
            scratch = Path(folder)
            case.append(Case(spec, kind, config, scratch, tuple(heads), _layouts(layouts, only)))
            return ""

        loaded = attempt(subject, "loading", load)
        if loaded.failure is not None:
            yield loaded
            return
        for name in only or CHECKS:
            yield attempt(subject, name, lambda name=name: CHECKS[name](case[0]))  # type: ignore[misc]


def _layouts(given: Mapping[str, Subject] | None, only: Sequence[str]) -> Mapping[str, Subject]:
    if given is not None:
        return given
    if only and "layouts" not in only:
        return {}
    from headbench.testing.samples import sampled_subjects

    return sampled_subjects()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one CPU thread, so that sums do not depend on the machine and small tensors cost no waiting.

    Afterwards the number is as before, and so is the restriction to deterministic algorithms, which trainings set.
    """
    import torch

    from headbench.harness.device import be_deterministic

    before, restricted = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        be_deterministic(restricted)
