"""A method's options are its own: each is read by its code, and methods do not lean on each other."""

import ast
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import pytest

from headbench.harness.avatar import MethodConfig, Section
from headbench.harness.plugins import registry
from headbench.harness.plugins.checks import preset_values
from headbench.harness.run.config import apply_settings, parse_setting

METHODS = ("FateAvatar", "FlashAvatar", "GaussianAvatars", "MonoGaussianAvatar", "SplattingAvatar")


def sources(name: str) -> list[Traversable]:
    folder = resources.files(f"headbench.methods.{name.lower()}")
    return [path for path in folder.iterdir() if path.name.endswith(".py")]


def nodes(name: str) -> list[ast.AST]:
    return [node for path in sources(name) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


def options(config: Any) -> list[str]:
    """Names of all options of a configuration and of its sections, but those that every method has."""
    found = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        if name in MethodConfig.model_fields:
            continue
        found.append(name)
        for inner in value if isinstance(value, tuple) else (value,):
            found += options(inner) if isinstance(inner, Section) else []
    return found


@pytest.mark.parametrize("name", METHODS)
def test_every_option_is_read_by_the_method_s_code(preset: Any, name: str) -> None:
    config = preset(name, "official")
    read = {node.attr for node in nodes(name) if isinstance(node, ast.Attribute)}
    # Rates may be looked up by the name of their column.
    by_name = set(type(config.rates).model_fields) if hasattr(config, "rates") else set()
    assert set(options(config)) - read - by_name == set()
    assert len(options(config)) > 15


@pytest.mark.parametrize("name", METHODS)
def test_a_method_imports_nothing_of_another(name: str) -> None:
    imported = {node.module or "" for node in nodes(name) if isinstance(node, ast.ImportFrom) and node.level < 2}
    imported |= {a.name for node in nodes(name) if isinstance(node, ast.Import) for a in node.names}
    own = f"headbench.methods.{name.lower()}"
    shared = "headbench.methods.common"
    assert [m for m in imported if m.startswith("headbench.methods") and not m.startswith((own, shared))] == []
    assert not any(isinstance(node, ast.ImportFrom) and node.level > 1 for node in nodes(name))


@pytest.mark.parametrize("name", METHODS)
def test_the_images_of_a_step_have_a_short_name_for_the_command_line(name: str) -> None:
    kind, values = registry().load_method(name), preset_values(registry().method(name), "fateavatar")
    config = apply_settings(kind, values, [parse_setting(f"{name.lower()}.batch=8")])
    assert config.train.images_a_step() == [(1, 8)]
