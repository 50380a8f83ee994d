"""The built-in datasets, registered through the hook that any plugin uses."""

from __future__ import annotations

from collections.abc import Callable

from headbench.harness.plugins.hookspecs import hookimpl
from headbench.harness.plugins.specs import DatasetSpec

__all__ = ["register_datasets"]

_SAMPLES = "headbench.datasets.synthetic.samples"

_IMAVATAR_CITATIONS = {
    "imavatar": "Zheng et al.: I M Avatar: Implicit Morphable Head Avatars from Videos, CVPR 2022",
    "pointavatar": "Zheng et al.: PointAvatar: Deformable Point-based Head Avatars from Videos, CVPR 2023",
    "4dface": "Gafni et al.: Dynamic Neural Radiance Fields for Monocular 4D Facial Avatar Reconstruction, CVPR 2021",
    "emotalk3d": "He et al.: EmoTalk3D: High-Fidelity Free-View Synthesis of Emotional 3D Talking Head, ECCV 2024",
}


@hookimpl
def register_datasets(register: Callable[[DatasetSpec], None]) -> None:
    """Register the dataset layouts that come with the harness."""
    register(
        DatasetSpec(
            name="insta",
            target="headbench.datasets.insta.reader:InstaReader",
            summary="Monocular videos tracked by metrical-tracker and exported by INSTA (RGBA images, FLAME 2020).",
            licence="Data of their owners: wojtek_1, malte_1 and bala need INSTA's access form; synthetic subjects CC0",
            citation="Zielonka, Bolkart, Thies: Instant Volumetric Head Avatars, CVPR 2023",
            homepage="https://zielon.github.io/insta/",
            provides=frozenset({"mouth", "cloth"}),
            layouts=("insta/original", "insta/fate", "insta/tracker"),
            sample=f"{_SAMPLES}:insta",
        )
    )
    register(
        DatasetSpec(
            name="nersemble",
            target="headbench.datasets.nersemble.reader:NersembleReader",
            summary="The NeRSemble benchmark's task mono FLAME avatar: five people on white, videos, FLAME 2023.",
            licence="NeRSemble's access form and terms; synthetic subjects CC0",
            citation="Kirschstein et al.: NeRSemble: Multi-view Radiance Field Reconstruction of Human Heads, TOG 2023",
            homepage="https://github.com/tobias-kirschstein/nersemble-benchmark",
            provides=frozenset({"mouth"}),
            layouts=("nersemble/v2", "nersemble/v1"),
            sample=f"{_SAMPLES}:nersemble",
        )
    )
    for name, target, people, homepage in (
        ("imavatar", "ImavatarReader", "IMAvatar's people", "https://github.com/zhengyuf/IMavatar"),
        ("pointavatar", "PointAvatarReader", "PointAvatar's people", "https://github.com/zhengyuf/PointAvatar"),
        ("4dface", "NerFaceReader", "NerFace's people", "https://github.com/gafniguy/4D-Facial-Avatars"),
        ("emotalk3d", "EmoTalk3dReader", "EmoTalk3D's people", "https://nju-3dv.github.io/projects/EmoTalk3D/"),
    ):
        register(
            DatasetSpec(
                name=name,
                target=f"headbench.datasets.imavatar.reader:{target}",
                summary=f"{people}, tracked by IMAvatar's pipeline (images with mattes, DECA's FLAME 2020).",
                licence="Data of their owners, for research; synthetic subjects CC0",
                citation=_IMAVATAR_CITATIONS[name],
                homepage=homepage,
                provides=frozenset({"mouth", "cloth", "classes"}),
                layouts=(f"{name}/original", f"{name}/fate", f"{name}/rgba"),
                sample=f"{_SAMPLES}:{name.replace('4d', 'fourd')}",
            )
        )
    register(
        DatasetSpec(
            name="vhap",
            target="headbench.datasets.vhap.reader:VhapReader",
            summary="Videos tracked by VHAP, as GaussianAvatars trains on them: any number of cameras, FLAME 2023.",
            licence="Data of their owners; VHAP itself is for non-commercial use; synthetic subjects CC0",
            citation="Qian et al.: GaussianAvatars: Photorealistic Head Avatars with Rigged 3D Gaussians, CVPR 2024",
            homepage="https://github.com/ShenhanQian/VHAP",
            provides=frozenset({"mouth"}),
            layouts=("vhap/single", "vhap/multiview"),
            sample=f"{_SAMPLES}:vhap",
        )
    )
