"""Whatever is raised below a verb reaches the user as one sentence with a place and a remedy."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headbench.harness.cli import status
from headbench.harness.cli.main import main
from headbench.harness.files import atomic_path
from headbench.harness.run import Cell, CellRecord, State

Told = Callable[[BaseException | Callable[[Path], object]], tuple[int, str]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Exit code and standard error of a verb in which something is raised."""

    def call(what: BaseException | Callable[[Path], object]) -> tuple[int, str]:
        def raises(run: Path, *_: object) -> bool:
            if isinstance(what, BaseException):
                raise what
            return bool(what(run))

        monkeypatch.setattr(status, "_show", raises)
        monkeypatch.setattr(sys, "argv", ["bench", "status", "some/run"])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return call


def system(number: int, name: str | None = "some/file") -> OSError:
    return OSError(number, "words of the system", name)


def full_disk(path: Path) -> None:
    with atomic_path(path.absolute().parent / "cell.json"):
        raise OSError(errno.ENOSPC, "words of the system")


def nests(path: Path) -> None:
    nests(path)


def decodes(path: Path) -> None:
    b"\xff".decode()


class OutOfMemoryError(RuntimeError):
    """Stand-in for the error that torch raises for a GPU."""


@pytest.mark.tried(
    "faults in runs",
    "disks that are full, read-only or broken, files that may not be read, too many open files, no memory",
)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (system(errno.ENOSPC), "some/file: no space is left on its disk."),
        (system(errno.EROFS), "some/file: its file system is read-only."),
        (system(errno.EACCES), "some/file: this user may not read or write it."),
        (system(errno.ENOTDIR), "some/file: a part of this path is a file"),
        (system(errno.EISDIR), "some/file: expected a file, found a folder."),
        (system(errno.ENAMETOOLONG), "some/file: a name in this path is too long."),
        (system(errno.ELOOP), "some/file: links in this path lead in a circle."),
        (system(errno.EIO), "some/file: the disk answers with an error."),
        (system(errno.EMFILE), "some/file: too many files are open."),
        (system(errno.ENOTTY), "some/file: the system refuses it (ENOTTY)."),
        (MemoryError(), "there is not enough memory to go on."),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 1.90 GiB. GPU 0"), "its GPU had no 1.90 GiB left."),
        (UnicodeEncodeError("ascii", "caf\xe9", 3, 4, "no"), "found text that cannot be written as ascii: '\\xe9'"),
    ],
)
def test_what_the_system_says_is_told_with_file_and_remedy(told: Told, error: Exception, words: str) -> None:
    code, text = told(error)
    assert code == 1 and words in text
    assert text.startswith("error: ") and "\n  help: " in text
    assert "Traceback" not in text and "words of the system" not in text


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (full_disk, "/cell.json: no space is left on its disk."),
        (nests, "some/run: found something that nests too deep to be read."),
        (decodes, "some/run: found bytes that are not utf-8 text."),
    ],
)
def test_a_file_is_named_also_where_the_error_names_none(
    told: Told, what: Callable[[Path], object], words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Only frames of ours are looked at for the place.
    monkeypatch.setitem(globals(), "__name__", "headbench.tests")
    monkeypatch.chdir(tmp_path)
    code, text = told(what)
    assert code == 1 and words in text and "Traceback" not in text


@pytest.mark.tried(
    "faults in runs", "a fault of headbench itself", "one sentence that names the file of the full report"
)
def test_a_fault_of_ours_leaves_a_report(told: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))
    code, text = told(ZeroDivisionError("half a secret"))
    assert code == 1 and "ZeroDivisionError, which nobody foresaw: this is a fault of headbench" in text
    assert "Traceback" not in text and "half a secret" not in text
    (report,) = (tmp_path / "home" / "crashes").iterdir()
    assert str(report) in text
    assert "half a secret" in report.read_text() and "'bench status some/run'" in report.read_text()

    monkeypatch.setenv("HEADBENCH_DEBUG", "1")
    assert "half a secret" in told(ZeroDivisionError("half a secret"))[1]

    (tmp_path / "file").touch()
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    told(ZeroDivisionError("no home"))
    (report,) = (tmp_path / "temporary").iterdir()
    assert "no home" in report.read_text()


def test_a_panic_of_native_code_and_an_exit_of_a_stranger_are_sentences_too(told: Told) -> None:
    class Panic(BaseException):
        pass

    assert "Panic, which nobody foresaw" in told(Panic("index out of bounds"))[1]
    assert told(SystemExit("no licence")) == (1, "error: no licence\n")


def run(*arguments: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    code = "from headbench.harness.cli.main import main; main()"
    return subprocess.run([sys.executable, "-P", "-c", code, *arguments], stderr=subprocess.PIPE, check=False, **more)  # type: ignore[call-overload]


CELL = "a-demo/faces/anna/seed0"


@pytest.mark.tried("faults in runs", "standard output on a full disk, closed, or a pipe that nobody reads")
def test_output_that_cannot_be_written_is_no_traceback(tmp_path: Path) -> None:
    CellRecord(Cell("A", "demo", "", "faces", "anna", 0), State.DONE).write(tmp_path / "cells" / CELL)
    (tmp_path / "plan.json").write_text(json.dumps({"format": 1, "cells": [{"path": CELL}]}))
    with Path("/dev/full").open("wb") as full:
        done = run("status", str(tmp_path), stdout=full)
    assert done.returncode == 1
    assert b"error: standard output: no space is left on its disk." in done.stderr and b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    gone = run("status", str(tmp_path), stdout=writer)
    os.close(writer)
    assert (gone.returncode, gone.stderr) == (0, b"")
    closed = run("--version", preexec_fn=lambda: os.close(1))
    assert closed.returncode == 0 and b"Traceback" not in closed.stderr
