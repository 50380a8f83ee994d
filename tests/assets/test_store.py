import json
import stat

import pytest

from headbench.harness import files
from headbench.harness.assets import KINDS, asset, home, kind, record, records, register, verify
from headbench.harness.errors import BenchError, DataError, MissingAsset
from headbench.harness.files import sha256_of


@pytest.fixture
def user_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "whatever.pkl"
    path.write_bytes(b"first")
    return path


def test_home_is_the_chosen_folder_or_the_users_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "chosen"))
    assert home() == tmp_path / "chosen"
    monkeypatch.delenv("HEADBENCH_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert home() == tmp_path / "data" / "headbench"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert home().name == "headbench" and home().is_absolute()


def test_a_registered_file_is_a_copy_with_a_record(user_home, file):
    path = register("flame2020/model", file, "the user's disk", shapes={"v": "(3,) float64"}, note="no lids")
    assert asset("flame2020/model") == path and path.read_bytes() == b"first" and path.suffix == ".pkl"
    assert user_home in path.parents
    file.unlink()
    assert asset("flame2020/model").is_file()
    found = record("flame2020/model")
    assert (found.sha256, found.size) == (sha256_of(path), 5)
    assert (found.source, found.note, found.shapes) == ("the user's disk", "no lids", {"v": "(3,) float64"})
    assert "Max Planck" in found.licence and found.date.endswith("+00:00")
    assert set(records()) == {"flame2020/model"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_registering_again_replaces_the_file_and_leaves_nothing_behind(user_home, file):
    register("flame2020/model", file, "a")
    file.write_bytes(b"second")
    path = register("flame2020/model", file, "b")
    assert path.read_bytes() == b"second" and record("flame2020/model").source == "b"
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([path.name, "model.json"])
    assert register("flame2020/model", file, "c") == path and path.is_file()


def test_a_kill_before_the_record_is_written_leaves_the_old_asset(user_home, file, monkeypatch):
    old = register("flame2020/model", file, "a")
    file.write_bytes(b"second")

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.json, "dumps", killed)
    with pytest.raises(KeyboardInterrupt):
        register("flame2020/model", file, "b")
    monkeypatch.undo()
    monkeypatch.setenv("HEADBENCH_HOME", str(user_home))
    assert asset("flame2020/model") == old and old.read_bytes() == b"first"


def test_missing_assets_say_what_they_are_and_what_to_do(user_home, file):
    with pytest.raises(MissingAsset, match=r"(?s)flame2023/model is not registered.*flame\.is\.tue.*bench assets add"):
        asset("flame2023/model")
    register("flame/masks", file, "a").unlink()
    with pytest.raises(MissingAsset, match="is gone"):
        asset("flame/masks")
    with pytest.raises(BenchError, match="Did you mean 'flame2020/model'"):
        asset("flame2020/modell")
    with pytest.raises(DataError, match="absent: found no such file"):
        register("flame/masks", file.parent / "absent", "a")


def test_verify_sees_a_changed_byte_and_a_changed_size(user_home, file):
    path = register("lpips/alexnet", file, "a")
    path.write_bytes(b"firsT")
    assert "expected SHA-256" in verify("lpips/alexnet")[0]
    path.write_bytes(b"longer than before")
    assert "expected 5 bytes, found 18" in verify("lpips/alexnet")[0]
    path.write_bytes(b"first")
    assert "not recognised" in verify("lpips/alexnet")[0]


def test_a_damaged_record_is_named(user_home, file):
    path = register("flame2020/model", file, "a")
    (path.parent / "model.json").write_text(json.dumps({"name": "x"}))
    with pytest.raises(DataError, match=r"model\.json is not a record"):
        asset("flame2020/model")


def test_every_kind_says_what_a_user_needs():
    assert len({k.name for k in KINDS}) == len(KINDS)
    for each in KINDS:
        assert each.what and each.used_by and each.licence and each.where and each.command.startswith("bench assets ")
        assert kind(each.name) is each
