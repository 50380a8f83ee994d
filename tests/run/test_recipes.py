"""Requests that reproduce published tables: every name and option in them is there, and each plans its cells."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from headbench.datasets.synthetic import samples
from headbench.harness.plugins import Registry
from headbench.harness.plugins import registry as find_registry
from headbench.harness.plugins.checks import preset_data
from headbench.harness.run.plan import make_plan
from headbench.harness.run.request import read_request
from headbench.metrics import load_protocol, read_scores

FOLDER = Path(__file__).parents[2] / "configs" / "runs"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "demo")
FEW = {"imavatar.test": "imavatar.test=2", "insta.test": "insta.test=2"}
"""Settings that hold out more frames than the samples have -> what is asked for in their place."""


@pytest.fixture(scope="module")
def known() -> Registry:
    find_registry.cache_clear()
    return find_registry()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Data root with one subject of a layout; rgba is IMAvatar's as SplattingAvatar has it: one video of RGBA."""

    @functools.cache
    def made(name: str) -> Path:
        root = tmp_path_factory.mktemp(name)
        getattr(samples, "imavatar" if name == "rgba" else name)(root)
        if name == "rgba":
            one_video(next((root / "imavatar").iterdir()))
        return root

    return made


def one_video(subject: Path) -> None:
    """Keep the longest video of a subject, its images with the matte as their alpha."""
    *others, kept = sorted(subject.rglob("flame_params.json"), key=lambda path: path.stat().st_size)
    for other in others:
        shutil.rmtree(other.parent)
    for image in (kept.parent / "image").iterdir():
        colour, matte = np.array(Image.open(image)), Image.open(kept.parent / "mask" / image.name).convert("L")
        Image.fromarray(np.dstack([colour[..., :3], np.array(matte)])).save(image)


def plan(name: str, known: Registry, root: Path, out: Path, **changes: Any) -> Any:
    request = read_request(Path(name), {"data_root": root, "out": out, "device": "cpu", **changes})
    return make_plan(request, known, {label: load_protocol(label).hash for label in request.protocols()})


def recipe(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return found


@pytest.mark.parametrize(
    "name", [name if name == "fate-insta" else pytest.param(name, marks=pytest.mark.slow) for name in RECIPES]
)
def test_a_recipe_plans_its_cells_and_without_its_options_says_what_differs(
    name: str, known: Registry, data: Callable[[str], Path], tmp_path: Path
) -> None:
    values = recipe(name)
    assert (
        values["out"] == f"runs/{name}" and f"bench run {name} --data-root D" in (FOLDER / f"{name}.yaml").read_text()
    )
    (layout,) = values["datasets"]
    root = data("rgba" if "imavatar.matte=image" in values["set"] else layout)
    fits = [FEW.get(text.partition("=")[0], text) for text in values["set"]]
    whole = plan(name, known, root, tmp_path / "a", set=fits)
    assert [cell.cell.method for cell in whole.cells] == values["methods"]
    # What a small machine lacks (FLAME, VGG) is skipped with a reason; nothing fails.
    assert {cell.record.state.value for cell in whole.cells} <= {"queued", "skipped"}, [c.record for c in whole.cells]
    original = [note for cell in whole.cells for note in cell.record.notes if "does not reproduce" in note]
    held_out = [text for text in values["set"] if text not in fits]
    assert all(f"--set {text}" in note for note in original for text in held_out) and bool(original) == bool(held_out)
    # The preset alone.
    bare = [text for text in fits if not text.startswith(f"{layout}.")]
    own = [text for text in values["set"] if text.startswith(f"{layout}.")]
    named = plan(name, known, data(layout), tmp_path / "b", set=bare)
    for cell in named.cells:
        (note,) = [note for note in cell.record.notes if "does not reproduce the original" in note]
        assert note.startswith(f"{cell.cell.method} ({cell.cell.preset}) on {layout} ")
        assert {*note.partition(": --set ")[2].split(" --set ")} == {*own}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_reads_renders_and_scores_with_a_method_that_trains_nothing(
    name: str, data: Callable[[str], Path], bench: Callable[..., Any], tmp_path: Path
) -> None:
    values = recipe(name)
    (layout,) = values["datasets"]
    own = [FEW.get(text.partition("=")[0], text) for text in values["set"] if text.startswith(f"{layout}.")]
    root = data("rgba" if "imavatar.matte=image" in own else layout)
    settings = [part for text in own for part in ("--set", text)]
    line = ("--methods", "nearest-frame", "--limit", 2, "--device", "cpu", "--no-report", "--out", "out", *settings)
    done = bench("run", name, "--data-root", root, *line)
    assert done.code == 0, done.out + done.err
    (cell,) = (tmp_path / "out").glob("cells/*/*/*/*")
    for protocol in values["protocol"]:
        scores = read_scores(cell / "scores" / f"{protocol}.jsonl")
        assert scores.frames and scores.mean("psnr") is not None, (protocol, scores.why("psnr"))


def test_a_table_says_that_a_run_reads_the_data_otherwise_than_its_preset_goes_with(
    bench: Callable[..., Any], faces: Path
) -> None:
    run = ("run", "--methods", "Average", "--preset", "read", "--datasets", "discs[anna]", "--data-root", faces)
    done = bench(*run, "--device", "cpu", "--protocol", "headbench@1", "--no-report", "--out", "out")
    assert done.code == 0, done.err
    said = "Average (read) on discs does not reproduce the original, which reads the data in its own way: --set "
    for style in ("markdown", "csv", "json", "terminal"):
        shown = " ".join(bench("report", "out", "--format", style).out.split())
        assert f"{said}discs.radius=3" in shown, (style, shown)
    assert "does not reproduce" not in bench(*run, "--set", "discs.radius=3", "--out", "whole", "--dry-run").out


def test_options_that_presets_name_are_there(known: Registry) -> None:
    found = 0
    for spec in known.methods().values():
        for preset in spec.presets:
            for dataset, options in preset_data(spec, preset).items():
                reader = known.load_dataset(dataset)
                assert {*options} <= {*reader.options()}, (spec.name, preset, dataset)
                found += 1
    assert found > 20


def test_the_page_has_a_row_per_recipe_with_its_protocols_and_options() -> None:
    page = (FOLDER.parents[1] / "docs" / "recipes.md").read_text()
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `")}
    assert sorted(rows) == RECIPES
    for name, row in rows.items():
        values = recipe(name)
        assert all(f"`{protocol}`" in row for protocol in values["protocol"])
        (layout,) = values["datasets"]
        own = [text.removeprefix(f"{layout}.") for text in values["set"] if text.startswith(f"{layout}.")]
        assert own and all(f"`{text}`" in row for text in own), name
