"""A named pipe, a socket or a device in place of any file of a dataset: no reader waits for it, and it is named."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from strange_files import KINDS, instead, within

from headbench.harness.errors import DataError
from headbench.harness.plugins import registry

WANTED = {
    "insta": ("transforms_train.json", "transforms_test.json", "images/00003.png", "flame/exp/00003.txt",
              "flame/shape/00000.txt", "flame/eyes/00003.txt"),
    "imavatar": ("synth00_train/flame_params.json", "synth00_test/flame_params.json", "synth00_train/matted/3.png"),
    "vhap": ("transforms_train.json", "transforms_test.json", "images/00003_00.png", "fg_masks/00003_00.png",
             "flame_param/00003.npz"),
}  # fmt: skip
"""Files that a subject cannot do without."""


@pytest.fixture(scope="module")
def copies(layouts, tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("strange")
    return {name: Path(shutil.copytree(folder, place / name / folder.name)) for name, folder in layouts.items()}


@pytest.mark.tried("hostile files", "a named pipe, a socket or a device in place of any file of a dataset")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WANTED)
def test_what_is_no_file_is_named(copies, name: str, kind: str) -> None:
    reader, folder = registry().load_dataset(name), copies[name]
    for wanted in WANTED[name]:
        path = folder / wanted
        with instead(path, kind):
            problems = within(60, lambda: reader.check(folder, {}), path)
            told = [p for p in problems if p.severity == "error" and path.name in p.line()]
            assert [p for p in told if f"found {KINDS[kind]} instead of a file" in p.line()], (wanted, told)
            with pytest.raises(DataError, match=f"found {KINDS[kind]} instead of a file"):
                within(60, lambda: reader.read(folder, {}).train[0].pixels(), path)


@pytest.mark.parametrize("name", WANTED)
def test_no_reader_waits_for_a_named_pipe(copies, name: str) -> None:
    """Whatever file it is, also those that are looked at only where they are there."""
    reader, folder = registry().load_dataset(name), copies[name]
    examples = {re.sub("[0-9]+", "N", str(path.relative_to(folder))): path for path in folder.rglob("*.*")}
    for path in (path for path in examples.values() if path.is_file()):
        with instead(path, "pipe"):
            within(60, lambda: reader.subjects(folder), path)
            within(60, lambda: reader.check(folder, {}), path)


OPTIONAL = {
    "insta": ("parsing/00003_mouth.png", "parsing", "kpt/00003.npy", "kpt", "flame/eyelids/00003.txt", "flame/eyelids",
              "head_model.json", "checkpoint"),
    "imavatar": ("synth00_train/parsing/3_mouth.png", "synth00_train/parsing", "synth00_train/iris.json",
                 "head_model.json"),
    "vhap": ("canonical_flame_param.npz", "transforms_val.json", "head_model.json"),
}  # fmt: skip
"""Files and folders that are read where they are there, and done without where they are not."""


@pytest.mark.tried("hostile files", "a pipe or a link to nowhere in place of an optional file or folder of a dataset")
@pytest.mark.parametrize("kind", ["pipe", "link"])
@pytest.mark.parametrize("name", OPTIONAL)
def test_what_is_optional_and_there_as_something_else_is_said(copies, name: str, kind: str) -> None:
    reader, folder = registry().load_dataset(name), copies[name]
    found = {"pipe": "found a named pipe", "link": "found a link to gone, which is not there"}[kind]
    for wanted in OPTIONAL[name]:
        path = folder / wanted
        made = not path.exists()
        if made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        with instead(path, kind):
            told = [problem.text() for problem in within(60, lambda: reader.check(folder, {}), path)]
            assert [text for text in told if found in text and text.startswith(str(path))], (wanted, told)
        if made:
            path.unlink()
