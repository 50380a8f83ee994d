"""`bench export`: what it prints, and one sentence for each thing that cannot be done, with nothing half-written."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from headbench.harness.cli.export import export
from headbench.harness.errors import BenchError


@pytest.fixture
def bench_export(checkpoint_of, tmp_path):
    """bench_export(*arguments) -> what was printed; errors are raised."""

    def call(*arguments: object, method: str = "FateAvatar") -> str:
        line = [str(checkpoint_of(method)), "--device", "cpu", *map(str, arguments)]
        return CliRunner().invoke(export, line, catch_exceptions=False, standalone_mode=False).output

    return call


def test_what_was_written_is_printed(bench_export, tmp_path) -> None:
    out = tmp_path / "head.glb"
    assert bench_export("--format", "glb", "--out", out) == f"{out}: glb, 1 pose\n"
    assert out.read_bytes()[:4] == b"glTF"


@pytest.mark.tried("wrong command lines", "a format, pose or place of `bench export` that there is not")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "plly", "--out", "a.ply"), r"Unknown format 'plly'. Did you mean 'ply'"),
        (("--format", "ply", "--out", "a.glb"), r"expected a name that ends in \.ply, found \.glb"),
        (("--format", "ply", "--out", "a"), r"expected a name that ends in \.ply, found no ending"),
        (("--format", "ply", "--out", "."), "expected the name of a file that ends in .ply, found a folder"),
        (("--format", "ply", "--out", "no/where/a.ply", "--pose", "00001"), "lies in no run"),
        (("--format", "ply", "--out", "a.ply", "--driver", ".", "--dataset", "inst"), "Unknown dataset 'inst'"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(arguments, words, bench_export, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match=words):
        bench_export(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_pose_that_does_not_exist_is_refused_with_close_names(opened, made_subject, tmp_path) -> None:
    from dataclasses import replace

    from headbench.export import format_of
    from headbench.export.source import Source
    from headbench.export.write import export as write

    session = opened("FateAvatar")
    for pose, words in (("tests", "Did you mean 'test'"), ("00009", "its 6 frames are 00000 to 00005")):
        with pytest.raises(BenchError, match=words):
            write(Source(session), format_of("ply"), pose, tmp_path / "a.ply", lambda: made_subject)
    other = replace(made_subject, head="flame2020")
    with pytest.raises(BenchError, match="tracked with head model flame2020, the checkpoint is of openhead"):
        write(Source(session), format_of("ply"), "test", tmp_path / "a.ply", lambda: other)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    with pytest.raises(BenchError, match="found one that holds files"):
        write(Source(session), format_of("ply"), "test", full, lambda: made_subject)
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_what_the_help_of_an_error_names_is_done(bench_export, opened, made_subject, tmp_path) -> None:
    from headbench.export import format_of
    from headbench.export.source import Source
    from headbench.export.write import export as write

    def helped(*arguments: object, **method: str) -> str:
        with pytest.raises(BenchError) as caught:
            bench_export(*arguments, **method)
        return caught.value.help

    assert helped("--format", "ply", "--out", tmp_path / "head") == f"--out {tmp_path / 'head.ply'}"
    bench_export("--format", "ply", "--out", tmp_path / "head.ply")
    with pytest.raises(BenchError) as caught:
        write(Source(opened("FateAvatar")), format_of("ply"), "9", tmp_path / "a.ply", lambda: made_subject)
    assert caught.value.help == "--pose neutral, or the id of a frame"
    bench_export("--format", "ply", "--pose", "neutral", "--out", tmp_path / "neutral.ply")
    pictures = {"method": "nearest-frame"}
    assert helped("--format", "ply", "--out", tmp_path / "a.ply", **pictures) == "--format frames or --format video"
    bench_export("--format", "frames", "--out", tmp_path / "a.png", **pictures)
    bench_export("--format", "video", "--out", tmp_path / "a.mp4", **pictures)
    networks = {"method": "MonoGaussianAvatar"}
    said = helped("--format", "gaussianavatars", "--out", tmp_path / "pair", **networks)
    assert said == "--format ply, splat or glb for one pose or a sequence"
    bench_export("--format", "splat", "--out", tmp_path / "a.splat", **networks)
    made = {"head.ply", "neutral.ply", "a.png", "a.mp4", "a.splat"}
    assert {path.name for path in tmp_path.iterdir()} == made


@pytest.mark.tried("faults in runs", "an export that ends in an error after its first files", lost="the export")
def test_a_sequence_that_breaks_off_leaves_nothing(opened, made_subject, tmp_path, monkeypatch) -> None:
    from headbench.export import format_of
    from headbench.export import ply as format_ply
    from headbench.export.source import Source
    from headbench.export.write import export as write

    session, seen = opened("FateAvatar"), []
    encode = format_ply.encoded

    def breaks(splats):
        seen.append(1)
        if len(seen) == 3:
            raise BenchError("the third breaks")
        return encode(splats)

    monkeypatch.setattr(format_ply, "encoded", breaks)
    with pytest.raises(BenchError, match="the third breaks"):
        write(Source(session), format_of("ply"), "train", tmp_path / "clip", lambda: made_subject)
    assert list(tmp_path.iterdir()) == []
