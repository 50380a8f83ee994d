"""`bench submit` and the ledger."""

from __future__ import annotations

import json
import threading
import zipfile
from pathlib import Path

import pytest

from headbench.harness.errors import BenchError, DataError
from headbench.harness.files import read_json, sha256_of
from headbench.submission import Entry, ledger_path, read_ledger, record_upload
from headbench.submission.ledger import add_entry


def entry(number: int, event: str = "made", task: str = "toy_avatar") -> Entry:
    return Entry(event, "2026-01-01T00:00:00+00:00", "stage", task, f"{number:064x}", "x.zip", "puppet-demo-seed0")


@pytest.mark.slow
def test_from_a_run_to_an_upload(bench, trained, stage: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.zip"
    done = bench("submit", "stage", trained, "--out", out, "--device", "cpu")
    assert done.code == 0, done.out + done.err
    assert done.out.splitlines()[-1] == f"{out}: 0 errors, 0 warnings, 0 notes; ready"
    assert f"record: {tmp_path / 'mine.json'}" in done.out
    assert "quota of toy_avatar: 2, 0 uploaded so far" in done.out
    assert read_json(tmp_path / "mine.json")["zip"]["sha256"] == sha256_of(out)

    checked = bench("submit", "check", out, "--data-root", stage)
    assert checked.code == 0 and checked.out == f"{out}: 0 errors, 0 warnings, 0 notes; ready\n"

    sent = bench("submit", "uploaded", out, "--note", "first try")
    assert sent.code == 0 and sent.out == "toy_avatar: 1 of 2 submissions uploaded\n"
    again = bench("submit", "uploaded", out)
    assert again.code == 1 and "is in the ledger as uploaded at" in again.err

    shown = bench("submit", "ledger")
    assert shown.code == 0
    assert "first try" in shown.out and "toy_avatar: 1 of 2 submissions uploaded, 1 left" in shown.out
    assert [line.event for line in read_ledger()] == ["made", "uploaded"]


def test_a_broken_zip_of_somebody_else(bench, made, tmp_path: Path) -> None:
    broken = tmp_path / "theirs.zip"
    with zipfile.ZipFile(made.zip) as good, zipfile.ZipFile(broken, "w") as bad:
        for name in good.namelist()[:-1]:
            bad.writestr(name, good.read(name))
    done = bench("submit", "check", broken, "--dataset", "stage")
    assert done.code == 2 and "Traceback" not in done.err
    assert "error: 011/EMO+joy/cam_200.mp4: missing: expected 8 videos, found none here" in done.out
    assert "note: unchecked: " in done.out
    assert done.out.splitlines()[-1] == f"{broken}: 1 error, 0 warnings, 2 notes; do not upload it"
    sent = bench("submit", "uploaded", broken)
    assert sent.code == 1 and "was made here" in sent.err


def test_a_dataset_must_be_named_where_several_take_submissions(bench, made, tmp_path: Path) -> None:
    alone = tmp_path / "alone.zip"
    alone.write_bytes(made.zip.read_bytes())
    done = bench("submit", "check", alone)
    assert done.code == 1 and "Datasets that take submissions: nersemble, stage" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["submit", "chekc", "x.zip"], "Did you mean 'check'"),
        (["submit", "stage", "nowhere"], "nowhere is no run folder"),
        (["submit", "insta", "nowhere"], "Dataset insta has no benchmark that takes submissions"),
        (["submit", "check", "nowhere.zip", "--dataset", "stage"], "nowhere.zip is no file"),
    ],
)
def test_wrong_usage(bench, arguments: list[str], words: str) -> None:
    done = bench(*arguments)
    assert done.code == 1 and words in done.out + done.err and "Traceback" not in done.err


def test_help_of_a_dataset_names_its_options(bench) -> None:
    done = bench("submit", "stage", "--help")
    assert done.code == 0 and "--data-root" in done.out and "killed call" in done.out


def test_the_quota_is_kept() -> None:
    for number in range(3):
        add_entry(entry(number))
    for number in range(2):
        record_upload(f"{number:064x}", Path("x.zip"), 2)
    with pytest.raises(BenchError, match="2 uploads to toy_avatar are in the ledger, and the quota is 2"):
        record_upload(f"{2:064x}", Path("x.zip"), 2)
    assert [line.event for line in read_ledger()] == ["made"] * 3 + ["uploaded"] * 2


def test_uploads_to_another_task_do_not_count() -> None:
    add_entry(entry(0))
    for number in range(5):
        add_entry(entry(10 + number, "uploaded", "another"))
    assert record_upload(f"{0:064x}", Path("x.zip"), 1).task == "toy_avatar"


def test_entries_of_several_at_once_all_get_in() -> None:
    threads = [threading.Thread(target=add_entry, args=(entry(number),)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {line.sha256 for line in read_ledger()} == {f"{number:064x}" for number in range(12)}
    assert len(ledger_path().read_text().splitlines()) == 12


@pytest.mark.parametrize("line", ['{"event": "made", "ti', '{"event": "sent"}', "[1]", '{"event": "made"}'])
def test_a_damaged_ledger_is_not_taken_for_a_shorter_one(line: str) -> None:
    add_entry(entry(0))
    with ledger_path().open("a") as handle:
        handle.write(line + "\n")
    with pytest.raises(DataError, match=r"submissions\.jsonl, line 2: expected an entry of the ledger"):
        read_ledger()


def test_an_entry_is_one_line_of_json() -> None:
    add_entry(entry(7))
    (line,) = ledger_path().read_text().splitlines()
    assert json.loads(line)["sha256"] == f"{7:064x}"
