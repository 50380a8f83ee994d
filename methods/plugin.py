"""The built-in methods, registered like a stranger's. Data only: no torch is imported here."""

from __future__ import annotations

from collections.abc import Callable

from headbench.harness.plugins.hookspecs import hookimpl
from headbench.harness.plugins.specs import Checked, MethodSpec, Typical

__all__ = ["register_methods"]

_PRESETS = "headbench.configs:methods"
_NAMES = ("official", "fateavatar", "fixed", "demo", "tiny")

# tests/conformance/test_builtin_methods.py trains every method on these. No one has had emotalk3d yet.
_CHECKED: dict[str, Checked] = dict.fromkeys(
    ("insta", "nersemble", "imavatar", "pointavatar", "4dface", "vhap"), "synthetic data"
)

_H200 = "docs/benchmarks/2026-11-h200-five.md"
_TWO_CORES = "docs/benchmarks/2026-11-cpu-demo.md"


def _cuda(rate: float, gpu_memory: float, frames: int = 600) -> Typical:
    """Measured on one H200: steps per second, and the peak of GPU memory in MiB."""
    where = f"one H200, preset fateavatar, {frames} frames of 512²"
    return Typical(rate, where, gpu_memory=gpu_memory * 2**20, source=_H200)


def _cpu(rate: float, seconds: float, memory: float, disk: float) -> Typical:
    """Measured on two cores: steps per second, seconds besides training, peak of host memory and size in MB."""
    where = "2 CPU cores, preset demo, 96 frames of 256²"
    return Typical(rate, where, disk * 1e6, memory * 1e6, seconds=seconds, source=_TWO_CORES)


FATEAVATAR = MethodSpec(
    name="FateAvatar",
    target="headbench.methods.fateavatar:FateAvatar",
    presets={
        "official": f"{_PRESETS}/fateavatar/official.yaml",
        # FateAvatar is at home in its own harness: the two presets are one.
        "fateavatar": f"{_PRESETS}/fateavatar/official.yaml",
        "fixed": f"{_PRESETS}/fateavatar/fixed.yaml",
        "demo": f"{_PRESETS}/fateavatar/demo.yaml",
        "tiny": f"{_PRESETS}/fateavatar/tiny.yaml",
    },
    default_preset="official",
    summary="Gaussians on the UV atlas of a head mesh whose blendshapes are corrected by training",
    licence="MIT; its FLAME code under the MPI licence and its rasterizer under the Inria licence, both non-commercial",
    citation="Zhang et al., FATE: Full-head Gaussian Avatar with Textural Editing from Monocular Video, CVPR 2025, "
    "arXiv:2411.15604",
    importers=("headbench.methods.fateavatar.official:OfficialCheckpoint",),
    checked=_CHECKED,
    typical={"cuda": _cuda(322.8, 928), "cpu": _cpu(26.2, 7, 642, 16.1)},
)

GAUSSIANAVATARS = MethodSpec(
    name="GaussianAvatars",
    target="headbench.methods.gaussianavatars:GaussianAvatars",
    presets={name: f"{_PRESETS}/gaussianavatars/{name}.yaml" for name in _NAMES},
    default_preset="official",
    summary="Gaussians in the frames of a head mesh's triangles, densified where the image gradient is large",
    licence="CC BY-NC-SA 4.0 with a further non-commercial clause; parts under the Inria licence, non-commercial",
    citation="Qian et al., GaussianAvatars: Photorealistic Head Avatars with Rigged 3D Gaussians, CVPR 2024, "
    "arXiv:2312.02069",
    importers=(
        "headbench.methods.gaussianavatars.official:OfficialPair",
        "headbench.methods.gaussianavatars.port:PortCheckpoint",
    ),
    checked=_CHECKED,
    typical={"cuda": _cuda(527.1, 857), "cpu": _cpu(16.7, 6, 635, 3.3)},
)

FLASHAVATAR = MethodSpec(
    name="FlashAvatar",
    target="headbench.methods.flashavatar:FlashAvatar",
    presets={name: f"{_PRESETS}/flashavatar/{name}.yaml" for name in _NAMES},
    default_preset="official",
    summary="Gaussians on the UV atlas of a head mesh, moved by one small network that takes the expression",
    licence="MIT; its FLAME and MICA code under the MPI licence and its rasterizer under the Inria licence, both "
    "non-commercial",
    citation="Xiang et al., FlashAvatar: High-fidelity Head Avatar with Efficient Gaussian Embedding, CVPR 2024, "
    "arXiv:2312.02214",
    checked=_CHECKED,
    typical={"cuda": _cuda(408.6, 1063), "cpu": _cpu(30.2, 5, 621, 2.3)},
)

SPLATTINGAVATAR = MethodSpec(
    name="SplattingAvatar",
    target="headbench.methods.splattingavatar:SplattingAvatar",
    presets={name: f"{_PRESETS}/splattingavatar/{name}.yaml" for name in _NAMES},
    default_preset="official",
    summary="Gaussians embedded in a head mesh by face, place and height, which walk over its triangles",
    licence="CC BY-NC-SA 4.0, and the Inria licence for what comes from 3DGS; both non-commercial",
    citation="Shao et al., SplattingAvatar: Realistic Real-Time Human Avatars with Mesh-Embedded Gaussian Splatting, "
    "CVPR 2024, arXiv:2403.05087",
    checked=_CHECKED,
    typical={"cuda": _cuda(189.4, 1088), "cpu": _cpu(23.5, 7, 643, 3.5)},
)

MONOGAUSSIANAVATAR = MethodSpec(
    name="MonoGaussianAvatar",
    target="headbench.methods.monogaussianavatar:MonoGaussianAvatar",
    presets={name: f"{_PRESETS}/monogaussianavatar/{name}.yaml" for name in _NAMES},
    default_preset="official",
    summary="a growing cloud of points that networks dress as Gaussians and move with a head model's codes",
    licence="MIT as stated; most files come from PointAvatar and IMavatar, whose licences are non-commercial, and "
    "FLAME code under the MPI licence",
    citation="Chen et al., MonoGaussianAvatar: Monocular Gaussian Point-based Head Avatar, SIGGRAPH 2024, "
    "arXiv:2312.04558",
    checked=_CHECKED,
    typical={"cuda": _cuda(72.7, 4033), "cpu": _cpu(6.7, 8, 713, 2.2)},
)

NEAREST_FRAME = MethodSpec(
    name="nearest-frame",
    target="headbench.methods.nearestframe:NearestFrame",
    # It has nothing to set, so every method's preset means the same here.
    presets=dict.fromkeys(("default", *_NAMES), f"{_PRESETS}/nearestframe/default.yaml"),
    default_preset="default",
    summary="shows the training image whose posed, projected head is nearest; what a method must beat",
    licence="none: made for this harness",
    checked=_CHECKED,
    typical={"cpu": _cpu(0.0, 5, 406, 4.3)},
    baseline=True,
)


@hookimpl
def register_methods(register: Callable[[MethodSpec], None]) -> None:
    """Register the methods of this folder and the nearest-frame baseline."""
    register(FATEAVATAR)
    register(FLASHAVATAR)
    register(GAUSSIANAVATARS)
    register(MONOGAUSSIANAVATAR)
    register(SPLATTINGAVATAR)
    register(NEAREST_FRAME)
