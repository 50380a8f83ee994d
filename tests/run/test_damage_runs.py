"""Every file of a finished run, damaged in every plain way: what is seen, what `bench run` does again, what stays."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from forked import fork_drawing
from isolation import plugged

from headbench.harness.cli.main import main
from headbench.harness.cli.scoring import scorers
from headbench.harness.errors import BenchError
from headbench.harness.execution import Executor, local
from headbench.harness.execution.attend import _explain
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
    "pipe in its place": lambda path: instead(path, os.mkfifo),
    "folder in its place": lambda path: instead(path, Path.mkdir),
}
NO_MATTER = ("log.txt", "metrics.jsonl", "progress.json", "outcome.json", "previews/", "scratch")
"""Of a finished cell these are not read again."""
LOST = {"provenance.json": "the training of that cell"}


def altered(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


class Inline:
    """The worker, in this process, which spares an import of torch a cell."""

    pid = 0

    def __init__(self, command: object, folder: Path, timeout: object, more: object, spare: object) -> None:
        self._folder = folder

    def poll(self) -> Ended:
        try:
            job = Job.read(self._folder)
            run_stages(self._folder, job, find_registry(), scorers(job.protocols), lambda now: None)
        except (BenchError, OSError) as error:
            return _explain(error, "")
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

    def run(self, out: Path, methods: str = "blobs", datasets: str = "discs") -> tuple[int, str]:
        """`bench run`, in a folder."""
        return self(
            "run", "--methods", methods, "--datasets", datasets, "--data-root", self.root, "--preset", "demo",
            "--device", "cpu", "--rasterizer", "torch", "--checkpoint-every", 4, "--deterministic", "--no-report",
            "--out", out,
        )  # fmt: skip

    def helped(self, said: str) -> tuple[int, str]:
        """What the first line of help in `said` leads to."""
        (first, *_) = [line.partition("help: ")[2] for line in said.splitlines() if "help: " in line]
        command, *arguments = shlex.split(first)
        assert command == "bench", first
        return self(*arguments)


@pytest.fixture(scope="module")
def place(toys: Path, blobs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    from headbench.harness.device import be_deterministic

    root = tmp_path_factory.mktemp("people")
    for number in range(PEOPLE):
        folder = root / "discs" / f"p{number:02d}"
        folder.mkdir(parents=True)
        (folder / "subject.json").write_text(json.dumps({"frames": 9, "size": 24, "head": "openhead"}))
    with pytest.MonkeyPatch.context() as patch, plugged(toys, blobs):
        patch.setenv("HEADBENCH_HOME", str(root / "home"))
        patch.setattr(local, "Child", Inline)
        patch.setattr(local.Local, "expect", Executor.expect)  # there is no process to be made ready
        fork_drawing(patch)
        patch.setattr(speed, "CPU_SECONDS", 0.0)
        patch.setattr(execute, "POLL", 0.0)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield Place(root)
        torch.set_num_threads(threads)
        be_deterministic(False)


@pytest.fixture(scope="module")
def reference(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one cell per person. Read only."""
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
@pytest.mark.slow
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


TWO = "discs[p00,p01]"


@pytest.fixture(scope="module")
def two(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two cells. Read only."""
    run = tmp_path_factory.mktemp("two") / "run"
    code, said = place.run(run, datasets=TWO)
    assert code == 0, said
    return run


@pytest.fixture
def pair(two: Path, tmp_path: Path) -> Path:
    """A copy of it, which its run.yaml knows of."""
    run = tmp_path / "run"
    shutil.copytree(two, run)
    (run / "run.yaml").write_text((run / "run.yaml").read_text().replace(str(two), str(run)))
    return run


PLANS = {
    "empty": "",
    "{}": "{}",
    "cut": '{"format": 1, "cells": [{"method"',
    "null": "null",
    "no list": '{"cells": 3}',
    "null cells": '{"cells": [null]}',
    "a newer version": '{"format": 2, "cells": []}',
    "a path outside": '{"cells": [{"path": "../../../victim"}]}',
    "a path with ..": '{"cells": [{"path": "blobs-demo/discs/../seed0"}]}',
    "another cell's path": '{"cells": [{"path": "a/b/c/seed0", "method": "A", "preset": "x", "dataset": "b"}]}',
}


@pytest.mark.parametrize("content", PLANS.values(), ids=PLANS.keys())
@pytest.mark.tried(
    "faults in runs", "plan.json damaged in ten ways", "one sentence; the same `bench run` makes it anew"
)
@pytest.mark.slow
def test_a_damaged_plan_is_one_sentence_and_is_made_anew(place: Place, pair: Path, content: str) -> None:
    (pair / "plan.json").write_text(content)
    for verb in ("status", "score", "verify"):
        code, said = place(verb, pair)
        assert code == 1 and said.count("error:") == 1 and str(pair / "plan.json") in said, said
    if "newer" not in said and "found format" not in said:
        code, said = place.helped(said)
    else:
        code, said = place.run(pair, datasets=TWO)
    assert code == 0 and "is made anew from the cells that are there" in said, said
    assert [record.cell.subject for record in read_cells(pair)] == ["p00", "p01"]
    assert kept(pair)


def _full(path: Path) -> None:
    path.mkdir()
    (path / "mine.txt").touch()


STRANGE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "cell.json": (_full, "cell.json: expected a file, found a folder that is not empty", ""),
    "job.json": (_full, "job.json: expected a file, found a folder that is not empty", ""),
    "runner.json": (_full, "runner.json: expected a file, found a folder that is not empty", ""),
    "progress.json": (os.mkfifo, "", ""),
    "stages/train/log.txt": (os.mkfifo, "log.txt: expected a file, found a named pipe", ""),
    "stages/train/checkpoint-12/state.json": (os.mkfifo, "", "state.json: found a named pipe instead of a file"),
    "stages/train/checkpoint-12/model.safetensors": (_full, "", "model.safetensors: found a folder instead of a file"),
    "stages": (os.mkfifo, "stages: expected a folder, found a named pipe", "is no checkpoint and holds none"),
    "renders/train-white": (Path.touch, "train-white: expected a folder, found a file", ""),
    "renders/train-white/sha256.txt": (_full, "sha256.txt: expected a file, found a folder that is not empty", ""),
    "scores/headbench@1.json": (_full, "headbench@1.json: expected a file, found a folder that is not empty", ""),
}
"""Place of a cell's file or folder -> what is put there, what `bench run` says, what `bench render` does."""
ALIKE = {"job.json", "runner.json", "stages/train/checkpoint-12/model.safetensors", "scores/headbench@1.json"}
"""Places whose like is among the others."""


@pytest.mark.tried(
    "hostile files",
    "a named pipe, a file or a folder in place of a cell's own files and folders",
    "no verb waits; `bench run` makes it anew or says in a sentence what to move away; other cells go on",
)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in ALIKE else name for name in STRANGE]
)
def test_what_is_in_the_place_of_a_cells_file_concerns_that_cell_alone(place: Place, pair: Path, name: str) -> None:
    make, told, shown = STRANGE[name]
    cell, other = cells(pair)
    path = cell / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    for each in (cell, other):  # so that there is work for both
        (each / "scores" / "headbench@1.json").unlink(missing_ok=True)
    make(path)
    for line in (("status", pair), ("report", pair, "--no-figures"), ("verify", pair, "--sample", 0)):
        assert place(*line)[0] in (0, 2)
    code, said = place("render", cell, "--frames", 1, "--rasterizer", "torch", "--out", pair.parent / "shown")
    assert (code, shown in said) == (1 if shown else 0, True), said
    code, said = place.run(pair, datasets=TWO)
    assert code == (2 if told else 0) and told in said and ("move it away" in said) == bool(told), said
    states = {record.cell.subject: record.state for record in read_cells(pair)}
    assert states["p01"] is State.DONE and (other / "scores" / "headbench@1.json").is_file()
    code, said = place("score", pair)
    assert code in (0, 2) and "Errno" not in said
    if not told:
        assert place("verify", pair, "--sample", 0)[0] == 0


@pytest.mark.tried(
    "hostile files", "cell.json of a received run that names a place outside", "nothing is written; the cell is unknown"
)
def test_names_in_a_strangers_cell_lead_nowhere(place: Place, pair: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    shutil.copytree(pair, victim)
    cell = cells(pair)[0]
    for name in ("subject", "method", "variant", "dataset", "preset"):
        for wrong in ("../../../../victim/cells/blobs-demo/discs/p00", "..", "p01", "a/b", ""):
            for file in ("cell.json", "job.json"):
                values = json.loads((two_of(victim) / file).read_text())
                values.pop("seal")
                (values["cell"] if file == "job.json" else values)[name] = wrong
                (cell / file).write_text(json.dumps(values))
            before = {path: path.read_bytes() for path in victim.rglob("*") if path.is_file()}
            if name == "subject":
                code, said = place("score", pair, "--force")
                assert code == 2 and "p01/seed0: headbench@1 scored" in said, said
            states = [record.state for record in read_cells(pair)]
            assert states == ([State.DONE] * 2 if (name, wrong) == ("variant", "") else [State.UNKNOWN, State.DONE])
            assert {path: path.read_bytes() for path in victim.rglob("*") if path.is_file()} == before


def two_of(run: Path) -> Path:
    return cells(run)[0]


@pytest.mark.tried("faults in runs", "run.yaml removed", "`bench score` scores by what cells were scored by before")
def test_a_run_without_its_request_is_scored_as_before(place: Place, pair: Path) -> None:
    (pair / "run.yaml").unlink()
    code, said = place("score", pair, "--force")
    assert code == 0 and said.count("headbench@1 scored") == 2


@pytest.mark.tried("faults in runs", "the renders removed to save disk", "`bench score` names the command that renders")
def test_removed_renders_are_made_again_by_the_command_that_score_names(place: Place, pair: Path, two: Path) -> None:
    shutil.rmtree(cells(pair)[1] / "renders")
    code, said = place("score", pair, "--protocol", "fateavatar-8bit@1")
    assert code == 2 and "p00/seed0: fateavatar-8bit@1 scored" in said and said.count("has no complete renders") == 1
    code, said = place.helped(said)
    assert code == 0, said
    code, said = place("score", pair, "--protocol", "headbench@1", "--protocol", "fateavatar-8bit@1")
    assert code == 0 and said.count("is up to date") == 4, said
    assert {n: d for n, d in kept(pair).items() if "fateavatar-8bit" not in n} == kept(two)


@pytest.mark.tried("faults in runs", "one picture of a finished run damaged", "that frame alone is rendered again")
def test_one_damaged_picture_is_one_frame_of_work(place: Place, pair: Path, two: Path) -> None:
    renders = cells(pair)[0] / "renders" / "train-white"
    stamps = {path.name: path.stat().st_mtime_ns for path in renders.glob("*.png")}
    (renders / "00007.png").write_bytes(altered((renders / "00007.png").read_bytes()))
    scores = cells(pair)[0] / "scores" / "headbench@1.jsonl"
    moment = scores.stat().st_mtime_ns
    code, said = place.run(pair, datasets=TWO)
    assert code == 0 and "frame 00007: renders/train-white/00007.png is missing, or not as it was rendered" in said
    assert [p.name for p in renders.glob("*.png") if p.stat().st_mtime_ns != stamps[p.name]] == ["00007.png"]
    assert scores.stat().st_mtime_ns == moment and kept(pair) == kept(two)


@pytest.mark.tried(
    "faults in runs", "a score edited together with its hash", "`bench verify` computes it from the picture"
)
def test_a_forged_score_is_not_that_of_its_picture(place: Place, pair: Path) -> None:
    scores = cells(pair)[0] / "scores" / "headbench@1.jsonl"
    header, first, *rest = scores.read_text().splitlines()
    values = json.loads(first)
    forged = json.dumps({**values, "scores": {**values["scores"], "psnr": values["scores"]["psnr"] + 1.0}})
    scores.write_text("\n".join([header, forged, *rest]) + "\n")
    marker = scores.with_suffix(".json")
    digest = hashlib.sha256(scores.read_bytes()).hexdigest()
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "scores": digest}))
    code, said = place("verify", pair, "--sample", 0)
    assert code == 0 and "0 frames scored again: all is as it was written" in said, said
    code, said = place("verify", pair)
    assert code == 2 and f"frame {values['id']}: scores/headbench@1.jsonl: psnr is" in said and "1 difference" in said
    assert place.helped(said)[0] == 0
    code, said = place("verify", pair)
    assert code == 0 and "6 frames scored again" in said, said


@pytest.mark.tried("faults in runs", "the dataset gone", "`bench verify` hashes all, and says what it could not check")
def test_without_the_dataset_verify_says_what_it_did_not_check(place: Place, pair: Path) -> None:
    away = place.root.with_name("away")
    (place.root / "discs").rename(away)
    try:
        code, said = place("verify", pair)
    finally:
        away.rename(place.root / "discs")
    assert code == 0 and said.count("not verified: scores against pictures, since the dataset cannot be read") == 2
    assert "0 frames scored again" in said


@pytest.mark.tried("faults in runs", "half-written files that a kill left", "they are removed when the run goes on")
def test_what_a_kill_left_half_written_goes(place: Place, pair: Path, two: Path) -> None:
    cell = cells(pair)[0]
    left = [pair / ".plan.json.0123abcd.part", pair / "data" / "discs" / ".x.json.0123abcd.part"]
    left += [cell / "renders" / "train-white" / ".00007.png.0123abcd.part", cell / ".cell.json.0123abcd.part"]
    folder = cell / "stages" / "train" / ".checkpoint-40.0123abcd.part"
    folder.mkdir()
    left.append(folder / "model.safetensors")
    for path in left:
        path.write_bytes(b"half")
    (cell / "speed.json").unlink()
    assert place.run(pair, datasets=TWO)[0] == 0
    assert not [path for path in (*left, folder) if path.exists()] and kept(pair) == kept(two)


@pytest.mark.tried("faults in runs", "the list of a run's frames damaged", "it is written again from the dataset")
def test_the_list_of_frames_is_written_again(place: Place, pair: Path) -> None:
    for path in (pair / "data").rglob("*.json"):
        path.write_text('{"dataset": 3}')
    code, said = place("verify", pair, "--sample", 0)
    assert code == 2 and "data/discs/p00-" in said
    assert place.helped(said)[0] == 0
    assert place("verify", pair, "--sample", 0)[0] == 0


def test_the_remedy_of_a_cell_of_an_earlier_request_is_that_request(place: Place, pair: Path) -> None:
    code, said = place.run(pair, methods="average", datasets="discs[p02]")
    assert code == 0, said
    shutil.rmtree(cells(pair)[0] / "renders")
    code, said = place("score", pair, "--force")
    assert code == 2 and f"help: bench run --methods blobs --datasets '{TWO}'" in said
    code, said = place("verify", pair)
    assert code == 2 and "the renders that headbench@1 scores are missing" in said


@pytest.mark.tried(
    "faults in runs", "odd states, dates and nulls in cell.json", "the cell is unknown, and looked at afresh"
)
@pytest.mark.parametrize(
    "change", [{"state": "paused"}, {"started": "yesterday"}, {"attempts": None}, {"notes": [1]}, {"seed": "0"}]
)
def test_a_record_that_cannot_be_is_unknown(place: Place, pair: Path, two: Path, change: dict[str, object]) -> None:
    path = cells(pair)[0] / "cell.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    code, said = place("status", pair)
    told = "".join(said.split())  # a column is as narrow as the screen makes it
    assert code == 0 and "unknown" in told and str(path) in told and "benchrun" in told
    code, said = place.run(pair, datasets=TWO)
    assert code == 0 and "done again" in said and kept(pair) == kept(two), said
