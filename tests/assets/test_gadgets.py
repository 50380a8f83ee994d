"""Pickles that attack their reader are refused with one sentence, in bounded time and memory.

They are read in a child with little memory, so that a crash or an endless loop is a failure of one test.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from gadgets import ARCHIVES, ARRAYS, HARMLESS, LEGACY, PICKLES, program

SECONDS = 60
"""The most that reading one file of some kilobytes may take, on a busy machine; it takes milliseconds."""
MEMORY = 1200 * 2**20
"""Address space of the child, of which numpy and scipy alone take half."""
FOREIGN = ("weights_only", "allow_pickle", "unsafe", "Unpickling", "torch.load(", "Error", "0x", "\n")


class Child:
    """A process that reads files; started anew when it died."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen | None = None

    def start(self) -> subprocess.Popen:
        script = Path(__file__).with_name("reading_child.py")
        single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return subprocess.Popen(
            [sys.executable, script, str(MEMORY)],
            cwd=self.folder,
            env={**os.environ, **single},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )

    def read(self, how: str, path: Path) -> dict[str, str]:
        if self.process is None or self.process.poll() is not None:
            self.process = self.start()
        self.process.stdin.write(json.dumps([how, str(path)]) + "\n")
        if not select.select([self.process.stdout], [], [], SECONDS)[0]:
            self.stop()
            return {"raised": f"nothing in {SECONDS} s"}
        line = self.process.stdout.readline()
        return json.loads(line) if line.startswith("{") else {"raised": f"{line}{self.process.wait()}"}

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    made = Child(tmp_path_factory.mktemp("child"))
    yield made
    made.stop()


def _refused(child: Child, how: str, path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    answer = child.read(how, path)
    assert list(answer) == ["refused"], answer
    assert answer["refused"].startswith(f"{path}: found ") and said in answer["refused"], answer
    sentence = answer["refused"].removeprefix(f"{path}: ")
    assert not [word for word in FOREIGN if word in sentence], sentence
    assert not (child.folder / "ran").exists() and not Path("ran").exists()


@pytest.mark.tried(
    "hostile files", "pickles with code, false dtypes, endless sharing and nesting, sizes that are not there"
)
@pytest.mark.parametrize("what", PICKLES)
def test_a_pickle_that_attacks_is_refused(child, tmp_path, what) -> None:
    body, said = PICKLES[what]
    _refused(child, "pickle", tmp_path / "x.pkl", program(body), said)


@pytest.mark.tried("hostile files", "torch files whose tensors, storages or members lie")
@pytest.mark.parametrize("what", ARCHIVES)
def test_a_torch_file_that_attacks_is_refused(child, tmp_path, what) -> None:
    content, said = ARCHIVES[what]
    _refused(child, "torch", tmp_path / "x.frame", content, said)


@pytest.mark.tried("hostile files", "torch files of the format before 1.6 that lie")
@pytest.mark.parametrize("what", LEGACY)
def test_an_old_torch_file_that_attacks_is_refused(child, tmp_path, what) -> None:
    content, said = LEGACY[what]
    _refused(child, "torch", tmp_path / "x.pth", content, said)


@pytest.mark.tried("hostile files", "npy files of objects with code in them")
@pytest.mark.parametrize("what", ARRAYS)
def test_an_array_of_objects_that_attacks_is_refused(child, tmp_path, what) -> None:
    content, said = ARRAYS[what]
    _refused(child, "npy", tmp_path / "x.npy", content, said)


@pytest.mark.parametrize("what", HARMLESS)
def test_odd_pickles_that_do_no_harm_are_read(child, tmp_path, what) -> None:
    (tmp_path / "x.pkl").write_bytes(HARMLESS[what])
    assert list(child.read("pickle", tmp_path / "x.pkl")) == ["read"]
    assert not (child.folder / "ran").exists()


def test_every_prefix_of_an_attack_ends_in_a_sentence(child, tmp_path) -> None:
    path = tmp_path / "x.pkl"
    for what in ("an object field over bytes", "a row beyond the matrix", "lists shared 39 deep"):
        content = program(PICKLES[what][0])
        for end in range(0, len(content), 7):
            path.write_bytes(content[:end])
            assert list(child.read("pickle", path)) == ["refused"]


@pytest.mark.parametrize("how", ["pickle", "torch", "npy"])
def test_what_is_no_file_is_refused_before_it_is_opened(child, tmp_path, how) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "found a named pipe" in child.read(how, tmp_path / "pipe")["refused"]
    assert "found a folder" in child.read(how, tmp_path)["refused"]
    assert "found no such file" in child.read(how, tmp_path / "absent")["refused"]
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "found a Git LFS pointer" in child.read(how, tmp_path / "pointer")["refused"]
    with (tmp_path / "large").open("wb") as file:
        file.write(b"\x80\x04" if how != "npy" else b"\x93NUMPY")
        file.truncate(3 * 2**30)
    assert "found " in child.read(how, tmp_path / "large")["refused"]


def test_there_are_enough_of_them() -> None:
    assert len(PICKLES) + len(ARCHIVES) + len(LEGACY) + len(ARRAYS) > 150
