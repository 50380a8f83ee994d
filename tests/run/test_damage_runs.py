"""Every file of a finished run, damaged in every plain way: what is seen, what `bench run` does again, what stays."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from headbench.harness.cli.main import main
from headbench.harness.cli.scoring import scorers
from headbench.harness.errors import BenchError
from headbench.harness.plugins import registry as find_registry
from headbench.harness.run import Job, State, execute, read_cells, speed
from headbench.harness.run.child import Ended
from headbench.harness.run.stages import run_stages

PEOPLE = 24
DAMAGES: dict[str, Callable[[Path], object]] = {
    "removed": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "replaced by {}": lambda path: path.write_bytes(b"{}"),
    "altered in one byte": lambda path: path.write_bytes(altered(path.read_bytes())),
}
NO_MATTER = ("log.txt", "metrics.jsonl", "progress.json", "outcome.json", "previews/", "scratch")
"""Of a finished cell these are not read again."""
LOST = {"provenance.json": "the training of that cell"}


def altered(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


class Inline:
    """The worker, in this process, which spares an import of torch a cell."""

    def __init__(self, worker: Path, folder: Path, timeout: float | None) -> None:
        self._folder = folder

    def poll(self) -> Ended:
        try:
            job = Job.read(self._folder)
            run_stages(self._folder, job, find_registry(), scorers(job.protocols), lambda now: None)
        except BenchError as error:
            return Ended(State.FAILED, f"{error.args[0]} ({error.help})")
        return Ended(State.DONE)


class Place:
    """Where `bench` runs in this process; `root` holds the data."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *arguments: object) -> tuple[int, str]:
        """Exit code, and what was printed."""
        find_registry.cache_clear()
        out = io.StringIO()
        before, sys.argv = sys.argv, ["bench", *map(str, arguments)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), pytest.raises(SystemExit) as ended:
                main()
        finally:
            sys.argv = before
        assert "Traceback" not in out.getvalue(), out.getvalue()
        return int(ended.value.code or 0), out.getvalue()

    def run(self, out: Path) -> tuple[int, str]:
        return self(
            "run", "--methods", "blobs", "--datasets", "discs", "--data-root", self.root, "--preset", "demo",
            "--device", "cpu", "--rasterizer", "torch", "--checkpoint-every", 4, "--deterministic", "--no-report",
            "--out", out,
        )  # fmt: skip


@pytest.fixture(scope="module")
def place(toys: Path, blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    from headbench.harness.device import be_deterministic

    root = tmp_path_factory.mktemp("people")
    for number in range(PEOPLE):
        folder = root / "discs" / f"p{number:02d}"
        folder.mkdir(parents=True)
        (folder / "subject.json").write_text(json.dumps({"frames": 9, "size": 24, "head": "openhead"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(toys))
        patch.syspath_prepend(str(blobs))
        patch.setenv("HEADBENCH_HOME", str(root / "home"))
        patch.setattr(execute, "Child", Inline)
        patch.setattr(speed, "CPU_SECONDS", 0.0)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield Place(root)
        find_registry.cache_clear()
        torch.set_num_threads(threads)
        be_deterministic(False)


@pytest.fixture(scope="module")
def reference(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a cell a person. Read only."""
    run = tmp_path_factory.mktemp("reference") / "run"
    code, said = place.run(run)
    assert code == 0, said
    return run


@pytest.fixture
def run(reference: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(reference, tmp_path / "run")
    return tmp_path / "run"


def cells(run: Path) -> list[Path]:
    return sorted(path for path in run.glob("cells/blobs-demo/discs/*/seed0"))


def kept(run: Path) -> dict[str, str]:
    """SHA-256 of what a run is for, file by file: pictures, scores, weights."""
    suffixes, spare = {".png", ".jsonl", ".safetensors", ".txt"}, (*NO_MATTER, "checkpoint-8/")
    found = {path.relative_to(run).as_posix(): path for path in run.glob("cells/*/*/*/*/**/*") if path.is_file()}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(found.items())
        if path.suffix in suffixes and not any(part in name for part in spare)
    }


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(
            damage,
            id=damage.split()[0],
            marks=pytest.mark.tried(
                "faults in runs",
                f"each file of a finished cell {damage}",
                "`bench run` sees it by hash and does that part again; pictures, scores and weights end as they were",
                "with provenance.json the training of that one cell; logs and previews stay as they are",
            ),
        )
        for damage in DAMAGES
    ],
)
def test_a_damaged_file_costs_its_own_work_and_no_other_cells(
    place: Place, run: Path, reference: Path, damage: str
) -> None:
    first = cells(run)[0]
    names = sorted(path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file())
    assert 18 <= len(names) <= PEOPLE, names
    damaged = dict(zip(cells(run), names, strict=False))
    for cell, name in damaged.items():
        DAMAGES[damage](cell / name)

    code, said = place("status", run)
    assert code == 0 and f"{len(cells(run))} cells" in said
    code, said = place("report", run, "--no-figures")
    assert code in (0, 1), said
    code, said = place("verify", run, "--sample", 0)
    assert code == 2
    for cell, name in damaged.items():
        seen = cell.relative_to(run / "cells").as_posix() in said
        whole = any(part in name for part in NO_MATTER)
        assert seen or whole, f"{name} {damage} was not seen:\n{said}"
    code, said = place("score", run)
    assert code in (0, 2), said

    code, said = place.run(run)
    assert code == 2 and said.count("provenance.json") >= 1, said
    states = {record.cell.subject: record for record in read_cells(run)}
    lost = [record for record in states.values() if record.state is not State.DONE]
    assert [damaged[cell] for cell in cells(run) if cell.parent.name == lost[0].cell.subject] == ["provenance.json"]
    assert len(lost) == 1 and "remove" in lost[0].reason
    shutil.rmtree(run / "cells" / lost[0].cell.path)

    code, said = place.run(run)
    assert code == 0, said
    assert kept(run) == kept(reference)
    code, said = place("verify", run, "--sample", 1)
    assert code == 0 and f"{len(cells(run))} frames scored again: all is as it was written" in said, said
