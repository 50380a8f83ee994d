"""`bench import` of a .pth in the layout of FateAvatar's code, written by hand on a synthetic FLAME."""

from __future__ import annotations

import dataclasses
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from headbench.harness.assets import register
from headbench.harness.cli.import_ import import_
from headbench.harness.errors import BenchError
from headbench.harness.head import load_head
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.session import Session, open_checkpoint
from headbench.harness.train import LoadedPortrait
from headbench.harness.types import Camera, HeadParams, Identity

SHAPES, EXPRESSIONS = 12, 6


def bench_import(*arguments: object) -> str:
    line = [str(argument) for argument in arguments]
    return CliRunner().invoke(import_, line, catch_exceptions=False, standalone_mode=False).output


@pytest.fixture(scope="module")
def fate_home(flame_files, tmp_path_factory):
    """A HEADBENCH_HOME with a synthetic FLAME 2020 and the template that closes its mouth. Read only."""
    home = tmp_path_factory.mktemp("fate_home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADBENCH_HOME", str(home))
        for name in ("flame2020/model", "flame/mouth_closed_template"):
            register(name, flame_files[name], source="made by the tests")
        (home / "flame2023.pkl").symlink_to(flame_files["flame2020/model"])
        register("flame2023/model", home / "flame2023.pkl", source="made by the tests")
    return home


@dataclasses.dataclass
class Written:
    """A checkpoint in the published layout, and the avatar that it is of."""

    model: dict[str, torch.Tensor]
    session: Session
    params: HeadParams
    camera: Camera


@pytest.fixture(scope="module")
def written(fate_home):
    """An avatar with corrections, and its tensors under the published code's names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADBENCH_HOME", str(fate_home))
        head = load_head("flame2020", "mouth_closed")
    generator = torch.Generator().manual_seed(2)

    def rand(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    zero = torch.zeros(1, 3)
    params = HeadParams("flame2020", rand(1, EXPRESSIONS), zero, rand(1, 3) * 0.1, rand(1, 3) * 0.1, zero, zero, zero)
    middle, w2c = head.template.mean(0), torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[:3, 3] = -w2c[:3, :3] @ middle + torch.tensor([0.0, 0.0, 0.7])
    camera = Camera(w2c[None], torch.tensor([[[90.0, 0, 24], [0, 90, 24], [0, 0, 1]]]), 48, 48)
    mean = rand(1, EXPRESSIONS)
    identity = Identity("flame2020", rand(1, SHAPES) * 0.5, mean, mean.abs(), params, camera, "made")
    spec = registry().method("FateAvatar")
    kind = registry().load_method(spec.name)
    values = preset_values(spec, "official", "") | {"num_points": 400}
    config = kind.config_type.model_validate(values)
    portrait = kind.create(head, identity, None, config)
    count = 400
    portrait.resize_for({"table.offset": torch.Size([count])})
    table = portrait.table
    with torch.no_grad():
        for name, value in {
            "offset": rand(count),
            "dc": rand(count, 1, 3),
            "scaling": rand(count, 3) * 0.2 - 4.6,
            "rotation": rand(count, 4),
            "opacity": rand(count) + 2,
            "face_index": torch.randint(len(head.faces), (count,), generator=generator),
            "bary": torch.rand((count, 3), generator=generator).softmax(1),
        }.items():
            table[name].copy_(value)
        portrait.delta_expression.copy_(rand(5023, 3, EXPRESSIONS) * 1e-3)
        portrait.delta_pose.copy_(rand(36, 3 * 5023) * 1e-3)
        portrait.delta_vertex.copy_(rand(5023, 3) * 1e-3)
    unused = torch.zeros(5023, 3, SHAPES)
    model = {
        "_offset": table["offset"][:, None],
        "_features_dc": table["dc"],
        "_features_rest": torch.zeros(7, 0, 3),
        "_scaling": table["scaling"],
        "_rotation": table["rotation"],
        "_opacity": table["opacity"][:, None],
        "face_index": table["face_index"],
        "bary_coords": table["bary"],
        "faces": head.faces,
        "face_scaling_canonical": portrait.canonical_size[:, None],
        "delta_shapedirs": torch.cat([unused, portrait.delta_expression], 2),
        "delta_posedirs": portrait.delta_pose,
        "delta_vertex": portrait.delta_vertex,
        "flame.v_template": portrait.head.base,
        "flame.shapedirs": torch.cat([head.shape_dirs[..., :SHAPES], head.expression_dirs[..., :EXPRESSIONS]], 2),
    }
    model = {name: value.detach().clone() for name, value in model.items()}
    loaded = LoadedPortrait(portrait.eval(), identity, config, {"method": "FateAvatar"}, 0)
    return Written(model, Session(loaded, torch.device("cpu")), params, camera)


@pytest.fixture
def save(written, fate_home, tmp_path, monkeypatch):
    """save(**changed) -> a .pth with changed tensors; None leaves one out."""
    monkeypatch.setenv("HEADBENCH_HOME", str(fate_home))

    def call(**changed):
        model = OrderedDict((name, value) for name, value in (written.model | changed).items() if value is not None)
        model._metadata = OrderedDict()  # as a state_dict has it
        path = tmp_path / "fateavatar_ep0009.pth"
        torch.save(
            {"epoch": 9, "global_step": 1, "model": model, "train_expression": {"weight": torch.zeros(3, 6)}}, path
        )
        return path

    return call


@pytest.mark.slow
def test_a_published_checkpoint_draws_what_its_avatar_draws(save, written, tmp_path) -> None:
    out = tmp_path / "imported"
    printed = bench_import(save(), "--out", out)
    assert printed.endswith(f"{out}: FateAvatar from {tmp_path / 'fateavatar_ep0009.pth'}\n")
    with open_checkpoint(out, "cpu") as session:
        identity = session.loaded.identity
        expected = written.session.loaded.identity.shape
        assert identity.static_offset is None and torch.allclose(identity.shape, expected, atol=1e-3)
        one = session.render(written.params, written.camera, kind="float32")
        other = written.session.render(written.params, written.camera, kind="float32")
        assert float(other.std()) > 0.05 and torch.allclose(one, other, atol=2e-3)
        assert session.render(identity.first, identity.camera.resized(48, 48)).float().std() > 10


def test_a_template_that_no_shape_gives_is_kept_as_an_offset(save, written, tmp_path) -> None:
    bump = torch.zeros(5023, 3)
    bump[100] = 0.01
    bench_import(save(**{"flame.v_template": written.model["flame.v_template"] + bump}), "--out", tmp_path / "out")
    with open_checkpoint(tmp_path / "out", "cpu") as session:
        base = session.loaded.portrait.head.base
        assert torch.allclose(base, written.model["flame.v_template"] + bump, atol=1e-6)


class Evil:
    def __reduce__(self):
        return print, ("never",)


@pytest.mark.tried("hostile files", "a damaged or foreign .pth given to `bench import`, or one that would run code")
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"_offset": None}, "a checkpoint of another method: it has no _offset"),
        ({"_scaling": torch.zeros(399, 3)}, r"found _scaling of shape \(399, 3\), expected \(400, 3\)"),
        ({"face_index": torch.full((400,), 10006)}, "a Gaussian on a face that there is not: the mesh has 10006"),
        ({"_opacity": torch.full((400, 1), torch.nan)}, "not finite .* which become table.opacity"),
        ({"flame.shapedirs": torch.ones(5023, 3, 18)}, "of another head model than flame2020"),
        ({"faces": torch.arange(3 * 10006).reshape(-1, 3) % 5023}, "head_template_mouth_close.obj"),
    ],
)
def test_a_foreign_checkpoint_is_refused_in_one_sentence(changed, words, save, tmp_path) -> None:
    path = save(**changed)
    with pytest.raises(BenchError) as error:
        bench_import(path, "--out", tmp_path / "out")
    import re

    assert re.search(words, str(error.value)) and str(path) in str(error.value)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_classes_that_are_not_allowed_are_named_and_nothing_runs(save, tmp_path, capsys) -> None:
    path = save()
    torch.save({"model": {"_offset": Evil()}}, path)
    with pytest.raises(BenchError, match=r"names __builtin__\.print, which is not among the data types"):
        bench_import(path, "--out", tmp_path / "out")
    path.write_bytes(pickle.dumps({"model": {}})[:-3])
    with pytest.raises(BenchError, match=r"fateavatar_ep0009\.pth: found a torch file"):
        bench_import(path, "--out", tmp_path / "out")
    torch.save({"weights": 1}, path)
    with pytest.raises(BenchError, match="found a torch file without a `model`"):
        bench_import(path, "--out", tmp_path / "out")
    assert "never" not in capsys.readouterr().out


@pytest.mark.parametrize("vertices", [5023, 5143])
def test_a_pair_of_flame_2023_keeps_its_static_offset(vertices, fate_home, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(fate_home))
    from headbench.export.ply import table_bytes

    generator = np.random.default_rng(4)
    count = 300
    content = table_bytes(
        np.zeros((count, 3)),
        generator.normal(0, 1, (count, 1, 3)),
        np.full(count, 2.0),
        np.full((count, 3), 0.5),
        generator.normal(0, 1, (count, 4)),
        np.arange(count) * 33,
    )
    (tmp_path / "point_cloud.ply").write_bytes(content)
    offset = generator.normal(0, 1e-3, (1, vertices, 3)).astype(np.float32)
    widths = {"expr": 100, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "translation": 3}
    rows = {name: np.zeros((2, width), np.float32) for name, width in widths.items()}
    np.savez(tmp_path / "flame_param.npz", shape=np.ones(300, np.float32), static_offset=offset, **rows)
    bench_import(tmp_path, "--out", tmp_path / "out")
    with open_checkpoint(tmp_path / "out", "cpu") as session:
        loaded = session.loaded
        head = load_head("flame2023", "teeth")
        shaped = head.template + head.shape_dirs.sum(-1)
        base = loaded.portrait.head.base
        assert torch.allclose(base[:5023], shaped[:5023] + torch.tensor(offset[0, :5023]), atol=1e-5)
        centre = loaded.portrait.head.vertices(loaded.identity.first)[0][head.faces[33]].mean(0)
        found = session.gaussians(loaded.identity.first)
        assert torch.allclose(found.means[0, 1], centre, atol=1e-5)


def test_a_gaussianavatars_of_the_same_repository_is_told_apart(written, fate_home, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HEADBENCH_HOME", str(fate_home))
    generator = torch.Generator().manual_seed(6)

    def rand(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    head, count = load_head("flame2020", "open"), 200
    kind = registry().load_method("GaussianAvatars")
    values = preset_values(registry().method("GaussianAvatars"), "official", "")
    config = kind.config_type.model_validate(values | {"head_topology": "open", "sh_every": 0})
    portrait = kind.create(head, written.session.loaded.identity, None, config)
    columns = {
        "position": rand(count, 3),
        "dc": rand(count, 1, 3),
        "rest": rand(count, 15, 3) * 0.2,
        "scaling": rand(count, 3) * 0.2,
        "rotation": rand(count, 4),
        "opacity": rand(count) + 2,
        "face_index": torch.randint(len(head.faces), (count,), generator=generator),
    }
    portrait.resize_for({"table.position": torch.Size([count])})
    with torch.no_grad():
        for name, value in columns.items():
            portrait.table[name].copy_(value)
    names = {"position": "_xyz", "dc": "_features_dc", "rest": "_features_rest", "face_index": "binding"}
    model = {names.get(name, f"_{name}"): value for name, value in columns.items()}
    model["_opacity"] = model["_opacity"][:, None]
    model["binding_counter"] = torch.ones(len(head.faces), dtype=torch.int32)
    model |= {name: value for name, value in written.model.items() if name.startswith("flame.")}
    path = tmp_path / "gaussianavatars_ep0009.pth"
    torch.save({"epoch": 9, "global_step": 1, "model": model}, path)
    printed = bench_import(path, "--out", tmp_path / "out")
    assert printed.endswith(f"{tmp_path / 'out'}: GaussianAvatars from {path}\n")
    with open_checkpoint(tmp_path / "out", "cpu") as session, torch.no_grad():
        assert session.loaded.config.sh_degree == 3
        found, expected = session.gaussians(written.params), portrait.eval().gaussians(written.params)
        for name in ("means", "quats", "scales", "opacities", "colours"):
            assert torch.allclose(getattr(found, name), getattr(expected, name), atol=1e-4), name
        assert found.sh_degree == 3
    model["binding"] = model["binding"] + 9976
    torch.save({"model": model}, path)
    with pytest.raises(BenchError, match="a Gaussian on a face that there is not: the mesh has 9976"):
        bench_import(path, "--out", tmp_path / "again", "--method", "gaussianavatars")
