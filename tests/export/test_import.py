"""`bench import` of what published codes write: the pair of GaussianAvatars, and FateAvatar's .pth."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from headbench.export import format_of
from headbench.export.source import Source
from headbench.export.write import export
from headbench.harness.cli.import_ import import_
from headbench.harness.errors import BenchError
from headbench.harness.session import open_checkpoint


def bench_import(*arguments: object) -> str:
    """What `bench import` prints; errors are raised."""
    line = [str(argument) for argument in arguments]
    return CliRunner().invoke(import_, line, catch_exceptions=False, standalone_mode=False).output


@pytest.fixture(scope="module")
def pair(opened, made_subject, tmp_path_factory):
    """Folder of an exported pair on the open head. Read only."""
    out = tmp_path_factory.mktemp("pairs") / "pair"
    session = opened("GaussianAvatars", sh_every=0, sh_degree=1)
    export(Source(session), format_of("gaussianavatars"), "train", out, lambda: made_subject)
    return out


def test_an_exported_pair_comes_back_and_draws_the_same(pair, opened, made_subject, tmp_path) -> None:
    out = tmp_path / "imported"
    printed = bench_import(pair, "--out", out)
    assert "note: poses of the 5 timesteps in flame_param.npz were left out" in printed
    assert printed.endswith(f"{out}: GaussianAvatars from {pair / 'point_cloud.ply'}\n")
    original = opened("GaussianAvatars", sh_every=0, sh_degree=1)
    with open_checkpoint(out, "cpu") as session:
        assert session.loaded.config.sh_degree == 1 and session.loaded.identity.head == "openhead"
        for frame in made_subject.train[:2]:
            one = session.render(frame.params, frame.camera, kind="float32")
            other = original.render(frame.params, frame.camera, kind="float32")
            assert torch.allclose(one, other, atol=1e-4)
        first = session.loaded.identity
        assert session.render(first.first, first.camera.resized(40, 28)).float().std() > 10


def test_harmonics_beyond_the_option_are_said_to_be_left_out(pair, tmp_path) -> None:
    printed = bench_import(pair, "--out", tmp_path / "out", "--set", "gaussianavatars.sh_degree=0")
    assert "note: spherical harmonics of degree 1 to 1 were left out" in printed


@pytest.fixture
def damaged(pair, tmp_path):
    """damaged(change) -> folder of a copy of the pair whose PLY's bytes `change` has changed."""

    def make(change, npz=None):
        folder = tmp_path / "copy"
        shutil.copytree(pair, folder)
        path = folder / "point_cloud.ply"
        path.write_bytes(change(path.read_bytes()))
        if npz is not None:
            arrays = dict(np.load(folder / "flame_param.npz"))
            np.savez(folder / "flame_param.npz", **npz(arrays))
        return folder

    return make


def _same(content: bytes) -> bytes:
    return content


def _without(name: bytes):
    return lambda content: content.replace(b"property float " + name + b"\n", b"property float other\n")


def _bound_to(face: float):
    return lambda content: content[:-4] + np.float32(face).tobytes()


@pytest.mark.tried("hostile files", "a damaged or foreign point_cloud.ply or flame_param.npz given to `bench import`")
@pytest.mark.parametrize(
    ("change", "npz", "words"),
    [
        (lambda content: content[:-100], None, r"promises [\d,]+ bytes of vertices and has"),
        (lambda content: b"solid head", None, "found no PLY file"),
        (lambda content: content.replace(b"end_header", b"end_of_head"), None, "whose header does not end"),
        (lambda content: content.replace(b"binary_little_endian", b"ascii", 1), None, "of format 'ascii', expected"),
        (lambda content: content.replace(b"float x", b"list uchar int x"), None, "which is not read"),
        (lambda content: content.replace(b"vertex ", b"vertex 9999999"), None, "promises"),
        (_without(b"opacity"), None, "without opacity: expected Gaussians"),
        (_without(b"binding_0"), None, r"Gaussians that no triangle carries \(no binding_0\)"),
        (_without(b"f_rest_3"), None, "found 44 coefficients f_rest"),
        (_bound_to(1e7), None, r"bound to face 1e\+07, the teeth topology of openhead has"),
        (_bound_to(float("nan")), None, "bound to face nan"),
        (_same, lambda a: {k: v for k, v in a.items() if k != "expr"}, "found no array expr"),
        (_same, lambda a: a | {"jaw_pose": a["jaw_pose"][:3]}, r"found jaw_pose of shape \(3, 3\), expected \(5, 3\)"),
        (_same, lambda a: a | {"shape": a["shape"] * np.float32("nan")}, "of 'shape' that are not finite"),
        (
            _same,
            lambda a: a | {"static_offset": a["static_offset"][:, :99] + 1},
            "npz: .*static offset has 99 vertices",
        ),
    ],
)
def test_a_damaged_pair_is_refused_in_one_sentence(change, npz, words, damaged, tmp_path) -> None:
    folder = damaged(change, npz)
    with pytest.raises(BenchError, match=words):
        bench_import(folder, "--out", tmp_path / "imported")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


@pytest.mark.tried("wrong command lines", "`bench import` of an unknown file, without what it needs, or onto files")
def test_what_cannot_be_imported_is_said(pair, tmp_path) -> None:
    other = tmp_path / "head.obj"
    other.write_text("v 0 0 0")
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    (lonely / "point_cloud.ply").write_bytes((pair / "point_cloud.ply").read_bytes())
    cases = {
        (other, "--out", tmp_path / "out"): "Unknown ending of published checkpoints '.obj'",
        (lonely, "--out", tmp_path / "out"): "found no flame_param.npz beside it",
        (tmp_path, "--out", tmp_path / "out"): "expected one file that ends in .*, found none",
        (pair, "--out", lonely): "found one that holds files",
        (pair, "--out", tmp_path / "out", "--head", "flame2021"): "Unknown head model 'flame2021'",
        (pair, "--out", tmp_path / "out", "--method", "flashavatar"): "FlashAvatar has no importer",
    }
    for text, words in (
        ('{"head": "../../etc"}', "Unknown head model '../../etc'"),
        ("[", "headbench.json: found no JSON"),
    ):
        noted = shutil.copytree(pair, tmp_path / "noted")
        (noted / "headbench.json").write_text(text)
        with pytest.raises(BenchError, match=words):
            bench_import(noted, "--out", tmp_path / "out")
        shutil.rmtree(noted)
    for line, words in cases.items():
        with pytest.raises(BenchError, match=words):
            bench_import(*line)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head.obj", "lonely"]
    bench_import(lonely, "--parameters", pair / "flame_param.npz", "--head", "openhead", "--out", tmp_path / "out")
    assert (tmp_path / "out/checkpoint-1").is_dir()
    assert len(list(lonely.iterdir())) == 1


def test_a_checkpoint_of_another_head_model_than_its_subject_is_refused(pair, opened, made_subject, tmp_path) -> None:
    from dataclasses import replace

    from headbench.harness.options import Execution
    from headbench.harness.stage import StageWork
    from headbench.harness.train.import_stage import ImportConfig, ImportStage

    portrait = opened("GaussianAvatars", sh_every=0, sh_degree=1).loaded.portrait
    frame = made_subject.train[0]
    other = replace(frame, params=replace(frame.params, head="flame2020"))
    subject = replace(made_subject, head="flame2020", train=(other,), test=())
    inputs = {"file": pair / "point_cloud.ply", "parameters": pair / "flame_param.npz"}
    work = StageWork(
        {"method": "GaussianAvatars"},
        type(portrait),
        None,
        subject,
        ImportConfig(**inputs, head="openhead"),
        Execution(device="cpu"),
        tmp_path,
        inputs,
        print,
        print,
        print,
        portrait.config,
    )
    with pytest.raises(BenchError, match="is of head model openhead, made is tracked with flame2020"):
        ImportStage().run(work)
