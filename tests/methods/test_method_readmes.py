"""A method's README names its publication, licence and presets, and its tables say what the presets say."""

import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
import yaml

from headbench.harness.plugins.specs import MethodSpec
from headbench.methods.plugin import register_methods

WORDS = {"none": (None, "none", False, ()), "never": (0, None), "stored size": (None,)}
"""What a cell may say in place of a value."""


def trained() -> list[MethodSpec]:
    found: list[MethodSpec] = []
    register_methods(found.append)
    return [spec for spec in found if not spec.baseline]


METHODS = [spec.name for spec in trained()]


def readme(name: str) -> str:
    return resources.files(f"headbench.methods.{name.lower()}").joinpath("README.md").read_text(encoding="utf-8")


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Dotted option -> value; what is refined stays one option."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{above}{name}"
        found |= flat(value, f"{path}.") if isinstance(value, dict) and path != "train.finetune" else {path: value}
    return found


def means(cell: str, value: Any) -> bool:
    """Whether the text of a table's cell is this value."""
    text = cell.replace("`", "").strip()
    if text in WORDS and value in WORDS[text]:
        return True
    parts = [yaml.safe_load(re.sub(r"(?<=\d),(?=\d{3})", "", part)) for part in re.split(r", ", text.strip("()"))]
    parts = [float(part) if isinstance(part, str) and re.fullmatch(r"\d[\d.]*e-\d+", part) else part for part in parts]
    return list(value) == parts if isinstance(value, tuple) else [value] == parts


def rows(text: str) -> Iterator[tuple[list[str], dict[str, str]]]:
    """(options, preset -> cell) of each row of the table of options."""
    header: list[str] = []
    for line in text.splitlines():
        if line.startswith("|---"):
            continue
        cells = [cell.strip() for cell in line.split(" | ")] if line.startswith("| ") else []
        if not cells:
            header = []
        elif cells[0] == "| option":
            header = [cell.strip("`") for cell in cells]
        elif header:
            yield re.findall(r"`([\w.]+)`", cells[0]), dict(zip(header[1:], cells[1:], strict=False))


@pytest.mark.parametrize("name", METHODS)
def test_it_names_publication_licence_and_every_preset(name: str) -> None:
    text, spec = readme(name), next(spec for spec in trained() if spec.name == name)
    number = re.search(r"arXiv:([\d.]+\d)", spec.citation)
    assert number is not None
    assert f"arXiv {number[1]}" in " ".join(text.split())
    entry = re.search(r"```bibtex\n@\w+\{\w+,\n.*?\n\}\n```", text, re.DOTALL)
    assert entry is not None and "title" in entry[0] and "year" in entry[0]
    (authors,) = re.findall(r"author = \{(.*)\}", entry[0])
    assert all(", " in author for author in authors.split(" and ")), "each with a first name"
    assert "**Licence.**" in text and "non-commercial" in " ".join(text.split())
    assert all(f"`{preset}`" in text for preset in spec.presets)


@pytest.mark.parametrize("name", METHODS)
def test_every_option_in_which_presets_differ_is_explained(preset: Any, name: str) -> None:
    explained = {option for options, _ in rows(readme(name)) for option in options}
    sections = {option.split(".")[0] for option in explained}
    official = flat(preset(name, "official").model_dump())
    for which in ("fateavatar", "fixed"):
        other = flat(preset(name, which).model_dump())
        changed = {option for option in official if official[option] != other.get(option)}
        assert changed - explained <= {"train.steps", "train.epochs"}, which
    assert "train" in sections


@pytest.mark.parametrize("name", METHODS)
def test_its_tables_say_what_the_presets_say(preset: Any, name: str) -> None:
    checked = 0
    for options, cells in rows(readme(name)):
        for column, cell in cells.items():
            if column not in ("official", "fateavatar", "fixed"):
                continue
            same = cell in ("same", "as official")
            cell = cells["official"] if same else cell
            parts = cell.split("; " if ";" in cell else ", ") if len(options) > 1 else [cell]
            if len(parts) != len(options):
                continue  # in words
            values = flat(preset(name, column).model_dump())
            for option, part in zip(options, parts, strict=True):
                if option in values and option != "train.finetune":
                    assert means(part, values[option]), (option, column, part, values[option])
                    checked += 1
    assert checked >= 20


@pytest.mark.parametrize("name", METHODS)
def test_its_recipes_are_valid(preset: Any, name: str) -> None:
    text = readme(name)
    for recipe in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        values = yaml.safe_load(recipe)
        values["train"] = {**values["train"], "background": "white"}
        assert preset(name, "fateavatar", **values).train.finetune.rates


def test_fateavatar_s_other_methods_point_to_its_recipe_for_tracked_data() -> None:
    assert "```yaml" in readme("FateAvatar")
    for name in set(METHODS) - {"FateAvatar"}:
        assert "../fateavatar/README.md" in readme(name), name


@pytest.mark.parametrize("name", METHODS)
def test_the_effect_of_the_repairs_is_given_in_decibels_with_the_setting_of_the_measurement(name: str) -> None:
    paragraphs = [" ".join(part.split()) for part in readme(name).split("\n\n")]
    found = [part for part in paragraphs if " dB" in part and "256²" in part and "120 frames" in part]
    assert found, "names frames, image size and decibels"
    assert any(budget in part for part in found for budget in ("`demo`", "`fixed`"))
