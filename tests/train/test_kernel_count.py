"""Kernels per step: counted, short ones told apart, and time that parallel branches share counted once."""

import pytest

from headbench.harness.cli.profile import _kernel_line
from headbench.harness.train.kernel_count import Span, summarise


def test_spans_are_counted_and_overlaps_are_busy_once() -> None:
    micro = 1e-6
    spans = [
        Span("blend", 100 * micro, 50 * micro),
        Span("add", 120 * micro, 2 * micro),  # beside it
        Span("blend", 300 * micro, 50 * micro),
        Span("add", 349 * micro, 2 * micro),  # its end is 1 µs later
        Span("adam", 0.0, 10 * micro),
        Span("add", 10 * micro, 2 * micro),
    ]
    count = summarise(spans, steps=2)
    assert count.kernels == 3 and count.short == pytest.approx(0.5)
    assert count.busy_ms == pytest.approx((10 + 2 + 50 + 50 + 1) * 1e-3 / 2)
    assert count.floor_ms == pytest.approx((50 + 50 + 10) * 1e-3 / 2)
    assert [name for name, _ in count.longest] == ["blend", "adam", "add"]
    assert count.longest[0][1] == pytest.approx(0.05)
    line = _kernel_line(count)
    assert "3 kernels per step, 50% of them below 3 µs; busy 0.06 ms, floor" in line and "blend 0.050" in line


@pytest.mark.gpu
def test_the_profiler_sees_kernels() -> None:
    import torch

    from headbench.harness.train.kernel_count import count_kernels

    one = torch.ones(1000, device="cuda")
    count = count_kernels(lambda: [one.add_(1) for _ in range(12)], 4)
    assert count is not None and count.kernels == pytest.approx(3) and count.busy_ms > 0
