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

_H200 = "one H200, preset fateavatar, 600 frames of 512²"
_TWO_CORES = "2 CPU cores, preset demo, 96 frames of 256²"

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
    typical={"cuda": Typical(323.0, _H200), "cpu": Typical(21.0, _TWO_CORES, 16e6)},
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
    typical={"cuda": Typical(527.0, _H200), "cpu": Typical(18.0, _TWO_CORES, 3.3e6)},
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
    typical={"cuda": Typical(409.0, _H200), "cpu": Typical(32.0, _TWO_CORES, 2.4e6)},
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
    typical={"cuda": Typical(189.0, _H200), "cpu": Typical(32.8, _TWO_CORES, 3.5e6)},
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
    typical={
        "cuda": Typical(72.0, "one H200, preset fateavatar, 144 frames of 512²"),
        "cpu": Typical(10.7, _TWO_CORES, 2.3e6),
    },
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
    typical={"cpu": Typical(0.0, _TWO_CORES, 4.2e6)},
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
