"""Resolve configurations: a preset's values, what ``--set`` changes in them, and their validation."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.reading import Unreadable, parse_yaml
from headbench.harness.validation import validate

if TYPE_CHECKING:
    from pydantic import BaseModel

    from headbench.harness.avatar import MethodConfig

__all__ = ["Setting", "apply_settings", "config_hash", "parse_setting", "settings_hash"]


@dataclass(frozen=True)
class Setting:
    """One change of an option, ``--set owner.path=value``."""

    owner: str
    """Method, dataset or stage whose option it is, as the user wrote it."""
    path: str
    value: Any
    text: str
    """The whole setting as the user wrote it."""


def parse_setting(text: str) -> Setting:
    """Parse a setting such as ``fateavatar.max_points=100000``, whose value is read as YAML.

    Raises:
        BenchError: `text` has another form.
    """
    left, equals, right = text.partition("=")
    owner, dot, path = left.strip().partition(".")
    if not (equals and dot and owner and path):
        raise BenchError(f"--set {text!r}: expected METHOD.OPTION=VALUE, such as fateavatar.max_points=100000.")
    try:
        value = parse_yaml(right, Path("--set"))
    except Unreadable as error:
        help = f"quotes make it a text: --set '{left}=\"{right}\"'"
        raise BenchError(f"--set {text!r}: expected a YAML value, {error.found}.", help=help) from error
    return Setting(owner, path, value, text)


def apply_settings(portrait_type: type[Any], values: Mapping[str, Any], settings: Sequence[Setting]) -> Any:
    """Validated configuration of a method or stage from a preset's `values`, changed by `settings`.

    A setting names a dotted path of the (nested) configuration, or a last part of one that is unique in it.

    Args:
        portrait_type: class of the portrait or stage, whose `config_type` validates.
        values: options that the preset sets.
        settings: changes, applied in their order.

    Raises:
        BenchError: an option is unknown or ambiguous (with suggestions), or a value does not fit.
    """
    fields = portrait_type.config_type.model_fields
    # What a preset cannot know, such as a file of the user's, comes from a setting alone.
    given = {each.path: each.value for each in settings if each.path in fields and fields[each.path].is_required()}
    config = validate(portrait_type.config_type, {**values, **given}, f"{portrait_type.__name__}: preset")
    changed = copy.deepcopy(config.model_dump(mode="python"))
    for setting in settings:
        _assign(changed, config, setting)
    if not settings:
        return config
    texts = ", ".join(setting.text for setting in settings)
    return validate(portrait_type.config_type, changed, f"--set {texts}")


def config_hash(values: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of a resolved configuration, whatever the order of its keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def settings_hash(settings: Sequence[Setting]) -> str:
    """Eight hexadecimal digits that identify settings, whatever the order of different options."""
    final = {setting.path: setting.value for setting in settings}
    return config_hash(json.loads(json.dumps(final, default=str)))[:8]


def _paths(config: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Dotted path -> value of every option of a configuration, sections included."""
    from pydantic import BaseModel

    found: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        found[prefix + name] = value
        if isinstance(value, BaseModel):
            found |= _paths(value, f"{prefix}{name}.")
    return found


def _assign(values: dict[str, Any], config: MethodConfig, setting: Setting) -> None:
    known = _paths(config)
    path = _resolve(known, setting)
    section = values
    *parents, last = path.split(".")
    for parent in parents:
        section[parent] = dict(section[parent])
        section = section[parent]
    section[last] = setting.value


def _resolve(known: Mapping[str, Any], setting: Setting) -> str:
    """Full dotted path of the option that a setting means; below an option that is a mapping, any key may be set."""
    if setting.path in known:
        return setting.path
    above, _, key = setting.path.rpartition(".")
    matches = [path for path in known if path.endswith(f".{setting.path}")]
    if not matches and above:
        mappings = [path for path, value in known.items() if isinstance(value, Mapping)]
        matches = [f"{path}.{key}" for path in mappings if path == above or path.endswith(f".{above}")]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise BenchError(
            f"--set {setting.text!r}: {setting.path!r} is ambiguous in {setting.owner}: {', '.join(sorted(matches))}.",
            help="name the whole path",
        )
    names = set(known) | {path.rpartition(".")[2] for path in known}
    raise BenchError(f"--set {setting.text!r}: {did_you_mean(f'option of {setting.owner}', setting.path, names)}")
