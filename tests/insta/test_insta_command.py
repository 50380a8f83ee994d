"""`bench data check` and how the dataset comes to it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from headbench.datasets.synthetic import write
from headbench.datasets.synthetic.around import extras
from headbench.harness.cli.data import data
from headbench.harness.errors import BenchError, DataError
from headbench.harness.plugins import registry


def _check(*arguments):
    return CliRunner().invoke(data, ["check", *map(str, arguments)])


def _root(author):
    return author.folder.parents[1]


def test_a_sound_subject_gives_a_summary_and_exit_code_0(author) -> None:
    result = _check("insta", "--data-root", _root(author))
    assert result.exit_code == 0, result.output
    *_, summary, fallback, prints, total = result.output.splitlines()
    assert summary == (
        "someone: insta/fate, flame2020, 32 x 32, 6 frames (00000-00005) for training, "
        "3 frames (00006-00008) for testing; 0 errors, 1 warning"
    )
    assert fallback == "  note: 3 test frames instead of INSTA's usual 350" and "fingerprint: tracking " in prints
    assert total == "1 subject(s) of insta: 0 errors, 1 warning"


def test_errors_are_printed_one_per_line_with_file_and_frame_and_give_exit_code_2(author) -> None:
    (author.folder / "images/00001.png").unlink()
    author.text("jaw", 4, [0.0] * 6)
    result = _check("insta", "--data-root", _root(author))
    assert result.exit_code == 2
    errors = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert errors[1].startswith(f"error: {author.folder / 'flame/jaw/00004.txt'} [frame 00004]: ")
    assert errors[0].startswith(f"error: {author.folder / 'images/00001.png'} [frame 00001]: ")
    assert "someone: cannot be read; 2 errors in 2 frames, 1 warning" in result.output


def test_subjects_can_be_picked_and_unknown_ones_are_suggested(author) -> None:
    other = author.folder.with_name("other")
    (other / "checkpoint").mkdir(parents=True)
    assert "2 subject(s) of insta: 1 error, 1 warning" in _check("insta", "--data-root", _root(author)).output
    picked = _check("insta", "--data-root", _root(author), "--subject", "someone")
    assert picked.exit_code == 0 and "1 subject(s)" in picked.output
    wrong = _check("insta", "--data-root", _root(author), "--subject", "sombody")
    assert isinstance(wrong.exception, DataError) and "Did you mean 'someone'" in str(wrong.exception)


def test_reader_options_can_be_set_and_are_checked(author) -> None:
    good = _check("insta", "--data-root", author.folder, "--set", "insta.eyes=fateavatar")
    assert good.exit_code == 0
    bad = _check("insta", "--data-root", author.folder, "--set", "insta.eyes=fate")
    assert isinstance(bad.exception, DataError) and "Did you mean 'fateavatar'" in str(bad.exception)
    other = _check("insta", "--data-root", author.folder, "--set", "imavatar.eyes=fate")
    assert isinstance(other.exception, BenchError) and "only options of insta" in str(other.exception)


def test_an_unknown_dataset_is_suggested(author) -> None:
    result = _check("instta", "--data-root", author.folder)
    assert isinstance(result.exception, BenchError) and "Did you mean 'insta'" in str(result.exception)


@pytest.mark.parametrize("arguments", [["--frames", "1"], ["--size", "8"], ["--subjects", "0"], ["--seed", "-1"]])
def test_synth_refuses_impossible_sizes_before_anything_is_written(arguments, tmp_path) -> None:
    result = CliRunner().invoke(data, ["synth", *arguments, str(tmp_path / "out")])
    assert result.exit_code != 0 and arguments[0] in result.output
    assert not (tmp_path / "out").exists()


def test_a_synthetic_subject_is_written_and_has_nothing_wrong(tmp_path, monkeypatch) -> None:
    asked = []

    def few(clip, count, around):
        asked.append((count, around))
        return extras(clip, count, around)[::12]

    monkeypatch.setattr(write, "extras", few)
    arguments = ["synth", "--frames", "3", "--size", "48", "--seed", "5", str(tmp_path / "D")]
    result = CliRunner().invoke(data, arguments)
    assert result.exit_code == 0, result.output
    assert f"bench run --methods all --datasets insta --data-root {tmp_path / 'D'}" in result.output
    assert asked == [(12, True)], "the orbit, and views from all around, of which one in twelve is written"
    assert len(list((tmp_path / "D" / "insta" / "synth00" / "truth").rglob("*.png"))) == 5
    checked = _check("insta", "--data-root", tmp_path / "D")
    note, summary, _, total = checked.output.splitlines()
    assert "2 frames (00000-00001) for training, 1 frame (00002) for testing; 0 errors, 0 warnings" in summary
    assert "openhead, 48 x 48" in summary and total == "1 subject(s) of insta: 0 errors, 0 warnings"
    # Independent of the writer: the tracked mesh lies on the rendered head.
    assert all(float(part.split()[0]) > 0.7 for part in note.split("IoU ")[1].split(", "))
    again = CliRunner().invoke(data, arguments)
    assert isinstance(again.exception, BenchError) and "synth00 exists already" in str(again.exception)


def test_synth_suggests_layouts(tmp_path) -> None:
    result = CliRunner().invoke(data, ["synth", "--layout", "inst", str(tmp_path)])
    assert isinstance(result.exception, BenchError) and "Did you mean 'insta'" in str(result.exception)


def test_the_dataset_is_registered_and_its_reader_is_sound() -> None:
    spec = registry().dataset("INSTA")
    assert spec.provides == {"mouth", "cloth"} and spec.licence and spec.citation
    assert type(registry().load_dataset("insta")).__name__ == "InstaReader"


def test_the_command_and_the_registration_need_no_torch() -> None:
    code = (
        "import sys; import headbench.harness.cli.data, headbench.datasets.plugin; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'PIL')))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
