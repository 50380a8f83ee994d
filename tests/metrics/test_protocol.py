import subprocess
import sys

import pytest
import yaml
from pydantic import ValidationError

from headbench.harness.errors import BenchError
from headbench.metrics import COLUMNS, load_protocol, protocol_names
from headbench.metrics.protocol import LpipsRule, Protocol, PsnrRule, SsimRule, TrackingRule

HASHES = {
    "fateavatar-8bit@1": "796dab513c860116ee1f6abba2a6a70f2ccdebd26bbd1e4638cd7871b547bdf0",
    "fateavatar-tracked-8bit@1": "24266d5192b3b0af94871c1c788243a07cd89cf162e1aa268483d71a4456b4ab",
    "headbench@1": "33343cb455435840509d97aea189ec9a5200533ce698034ba1fa843d627659fc",
}
TRACKING = TrackingRule(steps=50, rates={"expression": 5e-4}, optimizer="adam", loss="training")


def test_the_published_versions_never_change():
    assert {name: load_protocol(name).hash for name in protocol_names()} == HASHES


def test_the_hash_covers_every_value_but_the_summary():
    protocol = load_protocol("headbench@1")
    changed = {
        "name": "other",
        "version": 2,
        "resolution": 256,
        "background": "black",
        "quantise": "none",
        "clamp": False,
        "psnr": protocol.psnr.model_copy(update={"reduction": "channel_mean"}),
        "ssim": protocol.ssim.model_copy(update={"padding": "zero"}),
        "lpips": protocol.lpips[:1],
        "metrics": {"edges": {}},
        "test_time_tracking": TRACKING,
        "stage": "bake",
    }
    hashes = {field: protocol.model_copy(update={field: value}).hash for field, value in changed.items()}
    assert len({protocol.hash, *hashes.values()}) == len(changed) + 1
    assert protocol.model_copy(update={"summary": "other words"}).hash == protocol.hash


def test_render_keys_name_stage_background_and_tracking():
    protocol = load_protocol("headbench@1")
    assert protocol.render_key == "train-white" and protocol.label == "headbench@1"
    tracked = protocol.model_copy(update={"background": "black", "test_time_tracking": TRACKING, "stage": "bake"})
    assert tracked.render_key == f"bake-black-tracked-{TRACKING.digest}" and len(TRACKING.digest) == 8
    assert tracked.background_rgb == (0.0, 0.0, 0.0)


def test_fateavatar_differs_from_ours_in_padding_and_networks_alone():
    ours, theirs = (load_protocol(name).model_dump() for name in ("headbench@1", "fateavatar-8bit@1"))
    assert {k for k in ours if ours[k] != theirs[k]} == {"name", "summary", "ssim", "lpips"}
    assert theirs["ssim"] == ours["ssim"] | {"padding": "zero"}


@pytest.mark.parametrize("name", ["headbench", "headbench@2", "headbensh@1"])
def test_unknown_protocols_get_a_suggestion(name):
    with pytest.raises(BenchError, match="Did you mean 'headbench@1'"):
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


def test_no_value_has_a_default_that_a_file_could_forget():
    required = {name for name, field in Protocol.model_fields.items() if field.is_required()}
    assert required == set(Protocol.model_fields) - {"summary", "psnr", "ssim", "lpips", "metrics"}
    for rule in (PsnrRule, SsimRule, LpipsRule):
        assert all(field.is_required() for field in rule.model_fields.values())
    with pytest.raises(ValidationError, match="frozen"):
        load_protocol("headbench@1").background = "black"


def test_the_built_in_columns_stand_in_the_order_of_tables_and_keep_their_names_in_exports():
    assert list(COLUMNS) == ["psnr", "ssim", "lpips/alex", "lpips/vgg"]
    assert [column.field for column in COLUMNS.values()] == ["psnr", "ssim", "lpips_alex", "lpips_vgg"]
    assert COLUMNS["psnr"].format(27.126) == "27.13" and COLUMNS["psnr"].format(float("inf")) == "∞"
    assert COLUMNS["lpips/alex"].heading() == "LPIPS-alex ↓"
    assert [asked.key for asked in load_protocol("headbench@1").asked()] == list(COLUMNS)


def test_protocols_and_stored_scores_need_no_torch():
    code = "import sys, headbench.metrics as m; m.load_protocol('headbench@1'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
