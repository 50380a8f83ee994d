"""Recording of GPU work into CUDA graphs that are replayed, so that the host launches all of it at one go."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

__all__ = ["GraphRecorder", "holds_too_much", "repeat"]

_WARM_UP = 2
"""Unrecorded passes before the first recording of a recorder: libraries allocate and choose their kernels in them."""
_IDLE = 0.25
"""Share of a GPU's memory that may lie idle in this process before a recorder is made anew."""


class GraphRecorder:
    """Records GPU work into CUDA graphs that share memory, so they must be replayed in the order of recording."""

    def __init__(self, device: torch.device) -> None:
        if holds_too_much(device):
            torch.cuda.empty_cache()  # what a recorder before this one held
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)
        self._passes = _WARM_UP
        # A memory pool without graphs is released: this graph keeps it, with its memory, between recordings.
        self._anchor = self.record(lambda: torch.zeros(1, device=device))

    def warm_up(self, work: Callable[[], None]) -> None:
        """Do `work` without recording it, as a rehearsal on the stream of recording: its results must not matter."""
        with self._aside():
            for _ in range(self._passes):
                work()
        self._passes = 1

    def record(self, work: Callable[[], object]) -> Callable[[], None]:
        """Record `work` without doing it; the returned function does it, each time it is called."""
        graph = torch.cuda.CUDAGraph()
        # Not torch.cuda.graph: it waits for the device and empties the allocator's cache at every recording.
        with self._aside(), _no_collection():
            graph.capture_begin(pool=self._pool)
            try:
                work()
            except BaseException:
                with contextlib.suppress(RuntimeError):  # it says that the recording is void; the cause says why
                    graph.capture_end()
                raise
            graph.capture_end()
        replay: Callable[[], None] = graph.replay
        return replay

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            yield
        outside.wait_stream(self._stream)


def holds_too_much(device: torch.device) -> bool:
    """Tell if more than a quarter of a GPU's memory lies idle in this process; on a CPU nothing does.

    A recorder keeps its memory while it lives, in pieces as large as earlier recordings asked for, which do not fit
    those of more Gaussians: with each edit that is recorded anew more of it lies idle.

    Args:
        device: of the recordings.
    """
    if device.type != "cuda":
        return False
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return idle > _IDLE * torch.cuda.get_device_properties(device).total_memory


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps Python from collecting garbage within, which might destroy graphs, events and memory of others."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def repeat(work: Callable[[], None], times: int, going: Tensor) -> None:
    """Do `work` at most `times` times, until `going` is False.

    On a CPU the repetition ends there. A GPU is not asked, which would cost more than the work: `work` is done `times`
    times, all but the first as a replay, and must change nothing any more where `going` is False.

    Args:
        work: reads and writes tensors that exist before, and never waits for the device.
        times: at least 1.
        going: () bool, which `work` sets to False when it is done.
    """
    if going.device.type != "cuda":
        for _ in range(times):
            work()
            if not bool(going):
                break
        return
    work()
    replay = _common_recorder(going.device).record(work)
    for _ in range(times - 1):
        replay()


@functools.cache
def _common_recorder(device: torch.device) -> GraphRecorder:
    """The device's shared recorder, for work that is replayed at once and never again."""
    return GraphRecorder(device)
