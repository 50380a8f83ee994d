"""Meshes, pictures with alpha and videos of a pose or a sequence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from headbench.export import format_of
from headbench.export.source import Source
from headbench.export.write import export
from headbench.harness.head import load_head
from headbench.harness.videos import open_video


@pytest.fixture
def write(made_subject, tmp_path, opened):
    def call(name: str, out: str, pose: str = "first", **look) -> object:
        place = tmp_path / out
        export(Source(opened("FateAvatar"), **look), format_of(name), pose, place, lambda: made_subject)
        return place

    return call


@pytest.mark.parametrize("ending", ["obj", "ply"])
def test_a_mesh_has_its_places_and_texture_coordinates(ending, write, opened, made_subject) -> None:
    session = opened("FateAvatar")
    frame = made_subject.train[1]
    found = trimesh.load(write("mesh", f"head.{ending}", frame.id), process=False)
    head = load_head("openhead", "mouth_closed")
    with torch.no_grad():
        vertices = session.loaded.portrait.drive(frame.params).vertices[0].numpy()
    assert len(found.faces) == len(head.faces)
    assert np.allclose(found.triangles, vertices[head.faces.numpy()], atol=1e-6)
    uvs = head.uvs.numpy()[head.uv_faces.numpy()]
    assert np.allclose(found.visual.uv[found.faces], uvs, atol=1e-6)


def test_a_baked_avatar_brings_its_texture(opened, made_subject, tmp_path) -> None:
    session, out = opened("baked"), tmp_path / "head.obj"
    export(Source(session), format_of("mesh"), "first", out, lambda: made_subject)
    names = ["head.mtl", "head.obj", "head.texture.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    found = trimesh.load(out, process=False)
    picture = np.asarray(found.visual.material.image.convert("RGB"))
    maps = session.loaded.portrait.maps.colour
    assert (picture == np.rint(maps.flip(1).permute(1, 2, 0).numpy() * 255)).all()
    export(Source(session), format_of("mesh"), "train", tmp_path / "heads", lambda: made_subject)
    assert (tmp_path / "heads/head.texture.png").read_bytes() == (tmp_path / "head.texture.png").read_bytes()


def test_a_sequence_of_meshes_is_numbered(write) -> None:
    folder = write("mesh", "heads", "test")
    assert sorted(path.name for path in folder.iterdir()) == ["00000.obj", "poses.json"]


def test_frames_with_alpha_lie_on_any_background(write, opened, made_subject) -> None:
    session, frame = opened("FateAvatar"), made_subject.train[0]
    picture = np.asarray(Image.open(write("frames", "head.png", frame.id))).astype(float) / 255
    assert picture.shape == (32, 32, 4) and picture[..., 3].min() == 0 and picture[..., 3].max() > 0.5
    for background in ("white", "green"):
        behind = {"white": [1.0, 1, 1], "green": [0.0, 1, 0]}[background]
        laid = picture[..., :3] * picture[..., 3:] + np.array(behind) * (1 - picture[..., 3:])
        scored = session.render(frame.params, frame.camera, background, "float32")[0].permute(1, 2, 0).numpy()
        error = np.square(laid - scored.clip(0, 1)).mean()
        assert -10 * np.log10(error) > 45


def test_a_video_holds_all_frames_of_a_sequence(write, opened, made_subject) -> None:
    path = write("video", "head.mp4", "train", background="black", fps=10)
    with open_video(path) as video:
        assert (video.packets(), video.size, video.rate) == (5, (32, 32), 10)
