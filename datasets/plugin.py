"""The built-in datasets, registered through the hook that any plugin uses."""

from __future__ import annotations

from collections.abc import Callable

from headbench.harness.plugins.hookspecs import hookimpl
from headbench.harness.plugins.specs import DatasetSpec

__all__ = ["register_datasets"]


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
            provides=frozenset({"mouth"}),
            layouts=("insta/original", "insta/fate", "insta/tracker"),
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
        )
    )
