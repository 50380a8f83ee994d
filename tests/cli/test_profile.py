"""`bench profile` measures real steps of real methods and says what it measured."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from discs import drawn_as_discs

from headbench.datasets.synthetic import write_synthetic
from headbench.harness.avatar import Avatar
from headbench.harness.cli.profile import profile
from headbench.harness.errors import BenchError
from headbench.harness.plugins import registry

PARTS = {"data", "drive", "raster", "losses", "backward", "optimizer", "edits", "total"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("profiled")
    with drawn_as_discs():
        write_synthetic(place, "insta", 1, 6, 32, 0, lambda line: None, workers=1, orbit=1)
    return place


@pytest.mark.slow
def test_every_trained_method_is_measured_part_by_part(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "budget.json"
    known = registry()
    trained = [name for name in known.methods() if issubclass(known.load_method(name), Avatar)]
    options = ["--preset", "tiny", "--warmup", "1", "--steps", "2", "--device", "cpu", "--json", str(target)]
    done = CliRunner().invoke(profile, ["--data-root", str(root), *options], catch_exceptions=False)
    assert done.exit_code == 0
    rows = json.loads(target.read_text())
    assert [row["method"] for row in rows] == trained, "the baseline has no steps"
    for row, line in zip(rows, done.output.splitlines(), strict=True):
        assert set(row["parts"]) == PARTS
        assert all(0 <= value <= row["parts"]["total"] for value in row["parts"].values())
        assert row["rate"] > 0 and row["gaussians"] > 50 and not row["recorded"]
        assert line.startswith(f"{row['method']} (tiny, plain): {row['rate']:.1f} it/s, {row['rate']:,.1f} images/s")
        assert f" {row['gaussians']:,} Gaussians" in line


def test_options_of_a_method_are_set_and_an_unknown_subject_is_named(root: Path) -> None:
    options = ["--methods", "FateAvatar", "--preset", "demo", "--warmup", "1", "--steps", "2", "--device", "cpu"]
    changes = ("num_points=400", "cover_faces=none", "train.resolution=32", "batch=4")
    small = [word for change in changes for word in ("--set", f"fateavatar.{change}")]
    done = CliRunner().invoke(profile, ["--data-root", str(root), *options, *small], catch_exceptions=False)
    assert "400 Gaussians" in done.output
    # Five training frames: a batch of four and one of one.
    rate, images = (float(word.replace(",", "")) for word in re.findall(r"([\d.,]+) (?:it|images)/s", done.output))
    assert images == pytest.approx(2.5 * rate, abs=0.2)
    with pytest.raises(BenchError, match=r"synth01.*synth00"):
        CliRunner().invoke(
            profile, ["--data-root", str(root), "--subject", "synth01", *options], catch_exceptions=False
        )
