"""What --set and request files may say, and what they are told when they say something else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from pydantic import Field

from headbench.harness.avatar import FineTuneConfig, MethodConfig, Portrait, TrainConfig
from headbench.harness.errors import BenchError
from headbench.harness.run.asked import asked_subjects, escaped, matches, split_datasets, split_names
from headbench.harness.run.config import apply_settings, config_hash, parse_setting, settings_hash
from headbench.harness.run.request import RunRequest, read_request, write_request


class Growth(TrainConfig):
    interval: int = 100


class Config(MethodConfig):
    max_points: int = Field(default=10, ge=1)
    weights: Mapping[str, float] = {"l1": 1.0}
    growth: Growth = Growth()
    name: str | None = "a"


class Method(Portrait):
    config_type = Config


PRESET = {"train": {"steps": 5}}


def configured(*texts: str) -> Config:
    made = apply_settings(Method, PRESET, [parse_setting(text) for text in texts])
    assert isinstance(made, Config)
    return made


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("m.max_points=100000", lambda c: c.max_points == 100000),
        ("m.interval=7", lambda c: c.growth.interval == 7),
        ("m.train.steps=9", lambda c: c.train.steps == 9 and c.growth.steps is None),
        ("m.growth.steps=9", lambda c: c.growth.steps == 9 and c.train.steps == 5),
        ("m.growth.finetune.start_epoch=4", lambda c: c.growth.finetune == FineTuneConfig(start_epoch=4)),
        ("m.weights.ssim=0.5", lambda c: dict(c.weights) == {"l1": 1.0, "ssim": 0.5}),
        ("m.growth.finetune.rates.expression=1e-3", lambda c: dict(c.growth.finetune.rates) == {"expression": 1e-3}),
        ("m.weights={vgg: 2}", lambda c: dict(c.weights) == {"vgg": 2.0}),
        ("m.name=null", lambda c: c.name is None),
    ],
)
def test_a_setting_finds_its_option_and_changes_nothing_else(text: str, read) -> None:  # type: ignore[no-untyped-def]
    made = configured(text)
    assert read(made)
    before, after = configured().model_dump(), made.model_dump()
    assert sum(before[key] != after[key] for key in before) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("m.max_pionts=3", "Unknown option of m 'max_pionts'. Did you mean 'max_points'"),
        ("m.steps=3", "ambiguous in m: growth.steps, train.steps"),
        ("m.max_points=many", "max_points: input should be a valid integer"),
        ("m.max_points=0", "max_points: input should be greater than or equal to 1, got 0"),
        ("m.train.background=blue", "train.background"),
        ("m.growth={intervall: 3}", "Unknown key 'growth.intervall'. Did you mean 'interval'"),
        ("m.train.batch=0", ": train.batch: input should be greater than or equal to 1, got 0"),
        ("m.train.batch=[{epoch: 1, images: 0}]", "train.batch.0.images: input should be greater than or equal to 1"),
        ("m.train.batch=[{epoch: 1, image: 2}]", "Unknown key 'train.batch.0.image'. Available: epoch, images."),
        (
            "m.train.batch=[{epoch: 2, images: 2}]",
            "batch: stages must start at epoch 1 and rise, found epochs [2]",
        ),
    ],
)
def test_a_setting_that_does_not_fit_is_explained(text: str, words: str) -> None:
    with pytest.raises(BenchError) as caught:
        configured(text)
    assert words in str(caught.value)
    for jargon in ("constrained", "tuple", "Value error", "{'"):
        assert jargon not in str(caught.value)


@pytest.mark.parametrize("text", ["max_points=3", "m.max_points", "m.=3", "=", "m.x=[1"])
def test_a_setting_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(BenchError, match="--set"):
        parse_setting(text)


def test_the_preset_itself_is_validated() -> None:
    with pytest.raises(BenchError, match=r"Unknown key 'max_pionts'. Did you mean 'max_points'"):
        apply_settings(Method, {"max_pionts": 3, **PRESET}, [])


def test_hashes_depend_on_content_alone() -> None:
    assert config_hash({"a": 1, "b": {"c": 2}}) == config_hash({"b": {"c": 2}, "a": 1})
    a, b, c = (parse_setting(t) for t in ("m.x=1", "m.y=2", "m.x=3"))
    assert settings_hash([a, b]) == settings_hash([b, a]) != settings_hash([c, b])
    assert len(settings_hash([a])) == 8


def test_names_are_split_outside_brackets() -> None:
    assert split_datasets("insta[bala,obama], other") == ["insta[bala,obama]", "other"]
    assert split_names(["a,b", "c"]) == ["a", "b", "c"]
    assert split_names("a\\,b.yaml, c[d") == ["a,b.yaml", "c[d"]


def test_a_request_file_gives_way_to_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("methods: [a, b]\ndata_root: /data\nseeds: 0,1\nset: [a.x=1]\nlimit: 4\n")
    request = read_request(path, {"limit": 2, "methods": "c"})
    assert request == RunRequest(methods=["c"], data_root=Path("/data"), seeds=[0, 1], settings=["a.x=1"], limit=2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data_root: /d\nmethdos: [a]\n", "Unknown key 'methdos'. Did you mean 'methods'"),
        ("data_root: /d\nseeds: [x]\n", "seeds.0"),
        ("data_root: /d\nlabel: a/b\n", "label"),
        ("methods: [a]\n", "data_root is missing"),
        ("- a\n", "must hold a mapping of options, found list"),
        ("1: a\n", "must hold a mapping of options, found keys that are no text"),
        ("a: [\n", "found no YAML at line"),
    ],
)
def test_a_request_that_does_not_fit_is_explained(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BenchError) as caught:
        read_request(path, {})
    assert words in str(caught.value)


def test_an_unknown_file_names_the_built_in_requests() -> None:
    with pytest.raises(BenchError, match="demo"):
        read_request(Path("dmeo.yaml"), {})


def test_the_built_in_demo_is_valid() -> None:
    assert read_request(Path("demo"), {}).preset == ["demo"]


def test_run_yaml_asks_for_the_same_again(tmp_path: Path) -> None:
    request = read_request(None, {"data_root": tmp_path, "set": ["a.x=1"], "timeout": 5, "out": tmp_path / "r"})
    (tmp_path / "r").mkdir()
    write_request(request, tmp_path / "r")
    assert read_request(tmp_path / "r" / "run.yaml", {}) == request
    assert yaml.safe_load((tmp_path / "r" / "run.yaml").read_text())["set"] == ["a.x=1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("insta", ("insta", [])),
        ("insta[bala, o*]", ("insta", ["bala", "o*"])),
        (r"insta[a\,b,c]", ("insta", [r"a\,b", "c"])),
        ("insta[a[1]]", ("insta", ["a[1]"])),
        (r"insta[a\]]", ("insta", [r"a\]"])),
    ],
)
def test_subjects_are_asked_for_in_brackets(text: str, expected: tuple[str, list[str]]) -> None:
    assert split_datasets(text) == [text] and asked_subjects(text) == expected


@pytest.mark.tried("wrong command lines", "a subject whose name holds commas, brackets, stars or backslashes")
@pytest.mark.parametrize("name", ["a,b", "a[1]", "a]", "[", "a*b", "a?", "back\\slash", "tail\\", ",", "\\,", "a b"])
def test_every_name_of_a_subject_can_be_asked_for(name: str) -> None:
    (text,) = split_datasets(f"insta[{escaped(name)}]")
    _, (pattern,) = asked_subjects(text)
    assert matches(pattern, name)
    assert [other for other in ("ab", "ax1", "axxb", "x", "ax") if matches(pattern, other)] == []


def test_only_a_star_and_a_question_mark_stand_for_other_letters() -> None:
    assert [name for name in ("bala", "bob", "obama") if matches("b*", name)] == ["bala", "bob"]
    assert matches("b?b", "bob") and not matches("b?b", "boob") and not matches("[ab]", "a")


ASKED = "wrong command lines"


@pytest.mark.tried(ASKED, "options of `bench run` with values that cannot be", "one sentence with option and value")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seeds": "-1"}, "seeds.0: input should be greater than or equal to 0, got '-1'"),
        ({"seeds": "0,1,0"}, "seed 0 is named twice"),
        ({"seeds": "a"}, "seeds.0: input should be a valid integer, unable to parse string as an integer, got 'a'"),
        ({"seeds": str(2**32)}, "less than 4294967296"),
        ({"seeds": ""}, "seeds: expected at least one name"),
        ({"methods": ","}, "methods: expected at least one name"),
        ({"label": ".."}, "no dot first, got '..'"),
        ({"label": "a/b"}, "label: expected at most 64 letters"),
        ({"label": "a-b"}, "label: expected at most 64 letters"),
        ({"label": ".hidden"}, "no dot first"),
        ({"label": "x" * 65}, "at most 64"),
        ({"limit": 0}, "limit: input should be greater than or equal to 1, got 0"),
        ({"fail_on_error": 0}, "fail_on_error: input should be greater than or equal to 1"),
        ({"checkpoint_every": 0}, "checkpoint_every: input should be greater than or equal to 1"),
        ({"timeout": 0}, "more than 0 s, found 0 s"),
        ({"timeout": -1}, "found -1 s"),
        ({"timeout": "nan"}, "found nan s"),
        ({"timeout": "inf"}, "found inf s"),
        ({"timeout": "soon"}, "'soon' is no time; write 90, 90s, 30m or 2h"),
        ({"memory": "much"}, "'much' is no size; write 16GB, 500MB or a number of bytes"),
        ({"memory": "16 gigabytes"}, "is no size"),
        ({"memory": 0}, "memory: expected a size of at least 1 byte, found 0"),
        ({"memory": "-1GB"}, "is no size"),
        ({"memory": True}, "found True"),
        ({"protocol": ["none", "headbench@1"]}, "none scores nothing, so it goes with no other protocol"),
        ({"protocol": []}, "protocol: expected at least one name"),
        ({"datasets": "insta[a"}, "a bracket is not closed"),
        ({"datasets": "insta]"}, "a bracket is closed that was not opened"),
        ({"datasets": "insta[a]b"}, "found more after the brackets"),
        ({"datasets": "insta[]"}, "no subject between the brackets"),
    ],
)
def test_values_that_cannot_be_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(BenchError) as caught:
        read_request(None, {"data_root": Path("/data"), **given})
    assert words in str(caught.value) and "Value error" not in str(caught.value)


def test_names_asked_for_twice_count_once() -> None:
    twice = {"methods": "a,b,a", "preset": "demo,demo", "protocol": ["x@1,x@1"], "datasets": "d[a],d[a],d[A]"}
    request = read_request(None, {"data_root": Path("/data"), **twice})
    assert (request.methods, request.preset, request.protocol) == (["a", "b"], ["demo"], ["x@1"])
    assert request.datasets == ["d[a]", "d[A]"] and request.folder() == Path("runs/demo")


def test_a_file_says_times_and_none_as_the_command_line_does(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("data_root: /data\ntimeout: 30m\nprotocol: none\ndatasets: ['d[a\\,b]']\n")
    request = read_request(path, {})
    assert request.timeout == 1800 and request.protocols() == [] and request.datasets == ["d[a\\,b]"]


def test_run_yaml_means_the_same_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    request = read_request(None, {"data_root": Path("d"), "out": Path("r"), "protocol": ["mine\\,x.yaml"]})
    write_request(request, Path("r"))
    again = read_request(tmp_path / "r" / "run.yaml", {})
    assert again.data_root == tmp_path / "d" and again.out == tmp_path / "r"
    assert again.protocol == [str(tmp_path / "mine,x.yaml")]
