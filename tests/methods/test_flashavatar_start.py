"""Where FlashAvatar's Gaussians start, how large, and what the network is told of their places."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.assets import asset, record
from headbench.harness.assets.eyelids import read_eyelids
from headbench.harness.assets.flame import read_masks
from headbench.harness.assets.templates import read_template
from headbench.harness.blocks.encoding import encode
from headbench.harness.blocks.placement import mean_neighbour_distance, neighbour_distances
from headbench.harness.errors import BenchError, MissingAsset
from headbench.harness.head import HeadModel, SubjectHead, load_head, uv_raster
from headbench.harness.head.topology import boundary_loops
from headbench.harness.train.frames import epoch_order
from headbench.harness.types import HeadParams, Identity, TrainView
from headbench.methods.flashavatar import FlashAvatar
from headbench.methods.flashavatar.network import OffsetNetwork
from headbench.methods.flashavatar.start import first_log_scales, neutral_mesh, places


def test_the_start_is_grey_and_transparent_on_the_atlas(flash: Any, tiny_head: HeadModel) -> None:
    avatar = flash()
    faces, bary = uv_raster(tiny_head.uvs, tiny_head.uv_faces, 12, cull=False)
    assert avatar.count() == len(faces)
    assert torch.equal(avatar.table["face_index"], faces)
    torch.testing.assert_close(avatar.table["bary"], bary)
    assert avatar.table["dc"].abs().max() == 0
    assert avatar.table["rest"].shape == (len(faces), 15, 3)
    assert avatar.table["rest"].abs().max() == 0
    torch.testing.assert_close(avatar.table["opacity"].sigmoid(), torch.full((len(faces),), 0.1))
    assert avatar.table["rotation"].unique(dim=0).tolist() == [[1.0, 0.0, 0.0, 0.0]]


def on_points(avatar: FlashAvatar, vertices: torch.Tensor) -> np.ndarray:
    """(N, 3) the avatar's places on a mesh (V, 3), float64."""
    corners = vertices.double()[avatar.head.faces[avatar.table["face_index"]]].numpy()
    points: np.ndarray = (avatar.table["bary"].double().numpy()[:, :, None] * corners).sum(1)
    return points


def test_official_sizes_come_from_three_neighbours_on_the_cloud_that_the_first_step_sees(
    flash: Any, tiny_train: TrainView
) -> None:
    avatar = flash()
    first = tiny_train.frames[int(epoch_order(6, tiny_train.seed, 1)[0])].params
    cloud = avatar.drive(first).gaussians.means[0].detach().double().numpy()
    square = ((cloud[:, None] - cloud[None]) ** 2).sum(-1)
    expected = np.sqrt(np.sort(square, axis=1)[:, 1:4].mean(1))
    found = avatar.table["scaling"].detach().numpy()
    np.testing.assert_allclose(found, np.log(expected)[:, None].repeat(3, 1), atol=1e-4)
    assert found.std() > 0
    other = avatar.drive(tiny_train.frames[0].params).gaussians.means[0]
    assert not np.allclose(other.detach().numpy(), cloud, atol=1e-4), "the frame matters"


def test_sizes_have_a_floor_of_a_third_of_a_millimetre(preset: Any) -> None:
    cloud = torch.tensor([[0.0, 0, 0]] * 5)
    found = first_log_scales(cloud, cloud, preset("FlashAvatar", "official"))
    torch.testing.assert_close(found, torch.full((5, 3), 0.5 * float(np.log(1e-7))))


def test_the_port_s_size_is_the_mean_distance_on_the_mean_head(flash: Any, tiny_head: HeadModel) -> None:
    avatar = flash("fateavatar")
    points = on_points(avatar, tiny_head.template)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(len(points))
    np.testing.assert_allclose(avatar.table["scaling"].detach().numpy(), np.log(distance.min(1).mean()), rtol=1e-5)


def test_official_encodes_the_neutral_subject_and_the_port_the_mean_head(flash: Any, tiny_head: HeadModel) -> None:
    official, port = flash(), flash("fateavatar", encode_centre=None)
    neutral = tiny_head.template + tiny_head.shape_dirs @ torch.tensor([0.5, -1.0, 0.3])
    np.testing.assert_allclose(official.table["anchor"].numpy(), on_points(official, neutral), atol=1e-7)
    np.testing.assert_allclose(port.table["anchor"].numpy(), on_points(port, tiny_head.template), atol=1e-7)
    torch.testing.assert_close(official.encoded, encode(official.table["anchor"], 8))


def test_the_port_s_mesh_lies_where_its_template_file_has_it(flash: Any, tiny_head: HeadModel) -> None:
    port = flash("fateavatar")
    template = tiny_head.template
    middle = (template.amin(0) + template.amax(0)) / 2
    expected = on_points(port, template - middle + torch.tensor([0.0, 1.47, -0.021]))
    np.testing.assert_allclose(port.table["anchor"].numpy(), expected, atol=1e-6)
    # The file's bounding box: y from 1.313 to 1.627, z from -0.132 to 0.090.
    assert port.config.encode_centre == pytest.approx((0.0, (1.313 + 1.627) / 2, (-0.132 + 0.090) / 2))


def test_the_rim_of_the_neck_is_left_out_and_kept_in_the_port(preset: Any) -> None:
    head = load_head("openhead", "mouth_closed")
    faces, _ = places(head, preset("FlashAvatar", "official"))
    every, _ = places(head, preset("FlashAvatar", "fateavatar"))
    rim = head.regions["boundary"]
    touching = rim[head.faces[every]].any(1)
    assert touching.any()
    assert torch.equal(faces, every[~touching])
    assert not rim[head.faces[faces]].any()


def test_a_head_that_knows_no_rim_is_refused_with_the_way_out(
    tiny_head: HeadModel, tiny_identity: Identity, tiny_train: TrainView, preset: Any
) -> None:
    with pytest.raises(BenchError, match=r"openhead knows no such region.*flashavatar\.neck_boundary=keep"):
        FlashAvatar.create(tiny_head, tiny_identity, tiny_train, preset("FlashAvatar", "demo"))


def test_flipped_faces_are_sampled_and_culled_in_the_port(flash: Any, tiny_head: HeadModel) -> None:
    assert tiny_head.uv_faces is not None
    tiny_head.uv_faces[7] = tiny_head.uv_faces[7].flip(0)
    assert 7 in flash().table["face_index"].tolist()
    assert 7 not in flash("fateavatar").table["face_index"].tolist()


@pytest.mark.parametrize("topology", ["mouth_closed", "open", "teeth"])
def test_every_topology_of_a_flame_head_has_places(flame_home: Path, preset: Any, topology: str) -> None:
    head = load_head("flame2020", topology)
    config = preset("FlashAvatar", "official", head_topology=topology, uv_size=64)
    faces, bary = places(head, config)
    assert len(faces) > 500
    assert int(faces.max()) < len(head.faces)
    torch.testing.assert_close(bary.sum(1), torch.ones(len(faces)))
    assert not head.regions["boundary"][head.faces[faces]].any()
    for eye in ("left_eye", "right_eye"):
        assert head.regions[eye][head.faces[faces]].all(1).any(), "eyeballs carry Gaussians"


def test_the_mouth_cap_carries_gaussians() -> None:
    closed, opened = load_head("openhead", "mouth_closed"), load_head("openhead", "open")
    faces, _ = uv_raster(closed.uvs, closed.uv_faces, 128)
    assert int((faces >= len(opened.faces)).sum()) > 20


def shifts(seed: int, preset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread (3,) of the untrained network's offsets over the open head, as FLAME's codes at rest have it."""
    config = preset("FlashAvatar", "official")
    head = load_head("openhead", "mouth_closed")
    faces, bary = places(head, replace_size(config))
    anchor = (head.template[head.faces[faces]] * bary[..., None]).sum(1)
    network = OffsetNetwork(51, 120, config, torch.Generator().manual_seed(seed))
    rest = torch.zeros(1, 120)
    for start in (100, 106, 112):
        rest[0, [start, start + 4]] = 1.0  # the identity's first two rows
    offset = network(encode(anchor, 8), rest)[0, :, :3].detach()
    return offset.mean(0).numpy(), offset.std(0).numpy()


def replace_size(config: Any) -> Any:
    return config.model_copy(update={"uv_size": 48})


def test_the_official_cloud_starts_shifted_as_a_whole_by_centimetres(preset: Any) -> None:
    found = [shifts(seed, preset) for seed in range(5)]
    length = [float(np.linalg.norm(mean)) for mean, _ in found]
    assert all(0.01 < value < 0.15 for value in length), length
    assert 0.03 < np.mean(length) < 0.1
    assert all(0.0002 < spread.max() < 0.0015 for _, spread in found), "almost the same everywhere"
    assert len({round(value, 4) for value in length}) == 5, "another shift for each seed"


def test_the_repaired_cloud_starts_on_the_mesh(flash: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    avatar = flash("fixed")
    posed = avatar.drive(tiny_params(2))
    np.testing.assert_allclose(
        posed.gaussians.means[0].detach().numpy(), on_points(avatar, posed.vertices[0]), atol=1e-6
    )
    assert isinstance(avatar.head, SubjectHead)
    torch.testing.assert_close(posed.gaussians.scales[0], avatar.table["scaling"].exp())


def test_without_lpips_weights_the_official_preset_says_what_to_do(
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_train: TrainView,
    preset: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path))
    config = preset("FlashAvatar", "official", uv_size=12, neck_boundary="keep")
    with pytest.raises(MissingAsset):
        FlashAvatar.create(tiny_head, tiny_identity, tiny_train, config)


def test_the_same_seed_gives_the_same_start(flash: Any, tiny_head: Any, tiny_identity: Any, tiny_train: Any) -> None:
    first, second = flash(), flash()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    other = FlashAvatar.create(tiny_head, tiny_identity, replace(tiny_train, seed=4), first.config)
    assert not torch.equal(other.network.weights[0], first.network.weights[0])


def test_the_released_mesh_gives_the_published_counts(preset: Any) -> None:
    if record("flame/mouth_closed_template") is None:
        pytest.skip("flame/mouth_closed_template is not registered (set HEADBENCH_TEST_ASSETS to a folder that has it)")
    mesh = read_template(asset("flame/mouth_closed_template"), 10_006)
    assert mesh.uvs is not None and mesh.uv_faces is not None and mesh.faces is not None
    covered = {size: uv_raster(mesh.uvs, mesh.uv_faces, size, cull=False) for size in (64, 128, 256, 512)}
    assert {size: len(faces) for size, (faces, _) in covered.items()} == {
        64: 3_666,
        128: 14_876,
        256: 59_099,
        512: 237_544,
    }
    cap = {size: int((faces >= 9_976).sum()) for size, (faces, _) in covered.items()}
    assert cap == {64: 37, 128: 140, 256: 577, 512: 2_294}
    faces, bary = covered[128]
    assert len(uv_raster(mesh.uvs, mesh.uv_faces, 128)[0]) == 14_876, "culling loses no texel"
    vertices = torch.tensor(mesh.vertices)
    points = (vertices[torch.tensor(mesh.faces)[faces]] * bary[..., None]).sum(1)
    assert mean_neighbour_distance(points) == pytest.approx(0.0027, abs=0.0001)
    if record("flame/masks") is None:
        return
    masks = read_masks(asset("flame/masks"))
    kept = {
        size: ~torch.tensor(masks["boundary"])[torch.tensor(mesh.faces)[hit]].any(1)
        for size, (hit, _) in covered.items()
    }
    assert {size: int(mask.sum()) for size, mask in kept.items()} == {
        64: 3_348,
        128: 13_453,
        256: 53_678,
        512: 215_225,
    }
    for eye in ("left_eyeball", "right_eyeball"):
        assert int(torch.tensor(masks[eye])[torch.tensor(mesh.faces)[faces]].all(1).sum()) == 243
    spacing = neighbour_distances(points[kept[128]], 3).square().mean(1).sqrt()
    assert float(spacing.mean()) == pytest.approx(0.0030, abs=0.0001)
    assert float(spacing.median()) == pytest.approx(0.0029, abs=0.0001)
    assert 0.0005 < float(spacing.min()) < 0.0007
    assert 0.010 < float(spacing.max()) < 0.012


CAP = """1572 1573 1594 1595 1665 1666 1739 1742 1746 1747 1830 1835 1852 1860 1862 2708 2709 2730 2731 2782 2783 2854
2857 2861 2862 2930 2933 2941 2943 2945 3497 3514"""


def test_the_released_mesh_s_cap_closes_the_lips_in_a_place_of_its_own_in_the_atlas(preset: Any) -> None:
    if record("flame/mouth_closed_template") is None:
        pytest.skip("flame/mouth_closed_template is not registered (set HEADBENCH_TEST_ASSETS to a folder that has it)")
    mesh = read_template(asset("flame/mouth_closed_template"), 10_006)
    assert mesh.vertices is not None and mesh.faces is not None
    assert mesh.uvs is not None and mesh.uv_faces is not None
    assert [len(loop) for loop in boundary_loops(mesh.faces)] == [30]
    lips, neck = boundary_loops(mesh.faces[:9_976])
    assert (len(lips), len(neck)) == (32, 30)
    assert np.unique(mesh.faces[9_976:]).tolist() == sorted(lips.tolist()) == [int(word) for word in CAP.split()]
    corners = mesh.uvs[mesh.uv_faces].astype(np.float64)
    (ux, uy), (vx, vy) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    assert int((ux * vy - uy * vx < 0).sum()) == 5, "slivers that are flipped in the atlas"
    u, v = corners[9_976:].mean(1).T
    island = (u > 0.41) & (u < 0.60) & (v > 0.93) & (v < 0.995)
    assert island.mean() > 0.5, "most of it"
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    assert (low[1], high[1]) == pytest.approx((1.313, 1.627), abs=0.001)
    np.testing.assert_allclose((low + high) / 2, preset("FlashAvatar", "fateavatar").encode_centre, atol=0.002)


def test_the_original_s_eyelids_have_the_published_extent() -> None:
    if record("flame/eyelids") is None:
        pytest.skip("flame/eyelids is not registered (set HEADBENCH_TEST_ASSETS to a folder that has it)")
    lids = read_eyelids(asset("flame/eyelids"))
    assert (lids != 0).any(2).sum(1).tolist() == [409, 462]
    assert float(np.abs(lids).max()) == pytest.approx(9.25e-3, abs=5e-6)


def test_the_anchor_mesh_is_an_option_of_its_own(tiny_head: HeadModel, tiny_identity: Identity, preset: Any) -> None:
    subject = tiny_head.bind(tiny_identity)
    config = preset("FlashAvatar", "official", encode_centre=(1.0, 2.0, 3.0))
    corner = neutral_mesh(tiny_head, subject, config)[tiny_head.faces[0, :1]]
    middle = (subject.base.amin(0) + subject.base.amax(0)) / 2
    torch.testing.assert_close(corner[0], subject.base[tiny_head.faces[0, 0]] - middle + torch.tensor([1.0, 2.0, 3.0]))
