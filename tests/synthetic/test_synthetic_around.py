"""Views from all around a synthetic head: what lies in ``truth/``, where the cameras stand, and how readers see it."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from discs import thin_hair
from PIL import Image

import headbench.datasets.common.views as views_module
from headbench.datasets.common.findings import Findings
from headbench.datasets.common.mesh import ProjectedMesh
from headbench.datasets.common.views import read_views
from headbench.datasets.synthetic import samples, write_synthetic
from headbench.datasets.synthetic.scene import head_params, make_scene
from headbench.harness.errors import DataError
from headbench.harness.plugins import registry
from headbench.harness.problems import grouped
from headbench.harness.splat import fill_triangles
from headbench.harness.types import HeadParams, Similarity

LAYOUTS = {"insta": "synth00", "imavatar": "synth00", "vhap": "synth00", "nersemble": "mono_flame_avatar/393"}


@pytest.fixture(scope="module")
def around(tmp_path_factory) -> Path:
    """A subject of 24 x 24 of the same person as the samples, with views all around."""
    out = tmp_path_factory.mktemp("around")
    with thin_hair():
        (folder,) = write_synthetic(out, "insta", 1, 2, 24, 3, lambda line: None, workers=1, orbit=1, around=True)
    return folder


@pytest.fixture
def subject(around, tmp_path) -> Path:
    """A copy of it that may be damaged."""
    return Path(shutil.copytree(around, tmp_path / "insta" / "synth00"))


def document(folder: Path) -> dict:
    return json.loads((folder / "truth/around/views.json").read_text(encoding="utf-8"))


def read(folder: Path, layout: str = "insta"):
    return registry().load_dataset(layout).read(folder, {})


def test_views_made_at_once_are_those_made_one_by_one(around, monkeypatch) -> None:
    at_once = read(around).views["all-around"]
    monkeypatch.setattr(views_module, "_good", lambda *given: [])
    one_by_one = read(around).views["all-around"]
    assert at_once.digest == one_by_one.digest and len(at_once.frames) == len(one_by_one.frames) == 24
    for first, second in zip(at_once.frames, one_by_one.frames, strict=True):
        assert replace(first, camera=None, params=None) == replace(second, camera=None, params=None)
        for part in ("camera", "params"):
            one, other = vars(getattr(first, part)), vars(getattr(second, part))
            tensors = {name for name, value in one.items() if isinstance(value, torch.Tensor)}
            assert len(tensors) >= 2 and all(torch.equal(one[name], other[name]) for name in tensors)
            assert {k: v for k, v in one.items() if k not in tensors} == {k: other[k] for k in {*one} - tensors}


@pytest.mark.slow
def test_views_stand_at_12_azimuths_and_2_elevations_and_no_two_show_one_expression(around) -> None:
    content = document(around)
    frames = content["frames"]
    places = {(frame["azimuth"], frame["elevation"]) for frame in frames}
    assert places == {(30 * k, e) for k in range(12) for e in (20, -10)} and len(frames) == 24
    assert len({frame["id"] for frame in frames}) == 24
    expressions = np.array([frame["expression"] for frame in frames])
    assert min(np.abs(expressions[a] - expressions[b]).max() for a in range(24) for b in range(a)) > 0.05
    assert np.ptp([frame["jaw"][0] for frame in frames]) > 0.1
    for frame in frames:
        data = (around / "truth/around" / frame["image"]).read_bytes()
        assert frame["sha256"] == hashlib.sha256(data).hexdigest()
        # Where the camera stands, seen from the head: azimuth turns it to the subject's right, -x.
        w2c = np.array(frame["w2c"])
        x, y, z = -w2c[:3, :3].T @ w2c[:3, 3] - [0, 0, -0.01]
        assert np.degrees(np.arctan2(-x, z)) % 360 == pytest.approx(frame["azimuth"], abs=1e-6)
        assert np.degrees(np.arcsin(y / 0.9)) == pytest.approx(frame["elevation"], abs=1e-6)
    assert (content["width"], content["height"]) == (24, 24)


def test_views_are_as_large_as_the_frames_since_splats_look_fat_at_smaller_sizes(around) -> None:
    found = read(around)
    camera = found.train[0].camera
    assert {(view.camera.width, view.camera.height) for view in found.views["all-around"].frames} == {(24, 24)}
    assert (camera.width, camera.height) == (24, 24)
    for picture in (around / "truth/folder/images").iterdir():
        with Image.open(picture) as image:
            assert image.size == (24, 24)


def test_pictures_show_the_posed_head_where_the_cameras_see_it(around) -> None:
    found = read(around)
    mesh = ProjectedMesh.of(found)
    for frame in found.views["all-around"].frames:
        alpha = frame.pixels().alpha[0].numpy()
        silhouette = mesh.silhouette(frame.params, frame.camera)
        # Hair and, at this size, edges lie beside the mesh.
        assert (alpha[silhouette] > 127).mean() > 0.97 and silhouette.sum() > 0.5 * (alpha > 127).sum()


def test_views_for_completion_look_from_no_scored_direction_and_have_opengl_cameras(around) -> None:
    content = json.loads((around / "truth/folder/transforms.json").read_text(encoding="utf-8"))
    assert (content["axes"], content["expression"], len(content["frames"])) == ("opengl", "neutral", 24)
    scene = make_scene(3000)
    neutral = head_params(np.zeros((1, 52)), *np.zeros((3, 1, 3)))
    vertices, faces = scene.head.vertices(neutral)[0].double().numpy(), scene.head.faces.numpy()
    for step, frame in enumerate(content["frames"]):
        c2w = np.array(frame["transform_matrix"])
        # OpenGL: the camera looks along its -z, and its y points up.
        assert c2w[:3, 3] @ c2w[:3, 2] > 0.8 and c2w[1, 1] > 0.9
        assert np.degrees(np.arctan2(-c2w[0, 3], c2w[2, 3] + 0.01)) % 360 == pytest.approx(15 * step + 7.5, abs=1e-6)
        assert np.degrees(np.arcsin(c2w[1, 3] / 0.9)) == pytest.approx((0, 15, 0, -15)[step % 4], abs=1e-6)
        seen = (vertices - c2w[:3, 3]) @ c2w[:3, :3] * [1, -1, -1]
        points = seen[:, :2] / seen[:, 2:] * [content["fl_x"], content["fl_y"]] + [content["cx"], content["cy"]]
        with Image.open(around / "truth/folder" / frame["file_path"]) as image:
            alpha = np.array(image)[..., 3]
        assert (alpha[fill_triangles(points, faces, 24, 24)] > 127).mean() > 0.97


def test_frames_are_the_same_files_with_and_without_views(around, tmp_path) -> None:
    with thin_hair():
        (plain,) = write_synthetic(tmp_path, "insta", 1, 2, 24, 3, lambda line: None, workers=1, orbit=1)
    files = [path.relative_to(plain) for path in plain.rglob("*") if path.is_file()]
    assert all((around / path).read_bytes() == (plain / path).read_bytes() for path in files if path.suffix != ".npz")
    more = {path.relative_to(around).parts[:2] for path in around.rglob("*") if path.is_file()} - {
        path.parts[:2] for path in files
    }
    assert more == {("truth", "around"), ("truth", "folder")}


@pytest.mark.slow
def test_each_layout_reads_the_same_views_and_training_never_depends_on_them(around, tmp_path) -> None:
    silhouettes = []
    for layout, below in LAYOUTS.items():
        getattr(samples, layout)(tmp_path)
        folder = tmp_path / layout / below
        before = read(folder, layout)
        shutil.copytree(around / "truth/around", folder / "truth/around")
        found = read(folder, layout)
        assert before.views == {} and found.fingerprint == before.fingerprint
        views = found.views["all-around"]
        assert found.showing("all-around").test == views.frames and before.showing("all-around").test == ()
        like = found.train[0].params
        for frame in views.frames:
            assert frame.params.expression.shape == like.expression.shape
            assert (frame.params.similarity is None) == (like.similarity is None)
            assert (frame.params.eyelids is None) == (like.eyelids is None)
        mesh = ProjectedMesh.of(found)
        silhouettes.append(np.stack([mesh.points(frame.params, frame.camera) for frame in views.frames[:3]]))
    for other in silhouettes[1:]:
        np.testing.assert_allclose(other, silhouettes[0], atol=2e-3)


def test_parameters_have_the_parts_of_the_subjects_frames(around) -> None:
    like = read(around).train[0].params
    still = Similarity(torch.tensor([0.9]), torch.eye(3)[None], torch.ones(1, 3))
    cases = {
        "insta": like,
        "vhap": replace(like, eyelids=None),
        "nersemble": replace(like, eyelids=None, similarity=still),
        "imavatar": replace(like, eyelids=None, expression=torch.zeros(1, 52)),
    }
    wanted = torch.tensor([frame["expression"] for frame in document(around)["frames"]])
    for layout, params in cases.items():
        findings = Findings()
        views = read_views(around, params, findings)["all-around"]
        assert not findings.problems, layout
        found = HeadParams.join([frame.params for frame in views.frames])
        assert found.expression.shape == (24, params.expression.shape[1])
        assert torch.equal(found.expression[:, :52], wanted) and not found.expression[:, 52:].any()
        assert (found.eyelids is None) == (params.eyelids is None) and not found.root.any()
        assert params.similarity is None or torch.equal(found.similarity.R, torch.eye(3).expand(24, 3, 3))


def cut(folder: Path) -> None:
    path = folder / "truth/around/views.json"
    path.write_text(path.read_text()[:900])


def change(**values):
    def edit(folder: Path) -> None:
        content = document(folder)
        for name, value in values.items():
            (content if name in content else content["frames"][1])[name] = value
        (folder / "truth/around/views.json").write_text(json.dumps(content))

    return edit


def twice(folder: Path) -> None:
    change(id=document(folder)["frames"][0]["id"])(folder)


def other_picture(folder: Path) -> None:
    frames = document(folder)["frames"]
    shutil.copy(folder / "truth/around" / frames[0]["image"], folder / "truth/around" / frames[1]["image"])


def no_picture(folder: Path) -> None:
    (folder / "truth/around" / document(folder)["frames"][1]["image"]).unlink()


@pytest.mark.slow
@pytest.mark.tried(
    "damaged inputs",
    "views from all around: a cut list, other pictures, other cameras, paths that lead out",
    "the subject is refused with the view, what was expected and found",
    "nothing",
)
def test_damaged_views_are_one_clear_error(subject) -> None:
    scaled = (np.diag([2.0, 2.0, 2.0, 1.0]) @ np.array(document(subject)["frames"][1]["w2c"])).tolist()
    cases = {
        cut: "expected JSON",
        change(format=2): "`format`: expected 1, found 2",
        change(head="flame2020"): "`head`: expected 'openhead', found 'flame2020'",
        change(width=48): "expected 48 x 24 pixels as views.json says, found 24 x 24",
        change(id="../up"): "cannot name a file",
        change(image="../../images/00000.png"): "expected a file in this folder",
        change(jaw=[0.0, float("nan"), 0.0]): "`jaw`: expected finite numbers",
        change(w2c=scaled): "`w2c`:",
        change(expression=[0.0] * 120 + [1.0]): "expected at most 100 coefficients, found 121",
        twice: "expected each `id` once",
        other_picture: "expected the picture that views.json hashed, found another",
        no_picture: "expected an image, found no such file",
    }
    whole = subject / "truth/around"
    kept = shutil.copytree(whole, subject.parent / "kept")
    for damage, message in cases.items():
        damage(subject)
        with pytest.raises(DataError) as caught:
            read(subject)
        assert message in str(caught.value.args[0]) and "truth/around" in str(caught.value.args[0]), message
        problems = grouped([p for p in registry().load_dataset("insta").check(subject, {}) if p.severity == "error"])
        assert len(problems) == 1 and "\n" not in problems[0].line() and "(" in problems[0].line(), message
        shutil.rmtree(whole)
        shutil.copytree(kept, whole)
    assert len(read(subject).views["all-around"].frames) == 24


def test_a_picture_is_decoded_with_its_alpha(around) -> None:
    frame = read(around).views["all-around"].frames[0]
    pixels = frame.pixels()
    with Image.open(around / "truth/around/images" / f"{frame.id}.png") as image:
        stored = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert torch.equal(pixels.colour, stored[:3]) and torch.equal(pixels.alpha, stored[3:])
