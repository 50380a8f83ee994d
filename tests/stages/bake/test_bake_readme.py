"""The README's tables say what the presets say, and every preset is a configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import headbench
from headbench.stages.bake import BakeConfig
from headbench.stages.plugin import STAGES

ROOT = Path(next(iter(headbench.__path__)))
TEXT = (ROOT / "stages/bake/README.md").read_text(encoding="utf-8")
SPEC = next(spec for spec in STAGES if spec.name == "bake")


def value(preset: str, option: str) -> Any:
    found: Any = BakeConfig.model_validate(SPEC.presets[preset]).model_dump()
    for part in option.split("."):
        found = found[part]
    return found


def rows() -> list[tuple[str, str, str]]:
    table = TEXT[TEXT.index("| option | `official` | `fixed` | why |") :].split("\n\n")[0].splitlines()[2:]
    return [tuple(cell.strip(" `|") for cell in line.split(" | ")[:3]) for line in table]  # type: ignore[misc]


@pytest.mark.parametrize(("option", "official", "fixed"), rows())
def test_a_row_of_quirks_says_what_the_presets_say(option: str, official: str, fixed: str) -> None:
    for preset, cell in (("official", official), ("fixed", fixed)):
        said = yaml.safe_load(cell.replace(",", ""))
        assert value(preset, option) == (None if said == "none" and value(preset, option) is None else said)


def test_every_option_that_the_presets_differ_in_has_a_row() -> None:
    own = {option.partition(".")[0] for option, *_ in rows()}
    fields = BakeConfig.model_fields
    assert {name for name in fields if value("official", name) != value("fixed", name)} <= own


@pytest.mark.parametrize("preset", SPEC.presets)
def test_every_preset_is_a_configuration_and_is_described(preset: str) -> None:
    config = BakeConfig.model_validate(SPEC.presets[preset])
    assert f"`{preset}`" in TEXT
    assert config.networks() == (frozenset() if preset.startswith("texture") else frozenset({"vgg16"}))


def test_numbers_of_parameters_are_those_of_the_networks() -> None:
    told = re.findall(r"\| `(unet|decode_only)` \|.*\| ([\d,]+) \|", TEXT)
    assert dict(told) == {"unet": "17,268,235", "decode_only": "4,713,195"}, "test_bake_golden.py counts them"
