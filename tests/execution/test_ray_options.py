"""Options of the executor `ray`, parts of a GPU, and machines without Ray, or with less than cells ask for."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

from headbench.harness.errors import BenchError
from headbench.harness.execution.choose import make_executor
from headbench.harness.execution.ray import executor
from headbench.harness.execution.ray.dial import answers
from headbench.harness.execution.ray.head import free_block, sweep
from headbench.harness.execution.ray.options import RayOptions
from headbench.harness.execution.ray.share import measured, part_of
from headbench.harness.execution.system import commands, session_of, start_of
from headbench.harness.options import Resources
from headbench.harness.plugins import registry
from headbench.harness.run.request import read_request
from headbench.harness.validation import validate

GB = 2**30


@pytest.mark.tried(
    "wrong command lines",
    "options of the executor ray that do not fit",
    "one sentence each; nothing is written",
    "nothing",
)
@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("address=auto", "address: expected HOST:PORT"),
        ("address=ray://10.0.0.5:10001", "address: expected HOST:PORT"),
        ("address=10.0.0.5:99999", "address: expected HOST:PORT"),
        ("cpus=0", "cpus: "),
        ("gpus=1.5", "gpus: "),
        ("gpus=0", "gpus: "),
        ("throttle=0", "throttle: "),
        ("retries=-1", "retries: "),
        ("host=here", "host: expected an IPv4 address of this machine"),
        ("ports=24000", "ports: expected LOW-HIGH"),
        ("ports=80-200", "ports: expected LOW-HIGH with 1024 <= LOW < HIGH <= 65535"),
        ("port=1", "Unknown key 'port'"),
    ],
)
def test_an_option_that_does_not_fit_is_one_sentence(option: str, sentence: str) -> None:
    name, _, value = option.partition("=")
    with pytest.raises(BenchError) as error:
        validate(RayOptions, {name: value}, "executor ray")
    assert sentence in str(error.value) and "Value error" not in str(error.value)


@pytest.mark.tried(
    "wrong command lines",
    "the executor ray without Ray, with one GPU named, or with more cores or memory than this machine has",
    "one sentence each, before Ray starts",
    "nothing",
)
def test_no_ray_and_no_resources_are_one_sentence_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def accepted(more: dict[str, object], resources: Resources | None = None) -> None:
        request = read_request(None, {"executor": "ray", "device": "cpu", "data_root": str(tmp_path)} | more)
        make_executor(request, registry()).admit(resources or Resources())

    def refusal(more: dict[str, object], resources: Resources | None = None) -> str:
        with pytest.raises(BenchError) as error:
            accepted(more, resources)
        return str(error.value)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert refusal({}) == "executor ray needs ray.\n  help: pip install 'headbench[ray]'"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert "Ray chooses each cell's GPU" in refusal({"device": "cuda:1"})
    assert "--device asks for cpu" in refusal({"executor_set": ["gpus=0.5"]})
    on_cluster = {"device": "auto", "executor_set": ["address=127.0.0.1:9"]}
    assert "this machine cannot say on what" in refusal(on_cluster)
    assert "no option workers" in refusal({"workers": 2})
    monkeypatch.setattr(executor, "_this_machine", lambda device: {"CPU": 8.0, "GPU": 0.0, "memory": 16 * GB})
    asked = "A cell asks for 9 cores, and no node gives that; the most on this machine are 8 cores, 17.2 GB."
    assert asked in refusal({}, Resources(cpus=9))
    accepted({}, Resources(cpus=8, memory=16 * GB))
    accepted({"device": "cuda"}, Resources(cpus=4))
    assert "asks for 4 cores, 1 GPU" in refusal({"device": "cuda"}, Resources(gpus=1, cpus=4))
    assert "asks for 4 cores, 34.4 GB" in refusal({}, Resources(cpus=4, memory=32 * GB))
    monkeypatch.setattr(executor, "gpu_memory", lambda: None)
    assert "nvidia-smi does not say" in refusal({"device": "cuda", "executor_set": ["gpus=0.5"]})


def test_cores_of_a_cell_are_four_or_what_the_largest_node_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    for cores, expected in ((2, 2), (64, 4)):
        monkeypatch.setattr(executor, "_this_machine", lambda device, cores=cores: {"CPU": cores})
        ray = executor.Ray(RayOptions())
        ray.prepare("cpu")
        assert ray.cores == expected
        ray.admit(Resources(cpus=cores))


@pytest.mark.parametrize(
    ("asked", "peak", "expected"), [(0.25, 10 * GB, 0.25), (0.25, 40 * GB, 0.64), (0.1, GB, 0.1), (0.5, 79 * GB, 1.0)]
)
def test_a_part_of_a_gpu_holds_what_was_measured(asked: float, peak: int, expected: float) -> None:
    assert part_of(asked, peak, 80 * GB) == expected


def test_cells_share_a_gpu_only_once_the_memory_of_their_kind_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = executor.Ray(RayOptions(gpus=0.2))
    ray._gpu_memory, ray._nodes = 80 * GB, [{"CPU": 16, "GPU": 2}]
    submitted: list[tuple[str, float]] = []
    ends: dict[str, dict[str, str]] = {}

    class Link:
        def ask(self, do: str, seconds: float = 0, **values: list[dict[str, object]]) -> dict[str, object]:
            if do == "submit":
                submitted.extend((Path(str(cell["folder"])).name, float(str(cell["gpus"]))) for cell in values["cells"])
            return {"ended": ends} if do == "poll" else {}

    monkeypatch.setattr(executor.Ray, "_connected", lambda self: Link())
    folders = [tmp_path / "cells" / "m-demo" / "d" / "s" / f"seed{k}" for k in range(4)]
    handles = ray.submit([(folder, Resources(gpus=1, cpus=1)) for folder in folders])
    assert submitted == [("seed0", 1.0), ("seed1", 1.0)], "one GPU each, on two GPUs"
    stage = folders[0] / "stages" / "train"
    (stage / "checkpoint-1").mkdir(parents=True)
    summary = {"steps": 1, "seconds": 1.0, "rate": 1.0, "gaussians": 1, "peak_memory_bytes": 20 * GB}
    (stage / "summary.json").write_text(json.dumps(summary | {"device": "GPU", "rasterizer": "gsplat"}))
    assert measured([folders[0]]) == 20 * GB
    ends[handles[0]["key"]] = {"state": "done", "reason": "", "signature": ""}
    found = ray.poll(handles)
    assert [ended is None for ended in found] == [False, True, True, True]
    assert submitted[2:] == [("seed2", 0.33), ("seed3", 0.33)], "20 GB need more than a fifth of 80 GB"
    ray._link = Link()  # type: ignore[assignment]
    ray.cancel(handles[1:2])
    ends[handles[1]["key"]] = {"state": "interrupted", "reason": "", "signature": ""}
    ray._asked = 0.0
    assert ray.poll(handles[2:]) == [None, None]


def test_two_runs_take_different_ports_and_a_full_range_is_one_sentence() -> None:
    # Sixteen below those that the system hands out, so that they stay free; another suite begins elsewhere.
    with free_block("127.0.0.1", (10_000 + 16 * (os.getpid() % 1000), 32_000), 15) as low:
        pass
    with free_block("127.0.0.1", (low, low + 7), 3) as first, free_block("127.0.0.1", (low, low + 7), 3) as second:
        assert {first, second} == {low, low + 4}
        with (
            pytest.raises(BenchError, match="has no 4 free ports in a row"),
            free_block("127.0.0.1", (low, low + 7), 3),
        ):
            pass
        with free_block("127.0.0.1", (low + 8, low + 15), 3) as third:
            assert third == low + 8


def test_what_speaks_another_protocol_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        monkeypatch.setattr("headbench.harness.execution.ray.dial._WAIT", 0.05)
        assert not answers(address)
    assert not answers(address)


STARTS = """
import sys
from pathlib import Path
from headbench.harness.execution.ray import head

head._start(["sleep", "600"], Path(sys.argv[1]))
"""


LEAVES = """
import os, time
for _ in range(2000):
    if os.fork():
        break
    time.sleep(0.002)
time.sleep(600)
"""


def test_ray_that_starts_ends_when_its_run_is_killed(tmp_path: Path) -> None:
    starts = subprocess.Popen(
        [sys.executable, "-P", "-c", STARTS, str(tmp_path / "start.log")],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    until(lambda: "sleep" in of_session(starts.pid))
    assert starts.poll() is None
    _, error = starts.communicate(timeout=60)  # which closes its standard input, as a kill of `bench run` does
    assert b"The run that Ray was started for has ended" in error
    until(lambda: of_session(starts.pid) == [])


@pytest.mark.slow
def test_a_session_is_swept_with_what_it_starts_meanwhile() -> None:
    # Each process that is killed has left another one, as Ray's do that are about to start a worker.
    starts = subprocess.Popen([sys.executable, "-P", "-c", LEAVES], start_new_session=True)
    until(lambda: len(of_session(starts.pid)) > 20)
    sweep(starts.pid)
    starts.wait()
    assert of_session(starts.pid) == []


def of_session(session: int) -> list[str]:
    """Programs of the living processes of a session."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        if session_of(int(place.name)) == session and start_of(int(place.name)):
            found.append(next((Path(words[0]).name for number, words in commands() if number == int(place.name)), ""))
    return found
