"""Files of Gaussians as programs of others read them: plyfile the table, gsply the Gaussians, gaussforge a .splat."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headbench.export import format_of
from headbench.export.source import Source
from headbench.export.splats import Splats, splats_of
from headbench.export.write import export
from headbench.harness.types import Gaussians


@pytest.fixture(scope="module", params=["FateAvatar", "GaussianAvatars"])
def written(request, opened, made_subject, tmp_path_factory):
    """A session, a frame, the Gaussians of its pose as arrays, and the folder of its files head.ply and head.splat."""
    options = {"sh_every": 0, "sh_degree": 2} if request.param == "GaussianAvatars" else {}
    session, frame = opened(request.param, **options), made_subject.train[2]
    folder = tmp_path_factory.mktemp("independent")
    for name in ("ply", "splat"):
        export(Source(session), format_of(name), frame.id, folder / f"head.{name}", lambda: made_subject)
    return session, frame, splats_of(session.gaussians(frame.params)), folder


def gaussians(means, quats, scales, opacities, sh) -> Gaussians:
    """Gaussians of log scales, opacities in [0, 1] and harmonics (N, K, 3)."""
    arrays = (np.array(each, np.float32) for each in (means, quats, np.exp(scales), opacities, sh))
    return Gaussians(*map(torch.from_numpy, arrays), int(sh.shape[1] ** 0.5) - 1)


@torch.no_grad()
def psnr(session, frame, one: Gaussians, other: Gaussians) -> float:
    """dB between pictures of both, of 64 x 64 pixels on white."""
    camera = frame.camera.resized(64, 64)
    first, second = (session.rasterizer(each, camera, torch.ones(1, 3)).image.clamp(0, 1) for each in (one, other))
    assert float(first.std()) > 0.02, "there is something to see"
    return float(-10 * (first - second).square().mean().clamp(min=1e-12).log10())


def original(splats: Splats, degree: int) -> Gaussians:
    """What was exported, up to a degree of its harmonics."""
    sh = splats.sh[:, : (degree + 1) ** 2]
    return gaussians(splats.means, splats.quats, splats.log_scales, splats.opacities, sh)


def read_by_gsply(path) -> tuple[dict[str, np.ndarray], Gaussians]:
    """Values of a PLY file by name, with harmonics (N, K, 3) and opacities in [0, 1], and its Gaussians."""
    gsply = pytest.importorskip("gsply")
    read = gsply.plyread(path)
    count = len(read.means)
    sh = np.concatenate([read.sh0.reshape(count, 1, 3), np.asarray(read.shN).reshape(count, -1, 3)], 1)
    opacities = 1 / (1 + np.exp(-read.opacities.reshape(-1).astype(float)))
    found = {"means": read.means, "quats": read.quats, "log_scales": read.scales, "opacities": opacities, "sh": sh}
    return found, gaussians(*found.values())


def test_gsply_reads_the_gaussians_of_a_ply(written) -> None:
    session, frame, splats, folder = written
    found, back = read_by_gsply(folder / "head.ply")
    for name, array in found.items():
        assert np.allclose(array, getattr(splats, name), atol=1e-5), name
    assert psnr(session, frame, original(splats, splats.degree), back) > 60


def test_plyfile_reads_one_table_of_little_endian_floats(written) -> None:
    plyfile = pytest.importorskip("plyfile")
    _, _, splats, folder = written
    read = plyfile.PlyData.read(str(folder / "head.ply"))
    assert (read.text, read.byte_order, [each.name for each in read.elements]) == (False, "<", ["vertex"])
    table = read["vertex"]
    assert {each.val_dtype for each in table.properties} == {"f4"}

    def columns(*names: str) -> np.ndarray:
        return np.stack([table[name] for name in names], 1)

    assert np.array_equal(columns("x", "y", "z"), splats.means)
    assert np.allclose(columns(*(f"rot_{k}" for k in range(4))), splats.quats)
    assert np.allclose(columns(*(f"scale_{k}" for k in range(3))), splats.log_scales)
    assert np.allclose(1 / (1 + np.exp(-table["opacity"].astype(float))), splats.opacities, atol=1e-5)
    rest = [each.name for each in table.properties if each.name.startswith("f_rest_")]
    per_channel = splats.sh.shape[1] - 1
    assert rest == [f"f_rest_{k}" for k in range(3 * per_channel)]
    for channel in range(3):
        own = [f"f_rest_{k}" for k in range(channel * per_channel, (channel + 1) * per_channel)]
        harmonics = columns(f"f_dc_{channel}", *own)
        assert np.array_equal(harmonics, splats.sh[..., channel])


def test_gaussforge_reads_a_splat_whose_order_and_bytes_are_the_published_ones(written, tmp_path) -> None:
    gaussforge = pytest.importorskip("gaussforge")
    session, frame, splats, folder = written
    converted = gaussforge.GaussForge().convert((folder / "head.splat").read_bytes(), "splat", "ply")
    assert "error" not in converted
    (tmp_path / "converted.ply").write_bytes(converted["data"])
    found, back = read_by_gsply(tmp_path / "converted.ply")
    # The file begins with what covers most.
    order = np.argsort(-(splats.log_scales.sum(1) + np.log(np.maximum(splats.opacities, 1e-6))), kind="stable")
    assert np.allclose(found["means"], splats.means[order], atol=1e-6)
    assert np.allclose(found["log_scales"], splats.log_scales[order], atol=1e-4)
    assert np.allclose(found["opacities"], splats.opacities[order], atol=0.5 / 255 + 1e-4)
    turned = np.abs(
        (found["quats"] / np.linalg.norm(found["quats"], axis=1, keepdims=True) * splats.quats[order]).sum(1)
    )
    assert turned.min() > 0.9995, "within 2 degrees, as far as 8 bits go"
    assert psnr(session, frame, original(splats, 0), back) > 45
