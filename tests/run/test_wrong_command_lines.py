"""Command lines that cannot work are refused before any work, with what to write instead; odd ones that can, work."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from headbench.harness.files import read_json
from headbench.harness.run import State, read_cells

COMMON = ("--preset", "demo", "--device", "cpu", "--rasterizer", "torch")
TRIED = "wrong command lines"


@pytest.fixture
def average(faces: Path) -> tuple[object, ...]:
    """A run of one cell that takes no time, without --out."""
    return ("run", "--methods", "average", "--data-root", faces, "--datasets", "discs[anna]", *COMMON)


@pytest.mark.tried(TRIED, "options that contradict each other or cannot be, empty texts, names too long or not UTF-8")
def test_options_that_cannot_be_are_refused_before_any_work(bench, average, tmp_path: Path) -> None:
    cases = [
        (("--fail-fast", "--fail-on-error", 3), "--fail-fast stops after 1 failed cell"),
        (("--seeds", "0,0"), "seed 0 is named twice"),
        (("--seeds", "-1"), "greater than or equal to 0"),
        (("--label", ".."), "no dot first"),
        (("--label", ""), "expected a name, found an empty text"),
        (("--methods", ""), "methods: expected at least one name"),
        (("--methods", "avrage"), "Did you mean 'Average'"),
        (("--limit", 0), "limit: input should be greater than or equal to 1"),
        (("--timeout", "nan"), "found nan s"),
        (("--timeout", "-1"), "found -1 s"),
        (("--checkpoint-every", 0), "checkpoint_every: input should be greater than or equal to 1"),
        (("--fail-on-error", 0), "fail_on_error: input should be greater than or equal to 1"),
        (("--device", "cuda:99"), "Device cuda"),
        (("--device", "gpu"), "expected auto, cpu, cuda or cuda:K"),
        (("--rasterizer", "opengl"), "Unknown rasterizer 'opengl'"),
        (("--protocol", "none", "--protocol", "headbench@1"), "none scores nothing, so it goes with no other protocol"),
        (("--protocol", "headbench@9"), "Unknown protocol 'headbench@9'"),
        (("--set", "average.gain=[1"), "expected a YAML value, found no YAML at line 1"),
        (("--set", "gain"), "expected METHOD.OPTION=VALUE"),
        (("--datasets", "discs[anna"), "a bracket is not closed"),
        (("--datasets", "discs[anan]"), "Did you mean 'anna'"),
        (("--out", ""), "an empty text is no path"),
        (("--out", "x" * 256), "a name of 256 bytes is too long"),
        (("--out", "caf\udce9"), "no UTF-8 text; rename the file or folder"),
        (("--data-root", "nowhere"), "data root nowhere is no folder"),
    ]
    wrong = []
    for options, words in cases:
        done = bench(*average, *options)
        text = " ".join(done.err.replace("│", " ").split())
        if done.code != 1 or words not in text or "Traceback" in done.err:
            wrong.append((options, done))
    assert wrong == []
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "nothing was written"


@pytest.mark.tried(
    TRIED, "places that cannot be written: below a file, a folder for a file, a file for a folder, /proc"
)
def test_places_that_cannot_be_written_are_found_before_the_work(bench, average, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    below, check = tmp_path / "file" / "below", ("data", "check", "discs", "--data-root", faces)
    assert bench(*average, "--out", "good", "--no-report", "--protocol", "none").code == 0
    before = sorted(tmp_path.rglob("*"))
    cases = [
        ((*average, "--out", below), "is no folder"),
        ((*average, "--out", "file"), "expected a folder to write into, found a file"),
        ((*average, "--out", "/proc/new"), "/proc/new cannot be written: nothing can be made there"),
        (("data", "synth", below), "is no folder"),
        ((*check, "--sheet", tmp_path / "file" / "s.png"), "is no folder"),
        ((*check, "--sheet", tmp_path / "data.png"), "expected a file to write, found a folder"),
        (("report", "good", "--out", below), "is no folder"),
        (("report", "good", "--format", "csv", "--out", "file"), "expected a folder to write into, found a file"),
        (("render", "good", "--out", below), "is no folder"),
        (("profile", "--data-root", faces, "--dataset", "discs", "--json", below), "is no folder"),
        (("profile", "--data-root", faces, "--dataset", "discs", "--json", "good"), "expected a file to write"),
        (("submit", "discs", "good", "--out", below), "is no folder"),
    ]
    (tmp_path / "data.png").mkdir()
    wrong = [(line, done) for line, words in cases if (done := bench(*line)).code != 1 or words not in done.err]
    assert wrong == []
    assert [done for done in (bench(*line) for line, _ in cases[:4]) if "help: " not in done.err] == []
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "data.png"]), "no probe stays"


@pytest.mark.tried(TRIED, "HEADBENCH_HOME that is a file, or cannot be written")
def test_a_home_that_is_no_folder_is_said_by_what_needs_it(bench, average, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "model.pkl").touch()
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "file"))
    for line in (("assets", "list"), ("assets", "add", "flame2020", "model.pkl"), ("submit", "ledger")):
        done = bench(*line)
        assert done.code == 1 and f"{tmp_path / 'file'}: expected a folder, found a file" in done.err, done
        assert "help: set HEADBENCH_HOME to a folder" in done.err
    assert bench("list", "methods").code == 0, "what needs no files of the user goes on"
    assert "expected a folder, found a file" in bench("doctor").out
    monkeypatch.setenv("HEADBENCH_HOME", "/proc/home")
    done = bench("assets", "add", "flame2020", "model.pkl")
    assert done.code == 1 and "/proc/home cannot be written" in done.err


@pytest.mark.tried(TRIED, "HEADBENCH_KERNELS that names no kernel", "one sentence with the kernels that there are")
def test_a_kernel_that_there_is_not_is_refused_before_the_work(bench, average, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HEADBENCH_KERNELS", "-ssm")
    done = bench(*average, "--out", "out")
    assert done.code == 1 and "Unknown kernel 'ssm'. Did you mean 'ssim'" in " ".join(done.err.split()), done
    assert not (tmp_path / "out").exists()


@pytest.mark.tried(TRIED, "`--protocol none`", "cells are rendered and not scored; `bench score` scores them later")
@pytest.mark.slow
def test_protocol_none_renders_and_scores_nothing(bench, average, tmp_path: Path) -> None:
    done = bench(*average, "--out", "out", "--protocol", "none")
    assert done.code == 0 and "out: 1 done" in done.out, done
    cell = tmp_path / "out" / "cells" / "average-demo" / "discs" / "anna" / "seed0"
    assert len(list((cell / "renders" / "train-white").glob("*.png"))) == 3
    assert not (cell / "scores").exists()
    help = f"bench score {(tmp_path / 'out').resolve()} --protocol headbench@1"
    assert "rendered" in done.out and help in done.out
    assert bench("report", "out", "--format", "markdown").out.count("rendered") >= 1
    refused = bench("score", "out")
    assert refused.code == 1 and "was made with protocol none" in refused.err
    # What the table advises leads on.
    scored = bench(*help.split()[1:])
    assert scored.code == 0 and "headbench@1 scored" in scored.out
    assert bench("score", "out", "--protocol", "none").code == 1
    (tmp_path / "mine.yaml").write_text(
        "methods: average\ndata_root: data\nprotocol: none\ndevice: cpu\npreset: demo\n"
    )
    assert "1 cells, 1 to do" in bench("run", "mine.yaml", "--datasets", "discs[ben]", "--dry-run").out


@pytest.mark.tried(TRIED, "a method, preset, dataset or protocol that is named twice", "it counts once")
def test_what_is_named_twice_counts_once(bench, faces: Path) -> None:
    twice = ("--methods", "average,Average,AVERAGE", "--datasets", "discs[anna],discs[anna,a*]")
    done = bench("run", *twice, "--data-root", faces, *COMMON, "--preset", "demo,demo", "--out", "o", "--dry-run")
    assert done.code == 0 and "1 cells, 1 to do" in done.out, done


def test_subjects_with_odd_names_are_found_as_a_list_says_them(bench, faces: Path, tmp_path: Path) -> None:
    for name in ("a,b", "c[1]", "d*"):
        shutil.copytree(faces / "discs" / "ben", faces / "discs" / name)
    (tmp_path / "mine.yaml").write_text(
        "methods: average\ndata_root: data\ndevice: cpu\npreset: demo\ndatasets: ['discs[a\\,b]', 'discs[c[1],d\\*]']\n"
    )
    text = bench("run", "mine.yaml", "--dry-run").out
    assert "3 cells, 3 to do" in text
    assert all(f"average-demo/discs/{name}/seed0" in "".join(text.split()) for name in ("a,b", "c[1]", "d*"))
    done = bench("run", "mine.yaml", "--datasets", "discs[a,b]")
    assert done.code == 1 and "Unknown subject of discs 'a'. Available: a\\,b, anna" in done.err
    assert "Did you mean 'a\\,b'" in bench("run", "mine.yaml", "--datasets", "discs[a\\,c]").err


@pytest.mark.tried(TRIED, "a relative --out and --data-root, and a method that changes the folder it works in")
def test_children_get_whole_paths(bench, average, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    os.chdir(tmp_path / "here")
    line = [str(part) if part != tmp_path / "data" else "../data" for part in average]
    done = bench(*line, "--out", "out", "--no-report", "--protocol", "none")
    assert done.code == 0 and done.out.endswith("out: 1 done\n"), "messages say what was typed"
    folder = next((tmp_path / "here" / "out" / "cells").glob("*/*/*/*"))
    assert read_json(folder / "job.json")["data"] == str(tmp_path / "data" / "discs" / "anna")
    os.chdir(tmp_path)
    again = bench("run", "here/out/run.yaml", "--no-report")
    assert again.code == 0 and [r.attempts for r in read_cells(tmp_path / "here" / "out")] == [1], again


def test_a_name_as_long_as_names_can_be_works(bench, average, tmp_path: Path) -> None:
    out = "x" * 255
    assert bench(*average, "--out", out, "--no-report", "--protocol", "none").code == 0
    assert [record.state for record in read_cells(tmp_path / out)] == [State.DONE]


def test_what_a_reader_prints_is_not_in_the_list_for_scripts(bench, faces: Path, monkeypatch) -> None:
    import headbench_toys.discs

    read = headbench_toys.discs.Discs.read

    def noisy(self, folder, options):
        print("progress of a stranger")
        return read(self, folder, options)

    monkeypatch.setattr(headbench_toys.discs.Discs, "read", noisy)
    (faces / "discs" / "ben" / "subject.json").write_text(json.dumps({"broken": 1}))
    done = bench("data", "check", "discs", "--data-root", faces, "--fix-list")
    assert "progress of a stranger" in done.err and "progress" not in done.out
    assert done.out and all(len(line.split("\t")) == 5 for line in done.out.splitlines())
