"""Recording of a CUDA graph, with a stand-in for CUDA's: which error is told, and what does not happen meanwhile."""

import contextlib
import gc
from types import SimpleNamespace

import pytest
import torch

from headbench.harness.train.graph_recorder import GraphRecorder, holds_too_much


class Graph:
    """Graph that is void once something has failed while it was recorded."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failed = False

    def capture_begin(self, pool: object) -> None:
        self.calls.append("begin")

    def capture_end(self) -> None:
        self.calls.append("end")
        if self.failed:
            raise RuntimeError("operation failed due to a previous error during capture")

    def replay(self) -> None:
        self.calls.append("replay")


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Graph:
    made = Graph()
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: made)
    monkeypatch.setattr(GraphRecorder, "_aside", lambda self: contextlib.nullcontext())
    return made


@pytest.fixture
def recorder() -> GraphRecorder:
    made = GraphRecorder.__new__(GraphRecorder)
    made._pool = None
    return made


def test_what_fails_in_a_recording_is_told_and_the_recording_ends(graph: Graph, recorder: GraphRecorder) -> None:
    def work() -> None:
        graph.failed = True
        raise ValueError("this needs the host")

    with pytest.raises(ValueError, match="this needs the host"):
        recorder.record(work)
    assert graph.calls == ["begin", "end"]
    assert gc.isenabled()


def test_a_recording_that_is_void_without_a_cause_is_an_error(graph: Graph, recorder: GraphRecorder) -> None:
    graph.failed = True
    with pytest.raises(RuntimeError, match="previous error"):
        recorder.record(lambda: None)


def test_garbage_is_not_collected_while_recording(graph: Graph, recorder: GraphRecorder) -> None:
    seen = []
    replay = recorder.record(lambda: seen.append(gc.isenabled()))
    assert (seen, gc.isenabled()) == ([False], True)
    gc.disable()
    try:
        recorder.record(lambda: None)
        assert not gc.isenabled(), "as it was before"
    finally:
        gc.enable()
    replay()
    assert graph.calls[-1] == "replay"


@pytest.mark.parametrize(("idle", "expected"), [(25, False), (26, True)])
def test_a_quarter_of_the_memory_may_lie_idle(idle: int, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 60 + idle)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 60)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=100))
    assert holds_too_much(torch.device("cuda", 0)) is expected
    assert not holds_too_much(torch.device("cpu"))
