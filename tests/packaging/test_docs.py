"""What the documentation names exists, and its example runs."""

from __future__ import annotations

import configparser
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from isolation import plugged
from PIL import Image
from safetensors.torch import load_file

from headbench.harness.cli.verbs import COMMANDS
from headbench.harness.options import Execution
from headbench.harness.plugins import Registry, Source, hookspecs
from headbench.harness.plugins.checks import preset_values
from headbench.harness.train import train_stage
from headbench.harness.train.checkpoint import restore_portrait
from headbench.harness.types import Camera, Frame, HeadParams, Pixels, Subject
from headbench.metrics import GroundTruth, load_protocol, protocol_names, score_frames
from headbench.metrics.protocol import Protocol
from headbench.testing import check_method

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
ROOMS = (
    "harness",
    "methods",
    "datasets",
    "metrics",
    "reports",
    "testing",
    "export",
    "viewer",
    "configs",
    "tests",
    "docs",
)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code(page: str) -> list[str]:
    """Everything in a page that is set as code: blocks and spans."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", page, re.M | re.S)
    return blocks + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.M | re.S))


def example(package: str = "") -> dict[str, str]:
    """File name -> contents of an example in docs/plugins.md.

    Args:
        package: one that is added to a distribution; empty for the whole distribution.
    """
    found = re.findall(
        r"^`([\w./]+\.(?:py|yaml|toml))`((?:(?!\n\n).)*)\n\n```\w+\n(.*?)^```", text("docs/plugins.md"), re.M | re.S
    )
    beads = not package
    return {n: c for n, _, c in found if n.startswith(f"{package or 'headbench_beads'}/") or (beads and "/" not in n)}


def test_every_hook_is_documented_with_its_signature() -> None:
    page = text("docs/plugins.md")
    hooks = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "headbench_spec")}
    assert hooks, "no hook was found"
    for name, hook in hooks.items():
        signature = f"{name}({', '.join(inspect.signature(hook).parameters)})"
        assert f"## {signature}\n" in page, f"docs/plugins.md lacks the heading {signature}"
    headings = re.findall(r"^## (register_\w+)\(", page, re.M)
    assert sorted(headings) == sorted(hooks), "docs/plugins.md documents hooks that do not exist"


def test_every_path_in_the_documentation_exists() -> None:
    named: dict[str, str] = {}
    for page in PAGES:
        for span in re.findall(r"`([\w./@-]+)`", page.read_text(encoding="utf-8")):
            if span.split("/")[0] in ROOMS and "/" in span:
                named[span] = page.name
    assert len(named) > 30
    assert [f"{span} in {page}" for span, page in named.items() if not (ROOT / span).exists()] == []


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_verb_in_the_documentation_is_a_command() -> None:
    used = set()
    for page in PAGES:
        for piece in code(page.read_text(encoding="utf-8")):
            used |= {(verb, page.name) for verb in re.findall(r"(?:^|[\s:(/])bench ([a-z]+)", piece, re.M)}
    assert len(used) > 5
    assert {(verb, page) for verb, page in used if verb not in COMMANDS} == set()


def test_the_rooms_of_the_architecture_page_are_the_folders() -> None:
    table = text("docs/architecture.md").split("## Rooms")[1].split("## ")[0]
    named = {span for row in re.findall(r"^\| (`.*?) \|", table, re.M) for span in re.findall(r"`([\w/.]+)`", row)}
    rooms = {f"harness/{path.name}" for path in (ROOT / "harness").iterdir() if (path / "__init__.py").is_file()}
    rooms |= {room for room in ROOMS if (ROOT / room / "__init__.py").is_file()} - {"harness"}
    assert rooms <= named, f"docs/architecture.md lacks {sorted(rooms - named)}"


def test_every_type_that_crosses_borders_keeps_its_documented_joint_order_and_constants() -> None:
    page = text("docs/conventions.md")
    for name in ("root", "neck", "jaw", "eye_left", "eye_right", "translation", "expression", "eyelids", "similarity"):
        assert name in HeadParams.__dataclass_fields__
        assert name in page


def test_every_protocol_and_every_field_is_explained() -> None:
    page = text("docs/protocols.md")
    for name in protocol_names():
        assert f"## {name}\n" in page, f"docs/protocols.md lacks {name}"
    fields = page.split("## Fields")[1].split("\n## ")[0]
    for field in Protocol.model_fields:
        assert re.search(rf"`{field}[`.]", fields), f"docs/protocols.md lacks field {field}"


@pytest.mark.parametrize(
    "name",
    [
        *("headbench@1", "fateavatar-8bit@1", "fateavatar-tracked-8bit@1", "fateavatar@1", "fateavatar-tracked@1"),
        *("gaussianavatars@1", "gaussianavatars-train@1", "splattingavatar@1", "imavatar@1"),
    ],
)
def test_what_the_page_says_of_a_protocol_is_in_its_file(name: str) -> None:
    protocol = load_protocol(name)
    section = text("docs/protocols.md").split(f"## {name}\n")[1].split("\n## ")[0]
    ssim = protocol.ssim
    assert f"| SSIM | {ssim.window}, {ssim.sigma}, {ssim.padding}, {ssim.channels} |" in section
    assert f"| PSNR | {protocol.psnr.reduction} |" in section
    (lpips,) = re.findall(r"^\| LPIPS \| ([^|]*) \|", section, re.M)
    assert set(re.findall(r"alex|vgg", lpips)) == {rule.net for rule in protocol.lpips}
    assert protocol.quantise in section and str(protocol.resolution) in section and protocol.background in section
    rule = protocol.test_time_tracking
    assert ("| test_time_tracking | null |" in section) == (rule is None)
    assert rule is None or (f"| steps | {rule.steps} |" in section and f"| optimizer | {rule.optimizer} |" in section)
    assert rule is None or (f"| rates | {rule.rates['jaw']:g} for " in section and f"| loss | {rule.loss} |" in section)


@pytest.fixture(scope="module")
def beads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The example of docs/plugins.md, written to files and registered alone."""
    folder = tmp_path_factory.mktemp("beads")
    for name, contents in example().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(contents, encoding="utf-8")
    point = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    (module,) = point["headbench"].values()
    with plugged(folder):
        yield Registry([Source("beads", lambda: __import__(module))])


def test_the_example_is_a_whole_distribution() -> None:
    files = example()
    assert set(files) == {
        "headbench_beads/__init__.py",
        "headbench_beads/avatar.py",
        "headbench_beads/demo.yaml",
        "pyproject.toml",
    }
    lines = [line for line in files["headbench_beads/avatar.py"].splitlines() if line.strip()]
    assert len(lines) < 75
    assert yaml.safe_load(files["headbench_beads/demo.yaml"])["train"]["steps"] > 0


def test_the_example_registers_and_passes_the_checks(beads: Registry) -> None:
    assert beads.check() == []
    assert list(beads.methods()) == ["Beads"]
    check_method(beads.method("Beads"), only=("create", "drive", "edit", "gradient", "load", "heads"))


@pytest.mark.usefixtures("flame_home")
def test_the_example_trains_prunes_and_comes_back_from_its_checkpoint(beads: Registry, tmp_path: Path) -> None:
    method = beads.load_method("beads")
    values: dict[str, Any] = {**preset_values(beads.method("beads"), "demo"), "prune_below": 0.45}
    config = method.config_type.model_validate({**values, "train": {"steps": 24, "background": "white"}})
    options = Execution(device="cpu", checkpoint_every=50, preview_every=1000, log_every=8)
    about = {"method": "Beads", "preset": "demo", "variant": "", "dataset": "none", "subject": "made"}
    summary = train_stage(tmp_path / "train", about, method, config, _red_subject(), options)
    faces = method.create(*_made(method, config)).count()
    assert 0 < summary.gaussians < faces, "beads that turned transparent were pruned"
    checkpoint = tmp_path / "train" / f"checkpoint-{summary.steps}"
    again = method.create(*_made(method, config))
    restore_portrait(again, load_file(checkpoint / "model.safetensors"), checkpoint)
    assert again.count() == summary.gaussians


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The metrics of docs/plugins.md, written to files and registered beside ours."""
    folder = tmp_path_factory.mktemp("edges")
    files = example("headbench_edges")
    assert set(files) == {"headbench_edges/__init__.py", "headbench_edges/metric.py"}
    for name, contents in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(contents, encoding="utf-8")
    with plugged(folder):
        ours = Source("ours", lambda: importlib.import_module("headbench.metrics.plugin"))
        yield Registry([ours, Source("edges", lambda: importlib.import_module("headbench_edges"))])


def test_the_metrics_of_the_example_are_asked_for_by_a_protocol_and_give_what_they_say(
    edges: Registry, tmp_path: Path
) -> None:
    assert edges.check() == []
    section = text("docs/plugins.md").split("## register_metrics(register)")[1]
    (asked,) = re.findall(r"^```yaml\n(metrics:.*?)^```", section, re.M | re.S)
    values = load_protocol("headbench@1").model_dump(mode="json", exclude={"psnr", "ssim", "lpips", "metrics"})
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(values | {"name": "own"} | yaml.safe_load(asked)), encoding="utf-8")
    protocol = load_protocol(str(path), edges)

    subject = _red_subject()
    renders = {}
    for number, frame in enumerate(subject.train):
        shown = torch.full((24, 24, 3), 255 if number == 2 else 0, dtype=torch.uint8)
        renders[frame.id] = tmp_path / f"{frame.id}.png"
        Image.fromarray(shown.numpy()).save(renders[frame.id])
    frames = {frame.id: frame for frame in subject.train}
    scores = score_frames(renders, GroundTruth(lambda each: frames[each].pixels()), protocol, known=edges)

    assert scores.metrics == ("edges", "edges/inner", "flicker") and scores.absent == {}
    first, second, third, last = scores.frames
    assert first.values["edges/inner"] > first.values["edges"] > 0, "more of the inner pixels lie on the disc's edge"
    assert third.values["edges"] == pytest.approx(first.values["edges"]), "one colour has no edges"
    assert "flicker" not in first.values and second.values["flicker"] == 0.0
    assert third.values["flicker"] == last.values["flicker"] == 1.0, "all pixels changed by 1, and the truth did not"
    assert scores.mean("flicker") == pytest.approx(2 / 3)


def _made(method: Any, config: Any) -> tuple[Any, Any, None, Any]:
    from headbench.harness.head import load_head
    from headbench.harness.train import identity_of

    subject = _red_subject()
    return load_head(subject.head, config.topology()), identity_of(subject), None, config


def _red_subject(size: int = 24, frames: int = 4) -> Subject:
    """Frames in which the head is seen before nothing: a white image with a red disc."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    inside = ((x - size / 2) ** 2 + (y - size / 2) ** 2) < (size / 4) ** 2
    colour = torch.zeros(3, size, size, dtype=torch.uint8)
    colour[0] = 200
    alpha = (inside * 255).to(torch.uint8)[None]
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))[None].clone()
    w2c[:, 2, 3] = 0.7
    camera = Camera(w2c, torch.tensor([[[45.0, 0, size / 2], [0, 45, size / 2], [0, 0, 1]]]), size, size)

    def frame(number: int) -> Frame:
        zeros = torch.zeros(1, 3)
        expression = torch.linspace(0, number / frames, 6)[None]
        params = HeadParams("flame2020", expression, zeros, zeros, zeros, zeros, zeros, zeros)
        return Frame(f"{number:05d}", camera, params, lambda: Pixels(colour, alpha), timestep=number)

    made = tuple(frame(number) for number in range(frames + 1))
    return Subject("made", "none", "flame2020", torch.zeros(1, 4), made[:-1], made[-1:])


def test_the_changelog_and_the_citation_are_of_this_version() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    version = parser["metadata"]["version"]
    assert re.search(rf"^## \[{re.escape(version)}\]", text("CHANGELOG.md"), re.M)
    citation = yaml.safe_load(text("CITATION.cff"))
    assert (str(citation["version"]), citation["license"]) == (version, parser["metadata"]["license"])
