"""Format gaussianavatars: posed by the published formulas its files draw what the avatar draws."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from headbench.export import format_of
from headbench.export.source import Source
from headbench.export.write import export
from headbench.harness.errors import BenchError
from headbench.harness.head import load_head
from headbench.harness.types import Gaussians, HeadParams


@pytest.fixture
def write(made_subject, tmp_path):
    def call(session, pose: str = "train"):
        out = tmp_path / "pair"
        done = export(Source(session), format_of("gaussianavatars"), pose, out, lambda: made_subject)
        return out, done

    return call


def posed(folder, identity, row: int, readers) -> Gaussians:
    """Gaussians of a pair in one of its poses, by the formulas of the publication."""
    columns = readers.ply_columns(folder / "point_cloud.ply")
    flame = {name: torch.tensor(array) for name, array in np.load(folder / "flame_param.npz").items()}
    assert {array.dtype for array in flame.values()} == {torch.float32}
    head = load_head(identity.head, "teeth").bind(
        replace(identity, shape=flame["shape"][None, : identity.shape.shape[1]], static_offset=flame["static_offset"])
    )
    one = {name: value[row : row + 1] for name, value in flame.items() if name not in ("shape", "static_offset")}
    names = ("rotation", "neck_pose", "jaw_pose")
    eyes = one["eyes_pose"].split(3, dim=1)
    expression = one["expr"][:, : head.expression_size]
    params = HeadParams(identity.head, expression, *(one[name] for name in names), *eyes, one["translation"])
    triangles = head.vertices(params)[0][head.faces].double()
    a, b, c = triangles.unbind(1)
    a0 = torch.nn.functional.normalize(b - a, dim=1)
    a1 = torch.nn.functional.normalize(torch.linalg.cross(a0, c - a), dim=1)
    a2 = -torch.linalg.cross(a1, a0)
    size = ((b - a).norm(dim=1) + (a2 * (c - a)).sum(1).abs()) / 2
    R = torch.stack([a0, a1, a2], dim=2)
    face = columns["binding_0"].astype(int)
    local = readers.read_ply(folder / "point_cloud.ply")
    turn = local.quats.double() / local.quats.double().norm(dim=1, keepdim=True)
    from headbench.harness.head import matrix_to_quat, quat_multiply

    means = size[face][:, None] * (R[face] @ local.means.double()[:, :, None])[:, :, 0] + triangles.mean(1)[face]
    return replace(
        local,
        means=means.float(),
        scales=(size[face][:, None] * local.scales.double()).float(),
        quats=quat_multiply(matrix_to_quat(R)[face], turn).float(),
    )


@torch.no_grad()
def apart(session, frame, gaussians) -> float:
    """PSNR between an avatar's picture and that of Gaussians."""
    camera = frame.camera.resized(64, 64)
    white = torch.ones(1, 3)
    one = session.render(frame.params, camera, "white", "float32").clamp(0, 1)
    other = session.rasterizer(gaussians, camera, white).image.clamp(0, 1)
    assert float(one.std()) > 0.02
    return float(-10 * (one - other).square().mean().clamp(min=1e-12).log10())


@pytest.mark.parametrize("topology", ["teeth", "open"])
def test_gaussians_of_triangles_are_written_as_they_are(topology, opened, write, readers, made_subject) -> None:
    session = opened("GaussianAvatars", sh_every=0, head_topology=topology)
    folder, done = write(session)
    columns = readers.ply_columns(folder / "point_cloud.ply")
    assert len(columns) == 63 and list(columns)[-1] == "binding_0"
    assert (columns["binding_0"] == session.loaded.portrait.table["face_index"].numpy()).all()
    assert done.notes == (
        "the viewer of GaussianAvatars poses FLAME 2023, these Gaussians are of openhead: `bench import` reads them.",
    )
    for row in (0, 3):
        found = posed(folder, session.loaded.identity, row, readers)
        assert apart(session, made_subject.train[row], found) > 60
    assert json.loads((folder / "headbench.json").read_text())["head"] == "openhead"


@pytest.mark.parametrize("method", ["FateAvatar", "FlashAvatar", "SplattingAvatar"])
def test_others_are_measured_in_the_canonical_pose(method, opened, readers, made_subject, tmp_path) -> None:
    from headbench.harness.head.canonical import canonical_params

    session = opened(method, head_topology="open")
    frame = replace(made_subject.train[0], params=canonical_params(session.loaded.identity, 0.0))
    subject = replace(made_subject, train=(frame, *made_subject.train[1:]))
    out = tmp_path / "pair"
    done = export(Source(session), format_of("gaussianavatars"), "train", out, lambda: subject)
    assert "measured in the canonical pose" in done.notes[0]
    found = posed(out, session.loaded.identity, 0, readers)
    assert apart(session, frame, found) > 50
    moved = posed(out, session.loaded.identity, 3, readers)
    assert apart(session, made_subject.train[3], moved) > 25


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_global_similarity_becomes_part_of_root_and_translation(
    scale, opened, readers, made_subject, tmp_path
) -> None:
    from headbench.harness.head import axis_angle_to_matrix
    from headbench.harness.types import Similarity

    session, out = opened("GaussianAvatars", sh_every=0, head_topology="teeth"), tmp_path / "pair"
    turn = axis_angle_to_matrix(torch.tensor([[0.1, 0.3, -0.2]]))
    similarity = Similarity(torch.tensor([scale]), turn, torch.tensor([[0.02, -0.01, 0.03]]))
    first = made_subject.train[0]
    frame = replace(first, params=replace(first.params, root=torch.tensor([[0.2, 0.0, 0.1]]), similarity=similarity))
    subject = replace(made_subject, train=(frame,), test=())
    done = export(Source(session), format_of("gaussianavatars"), "train", out, lambda: subject)
    assert ("the format has no global scale: that of 2 was left out." in done.notes) == (scale == 2)
    unscaled = replace(similarity, scale=torch.ones(1))
    shown = replace(frame, params=replace(frame.params, similarity=unscaled))
    assert apart(session, shown, posed(out, session.loaded.identity, 0, readers)) > 60


def test_what_no_triangle_carries_is_refused(opened, write, tmp_path) -> None:
    with pytest.raises(BenchError, match="Gaussians of MonoGaussianAvatar are not carried by triangles"):
        write(opened("MonoGaussianAvatar"))
    assert list(tmp_path.iterdir()) == []
