import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from headbench.harness.errors import BenchError
from headbench.harness.plugins import Registry, Source
from headbench.metrics import COLUMNS, load_protocol, protocol_names
from headbench.metrics.protocol import LpipsRule, Protocol, PsnrRule, SsimRule, TrackingRule, released

HASHES = {
    "fateavatar-8bit@1": "796dab513c860116ee1f6abba2a6a70f2ccdebd26bbd1e4638cd7871b547bdf0",
    "fateavatar-tracked-8bit@1": "24266d5192b3b0af94871c1c788243a07cd89cf162e1aa268483d71a4456b4ab",
    "fateavatar-tracked@1": "04d7adafe1e55a8483246ba4636e71f7391feaba3c16501862abceaf0b5fa480",
    "fateavatar@1": "b4f5805ef8c159c69bdbd2b3f48183bbc1b3fbd5ad30e6a602c2d739859f85a0",
    "gaussianavatars-train@1": "76ead1f24fd2dd4109f07f70081501d5f295d76fc633a398070ff4d1fc57804b",
    "gaussianavatars@1": "01950fad0479ddf0e8e4f39bdb8a6496d376dcf7b7b893e50bd93b035415cd68",
    "headbench-around@1": "366ad544528c056fe3346222d75a3ca72ce8cafc563c6c35bd959b99223b48b1",
    "headbench-regions@1": "8731c9dc444e29fb6c0896a1a6a6c3854f78fb8143158017180076ca012b57b7",
    "headbench-regions@2": "3a254e24fb66d343e49384e0a99664af3b3726f8d1a2619a337053243a57261b",
    "headbench@1": "33343cb455435840509d97aea189ec9a5200533ce698034ba1fa843d627659fc",
    "imavatar@1": "5038d812bb9cfe16efa627f17e8180bb0dd6222e5357ac4523e69a9d53845c35",
    "monogaussianavatar-no-cloth@1": "654406c80f473ee23216577194151fbc0f44b6d7b8a6b5ec1d330cf26cf6728e",
    "monogaussianavatar@1": "af7ff70bc4a61d50efb37737b82a91a0c20e1d3c54ab465fb3b236408a58130a",
    "pointavatar-no-cloth@1": "e0f30ddeb95bf814eb99b4c7705adfe9724a3386496aecad0419b3ce495a7186",
    "pointavatar@1": "4ce65236e3eb95d61c232859c130f81dd43803c639508bcbfabb1ee57286c42c",
    "splattingavatar@1": "c41250c24db75068d20b16581c3cf823224ab6f174c6996db2b8abad6101827a",
}
"""Hashes of the released versions. Each new one is added here as in released.json, and none ever changes."""
TRACKING = TrackingRule(steps=50, rates={"expression": 5e-4}, optimizer="adam", loss="training")


def test_the_published_versions_never_change():
    assert {name: load_protocol(name).hash for name in protocol_names()} == released() == HASHES


def test_a_changed_file_of_a_released_version_is_refused(tmp_path, monkeypatch):
    values = load_protocol("headbench@1").model_dump(mode="json")
    path = tmp_path / "headbench@1.yaml"
    path.write_text(yaml.safe_dump(values | {"summary": "other words"}))
    assert load_protocol(str(path)).hash == HASHES["headbench@1"]
    path.write_text(yaml.safe_dump(values | {"background": "black"}))
    with pytest.raises(BenchError, match=r"other values than the released headbench@1: .* 33343cb45543…") as caught:
        load_protocol(str(path))
    assert "headbench@2" in caught.value.help
    monkeypatch.setattr("headbench.metrics.protocol.load._folder", lambda: tmp_path)
    (tmp_path / "released.json").write_text(json.dumps(HASHES))
    with pytest.raises(BenchError, match="holds other values than the released"):
        load_protocol("headbench@1")


def test_the_hash_covers_every_value_but_the_summary():
    protocol = load_protocol("headbench@1")
    changed = {
        "name": "other",
        "version": 2,
        "resolution": 256,
        "background": "black",
        "quantise": "none",
        "clamp": False,
        "save": "none",
        "opening": True,
        "resampling": "bilinear",
        "truth": "photo",
        "region": "no-cloth",
        "normaliser": "region",
        "outside": "black",
        "aggregate": "frames_plus_1e-6_then_subjects",
        "psnr": protocol.psnr.model_copy(update={"reduction": "channel_mean"}),
        "ssim": protocol.ssim.model_copy(update={"padding": "zero"}),
        "lpips": protocol.lpips[:1],
        "metrics": {"edges": {}},
        "test_time_tracking": TRACKING,
        "views": "all-around",
        "psnr_foreground": ("hidden",),
        "stage": "bake",
    }
    hashes = {field: protocol.model_copy(update={field: value}).hash for field, value in changed.items()}
    assert len({protocol.hash, *hashes.values()}) == len(changed) + 1
    assert protocol.model_copy(update={"summary": "other words"}).hash == protocol.hash


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clamp": False}, "clamp false needs save none or uint8_stretch: uint8_round makes 8-bit pictures"),
        ({"clamp": True, "save": "uint8_stretch"}, "clamp true and save uint8_stretch"),
        ({"save": "none", "opening": True}, "opening needs 8-bit pictures; save is none"),
        ({"save": "none", "resolution": 256}, "save none with a resolution needs resampling bilinear"),
        ({"truth": "photo"}, "truth photo needs quantise none"),
        ({"outside": "black"}, "outside black and normaliser region need a region"),
        ({"normaliser": "region"}, "outside black and normaliser region need a region"),
        ({"save": "none", "clamp": False, "psnr_foreground": ["all"]}, "psnr_foreground needs clamp true"),
    ],
)
def test_fields_that_contradict_each_other_are_one_sentence(own, changes, words):
    with pytest.raises(BenchError, match=words) as caught:
        own(**changes)
    assert "own.yaml" in str(caught.value) and "\n" not in caught.value.args[0]


def test_render_keys_name_stage_background_and_tracking():
    protocol = load_protocol("headbench@1")
    assert protocol.render_key == "train-white" and protocol.label == "headbench@1"
    tracked = protocol.model_copy(update={"background": "black", "test_time_tracking": TRACKING, "stage": "bake"})
    assert tracked.render_key == f"bake-black-tracked-{TRACKING.digest}" and len(TRACKING.digest) == 8
    assert tracked.background_rgb == (0.0, 0.0, 0.0)
    floats = protocol.model_copy(update={"save": "uint8_truncate"})
    assert floats.render_key == "train-white-float" and floats.floats and not protocol.floats
    assert load_protocol("gaussianavatars@1").render_key == "train-white"


def test_another_set_of_views_has_renders_of_its_own_and_is_not_tracked():
    protocol = load_protocol("headbench-around@1")
    assert protocol.render_key == "train-white-all-around" and load_protocol("headbench@1").views == "test"
    values = protocol.model_dump(mode="json")
    with pytest.raises(ValidationError, match="test-time tracking is of test frames"):
        Protocol.model_validate(values | {"test_time_tracking": TRACKING.model_dump()})
    with pytest.raises(ValidationError, match="names a part twice"):
        Protocol.model_validate(values | {"psnr_foreground": ["all", "all"]})
    with pytest.raises(ValidationError, match="'test' or 'all-around'"):
        Protocol.model_validate(values | {"views": "behind"})


def test_fateavatar_differs_from_ours_in_padding_and_networks_alone():
    ours, theirs = (load_protocol(name).model_dump() for name in ("headbench@1", "fateavatar-8bit@1"))
    assert {k for k in ours if ours[k] != theirs[k]} == {"name", "summary", "ssim", "lpips"}
    assert theirs["ssim"] == ours["ssim"] | {"padding": "zero"}


@pytest.mark.parametrize("name", ["headbench", "headbench@2", "headbensh@1"])
def test_unknown_protocols_get_a_suggestion(name):
    with pytest.raises(BenchError, match=r"Did you mean .*'headbench@1'\?"):
        load_protocol(name)


def test_a_protocol_of_the_users_is_read_from_its_path_and_checked(tmp_path):
    data = load_protocol("headbench@1").model_dump(mode="json") | {"name": "mine"}
    path = tmp_path / "mine@1.yaml"
    path.write_text(yaml.safe_dump(data))
    assert load_protocol(str(path)).label == "mine@1"

    path.write_text(yaml.safe_dump(data | {"version": 2}))
    with pytest.raises(BenchError, match=r"mine@2\.yaml"):
        load_protocol(str(path))

    path.write_text(yaml.safe_dump(data | {"backgroud": "white"}))
    with pytest.raises(BenchError, match=r"(?s)mine@1\.yaml.*'backgroud'. Did you mean 'background'"):
        load_protocol(str(path))

    path.write_text(yaml.safe_dump(data | {"lpips": data["lpips"] * 2}))
    with pytest.raises(BenchError, match=r"lpips: .*named once"):
        load_protocol(str(path))

    path.write_text("a: [")
    with pytest.raises(BenchError, match="found no YAML at line 1"):
        load_protocol(str(path))
    with pytest.raises(BenchError, match="Cannot read protocol"):
        load_protocol(str(tmp_path / "absent.yaml"))


LATER = {"views", "psnr_foreground", "resampling", "save", "opening", "truth", "outside"}
"""Fields that came after the first protocols: their defaults mean what there was before."""


def test_no_value_has_a_default_that_a_file_could_forget():
    required = {name for name, field in Protocol.model_fields.items() if field.is_required()}
    assert required == set(Protocol.model_fields) - {"summary", "psnr", "ssim", "lpips", "metrics"} - LATER
    later = {"rmse_added", "taps", "data_range"}
    for rule in (PsnrRule, SsimRule, LpipsRule):
        assert all(field.is_required() != (name in later) for name, field in rule.model_fields.items())
    with pytest.raises(ValidationError, match="frozen"):
        load_protocol("headbench@1").background = "black"


def test_the_built_in_columns_stand_in_the_order_of_tables_and_keep_their_names_in_exports():
    around = [f"psnr-foreground/{part}" for part in ("visible", "hidden", "all")]
    parts = ("face", "eyes", "mouth", "ears", "hair", "neck", "bare-neck", "cloth")
    regions = [f"psnr-region/{name}" for name in parts]
    beside = [*regions, "flicker-difference", "sharpness"]
    assert list(COLUMNS) == ["psnr", *around, "ssim", "lpips/alex", "lpips/vgg", *beside]
    assert COLUMNS[around[0]].field == "psnr-foreground_visible" and COLUMNS[around[1]].heading() == "PSNR hidden ↑"
    released = [COLUMNS[key] for key in COLUMNS if key not in (*around, *beside)]
    assert [column.field for column in released] == ["psnr", "ssim", "lpips_alex", "lpips_vgg"]
    assert COLUMNS["psnr"].format(27.126) == "27.13" and COLUMNS["psnr"].format(float("inf")) == "∞"
    assert COLUMNS["lpips/alex"].heading() == "LPIPS-alex ↓"
    assert [asked.key for asked in load_protocol("headbench@1").asked()] == [column.key for column in released]
    assert [asked.key for asked in load_protocol("headbench-around@1").asked()] == list(COLUMNS)[1:7]
    asked = [each.key for each in load_protocol("headbench-regions@2").asked()]
    assert asked == ["psnr", *(key for key in beside if key != "psnr-region/neck")]


HEADBENCH = ["psnr", "ssim", "lpips/alex", "lpips/vgg"]


def test_protocols_and_stored_scores_need_no_torch():
    code = "import sys, headbench.metrics as m; m.load_protocol('headbench@1'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.fixture
def known(plug):
    """Our metrics and those of headbench-measures."""
    plug(Path(__file__).parents[1] / "run" / "toys")
    modules = ("headbench.metrics.plugin", "headbench_measures")
    return Registry([Source(name, lambda name=name: importlib.import_module(name)) for name in modules])


@pytest.fixture
def own(tmp_path, known):
    """Reads a protocol file like headbench@1 with some fields changed; None leaves one out."""

    def read(text="", **changes):
        values = load_protocol("headbench@1").model_dump(mode="json", exclude={"metrics"}) | {"name": "own"}
        kept = {key: value for key, value in (values | changes).items() if value is not None or key in FREE}
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump(kept, sort_keys=False) + text)
        return load_protocol(str(path), known)

    return read


FREE = {"test_time_tracking"}
"""Fields whose null means something."""


def test_metrics_enter_the_hash_however_the_file_is_written(own):
    plain = own()
    assert plain.metrics == {} and own(metrics={}).hash == plain.hash
    asked = own(metrics={"shade": {}, "flicker": None})
    spelt = own(metrics={"FLICKER": {}, "Shade": {"gain": 1}})
    assert asked.hash == spelt.hash != plain.hash
    assert dict(asked.metrics) == {"shade": {}, "flicker": {}} and list(spelt.metrics) == ["flicker", "shade"]
    assert own(metrics={"shade": {"gain": 2}}).hash != own(metrics={"shade": {}}).hash
    assert [each.key for each in asked.asked()] == [*HEADBENCH, "shade", "flicker"]


def test_fields_of_released_protocols_may_be_left_out_and_files_that_name_them_keep_their_hashes(own):
    # What `lpips: []` gave before the field could be left out.
    assert own(lpips=[]).hash == "f7257896635f25ec9e33e1760c170fd20524739971aa706387867166aff1ddd5"
    without = own(psnr=None, ssim=None, lpips=None, metrics={"shade": {}})
    assert [each.key for each in without.asked()] == ["shade"]
    assert len({without.hash, own(lpips=[]).hash, own(lpips=None).hash}) == 3
    with pytest.raises(BenchError, match=r"own\.yaml asks for no metric: expected psnr, ssim, lpips or metrics\."):
        own(psnr=None, ssim=None, lpips=[])


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (
            {"shdae": {}},
            r"Unknown metric 'shdae'\. Did you mean 'shade'.*bring metrics: .*plugin, headb",
        ),
        ({"psnr": {"reduction": "pooled"}}, r"each metric once, found psnr and metrics\.psnr, which are one column"),
        ({"lpips/Alex": {}}, r"each metric once, found lpips and metrics\.lpips/Alex, which are one column"),
        ({"shade": {}, "Shade": {}}, r"each metric once, found metrics\.shade and metrics\.Shade"),
        ({"shade/a_b": {}, "shade/a/b": {}}, r"'shade/a/b' names no metric: expected name or name/variant"),
        ({"../x": {}}, r"'\.\./x' names no metric"),
        ({"network": {}}, r"metrics\.network names no variant: expected network/a\."),
        ({"network/b": {}}, r"Unknown variant of metric network 'b'\..* Available: a\."),
        ({"shade": {"gian": 2}}, r"metrics\.shade: Unknown key 'gian'\. Did you mean 'gain'"),
        ({"shade": {"gain": -1}}, r"metrics\.shade: gain: input should be greater than 0, got -1"),
        ({"flicker": {"gain": 1}}, r"metrics\.flicker: Unknown key 'gain'"),
        ({"shade": [1]}, r"metrics\.shade: input should be a valid .*, got \[1\]"),
        (["shade"], r"metrics: input should be a valid .*, got \['shade'\]"),
        ({3: {}}, r"metrics\.3.*: input should be a valid string, got 3"),
        ({"shade/std": {}}, r"metrics\.shade/std would be a column that every table has"),
    ],
)
def test_metrics_that_cannot_be_asked_for_are_one_sentence(own, metrics, words):
    with pytest.raises(BenchError, match=words) as caught:
        own(metrics=metrics)
    assert "own.yaml" in str(caught.value) and "\n" not in caught.value.args[0]


def test_a_metric_that_stands_twice_in_one_spelling_is_not_taken_once(own):
    with pytest.raises(
        BenchError, match=r"own\.yaml: found no YAML at line \d+, column 3: key 'shade' stands there twice"
    ):
        own("metrics:\n  shade: {gain: 1}\n  shade: {gain: 2}\n")


@pytest.mark.parametrize("stage", ["bake", "train/bake", "", None, 3, ["train"]])
def test_a_protocol_names_no_stage_but_the_one_that_is_asked_for(tmp_path, stage):
    values = load_protocol("headbench@1").model_dump(mode="json") | {"name": "own", "stage": stage}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(BenchError, match=r"own\.yaml: stage is .*, expected train, which means the instance") as caught:
        load_protocol(str(tmp_path / "own.yaml"))
    assert caught.value.help.startswith("write stage: train into own.yaml")
