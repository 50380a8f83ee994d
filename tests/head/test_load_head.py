import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from headbench.harness.assets import register
from headbench.harness.errors import BenchError, DataError, MissingAsset
from headbench.harness.head import face_frames, load_head

NAMES = {"face", "lips", "mouth_interior", "eyes", "left_eye", "right_eye", "ears", "scalp", "neck"} | {
    "boundary",
    "nose",
    "forehead",
}


@pytest.fixture
def home(tmp_path, monkeypatch, register_flame):
    """register one after another: add("flame/masks") puts the synthetic file into an empty home."""
    monkeypatch.setenv("HEADBENCH_HOME", str(tmp_path / "home"))
    yield lambda *names: register_flame(tmp_path / "home", names)
    # 50 MB per model: do not leave them in the folders that pytest keeps.
    shutil.rmtree(tmp_path / "home")


@pytest.mark.parametrize(
    ("topology", "vertices", "faces"), [("open", 5023, 9976), ("mouth_closed", 5023, 10006), ("teeth", 5143, 10144)]
)
def test_flame_loads_in_its_three_topologies(flame_home, topology, vertices, faces, draw, identify):
    head = load_head("flame2020", topology)
    assert (head.tag, head.topology, head.sizes) == ("flame2020", topology, (300, 100))
    assert head.template.shape == (vertices, 3) and head.template.dtype == torch.float32
    assert head.faces.shape == head.uv_faces.shape == (faces, 3)
    assert set(head.regions) == NAMES
    vertices_posed = head(draw(head, 2), identify(head))
    assert torch.isfinite(face_frames(vertices_posed, head.faces).quats()).all()


def test_pose_directions_have_a_row_per_feature_and_three_columns_a_vertex(flame_home, made_flame):
    head = load_head("flame2020")
    expected = made_flame.posedirs.transpose(2, 0, 1).reshape(36, -1)
    np.testing.assert_allclose(head.pose_dirs.numpy(), expected, rtol=1e-6)


def test_texture_follows_the_models_faces_whatever_the_templates_order(flame_home, made_flame):
    head = load_head("flame2020")
    found = head.uvs[head.uv_faces].numpy()
    np.testing.assert_allclose(found, made_flame.uvs[made_flame.faces], atol=1e-6)


def test_a_missing_model_says_how_to_get_it(tmp_path):
    for tag in ("flame2020", "flame2023", "flame2023_open"):
        with pytest.raises(MissingAsset) as caught:
            load_head(tag)
        assert f"bench assets add {tag}" in str(caught.value) and "flame.is.tue.mpg.de" in str(caught.value)


def test_unknown_names_are_answered_with_close_ones():
    with pytest.raises(BenchError, match="Did you mean 'flame2020'"):
        load_head("flame2202")
    with pytest.raises(BenchError, match="Did you mean 'mouth_closed'"):
        load_head("openhead", "mouthclosed")


def test_the_registered_closed_template_gives_faces_and_texture_in_its_own_order(home, flame_format, made_flame):
    home("flame2020/model", "flame/masks", "flame/mouth_closed_template")
    head = load_head("flame2020", "mouth_closed")
    np.testing.assert_array_equal(head.faces.numpy(), flame_format.closed_faces(made_flame))
    np.testing.assert_allclose(head.uvs[head.uv_faces].numpy(), made_flame.uvs[head.faces.numpy()], atol=1e-6)
    assert head.notes == ()


def test_without_a_closed_template_the_cap_is_noted(home):
    home("flame2020/model", "flame/masks", "flame/uv_template")
    assert load_head("flame2020", "mouth_closed").notes == ("mouth cap of 30 faces built over the lip boundary",)
    assert load_head("flame2020", "open").notes == load_head("flame2020", "teeth").notes == ()


def test_the_closed_template_serves_the_open_mesh_with_texture(home, made_flame):
    home("flame2020/model", "flame/masks", "flame/mouth_closed_template")
    head = load_head("flame2020", "open")
    np.testing.assert_allclose(head.uvs[head.uv_faces].numpy(), made_flame.uvs[made_flame.faces], atol=1e-6)


def test_with_the_model_alone_eyes_and_mouth_are_known_and_the_rest_is_noted(home, made_flame):
    home("flame2020/model")
    head = load_head("flame2020", "mouth_closed")
    assert set(head.regions) == {"eyes", "left_eye", "right_eye", "mouth_interior"}
    np.testing.assert_array_equal(head.regions["left_eye"].numpy(), made_flame.masks["left_eyeball"])
    assert set(head.regions["mouth_interior"].nonzero()[:, 0].tolist()) == set(made_flame.mouth.tolist())
    assert head.uvs is None and head.uv_faces is None
    for word in ("flame/masks", "flame/uv_template", "mouth cap"):
        assert any(word in note for note in head.notes)


def test_regions_are_flames_masks_under_our_names(flame_home, made_flame):
    regions = {name: mask.numpy() for name, mask in load_head("flame2020").regions.items()}
    for name in ("face", "lips", "nose", "forehead", "scalp", "neck", "boundary"):
        np.testing.assert_array_equal(regions[name], made_flame.masks[name])
    np.testing.assert_array_equal(regions["ears"], made_flame.masks["left_ear"] | made_flame.masks["right_ear"])
    np.testing.assert_array_equal(regions["right_eye"], made_flame.masks["right_eyeball"])
    np.testing.assert_array_equal(regions["eyes"], regions["left_eye"] | regions["right_eye"])


def test_registered_eyelids_are_used(home, made_flame):
    home("flame2020/model")
    assert load_head("flame2020").eyelid_dirs is None
    home("flame/eyelids")
    np.testing.assert_allclose(load_head("flame2020").eyelid_dirs.numpy(), made_flame.eyelids, atol=1e-9)
    teeth = load_head("flame2020", "teeth").eyelid_dirs
    assert teeth.shape == (2, 5143, 3) and not teeth[:, 5023:].any()


def test_a_newly_registered_model_replaces_the_one_that_was_read_before(home, flame_format, made_flame, tmp_path):
    home("flame2020/model")
    before = load_head("flame2020").shape_dirs
    other = replace(made_flame, shapedirs=-made_flame.shapedirs)
    register("flame2020/model", flame_format.write_model(tmp_path / "generic_model.pkl", other), source="test")
    assert not torch.equal(load_head("flame2020").shape_dirs, before)


def test_a_template_of_another_mesh_is_refused(home, flame_format, made_flame, tmp_path):
    home("flame2020/model")
    strange = made_flame.faces.copy()
    strange[5] = [1, 2, 4000]
    register("flame/uv_template", flame_format.write_obj(tmp_path / "t.obj", made_flame, strange), source="test")
    with pytest.raises(DataError, match="template of another mesh"):
        load_head("flame2020")


def test_two_loads_share_no_tensors(flame_home):
    first, second = load_head("flame2020"), load_head("flame2020")
    first.template.zero_()
    assert second.template.abs().max() > 0
    assert load_head("flame2020").template.abs().max() > 0
