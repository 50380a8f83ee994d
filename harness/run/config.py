"""Presets, what `--set` changes in them, and their validation."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.reading import Unreadable, parse_yaml

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from headbench.harness.avatar import MethodConfig, Portrait

__all__ = ["Setting", "apply_settings", "config_hash", "parse_setting", "settings_hash", "validate"]


@dataclass(frozen=True)
class Setting:
    """One ``--set owner.path=value``."""

    owner: str
    """A method or a dataset, as the user wrote it."""
    path: str
    value: Any
    text: str
    """As the user wrote it."""


def parse_setting(text: str) -> Setting:
    """``fateavatar.max_points=100000``; the value is read as YAML.

    Raises:
        BenchError: it has another form.
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


def apply_settings(
    portrait_type: type[Portrait], values: Mapping[str, Any], settings: Sequence[Setting]
) -> MethodConfig:
    """The configuration that a preset's `values` and `settings` give.

    A setting names a dotted path of the (nested) configuration, or a last part of one that is unique in it.

    Raises:
        BenchError: an option is unknown or ambiguous (with suggestions), or a value does not fit.
    """
    config = validate(portrait_type.config_type, values, f"{portrait_type.__name__}: preset")
    changed = copy.deepcopy(config.model_dump(mode="python"))
    for setting in settings:
        _assign(changed, config, setting)
    if not settings:
        return config
    texts = ", ".join(setting.text for setting in settings)
    return validate(portrait_type.config_type, changed, f"--set {texts}")


def validate(kind: type[BaseModel], values: Mapping[str, Any], where: str) -> Any:
    """`values` as a `kind`.

    Raises:
        BenchError: they do not fit; every fault is named with its path, unknown keys with a suggestion.
    """
    from pydantic import ValidationError

    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise BenchError(f"{where}: " + "; ".join(_faults(error, kind))) from error


def config_hash(values: Mapping[str, Any]) -> str:
    """SHA-256 of a resolved configuration, whatever the order of its keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def settings_hash(settings: Sequence[Setting]) -> str:
    """Eight characters that name what was set; the order of settings of different options does not matter."""
    final = {setting.path: setting.value for setting in settings}
    return config_hash(json.loads(json.dumps(final, default=str)))[:8]


def _paths(config: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Dotted path -> value of every option, sections included."""
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
    """The full path that a setting means; below an option that is a mapping, any key may be set."""
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


def _faults(error: ValidationError, kind: type[BaseModel]) -> list[str]:
    lines = []
    for fault in _told(error):
        path = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            section = kind
            for part in fault["loc"][:-1]:
                inner = section.model_fields.get(str(part))
                section = section if inner is None else _section(inner.annotation) or section
            lines.append(did_you_mean("key", path, [f.alias or name for name, f in section.model_fields.items()]))
        else:
            # A check of a whole section names what it found itself.
            whole = fault["type"] == "missing" or isinstance(fault["input"], Mapping)
            text = fault["msg"].removeprefix("Value error, ")
            got = "" if whole else f", got {fault['input']!r}"
            lines.append(f"{path or 'value'}: {text[0].lower()}{text[1:]}{got}")
    return lines


def _section(annotation: object) -> type[BaseModel] | None:
    """The section that an option's type is or holds, as a tuple of sections does."""
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section(part)) is not None), None)


def _told(error: ValidationError) -> list[Any]:
    """Its faults. Where an option takes values of several types, pydantic tells why each of them did not fit and names
    the type behind the option; only what is wrong with a value of a right type is kept, if there is such a type."""
    faults: list[Any] = error.errors(include_url=False)
    places = [tuple(part for part in fault["loc"] if not _is_type(part)) for fault in faults]
    alternatives = {place for fault, place in zip(faults, places, strict=True) if len(place) < len(fault["loc"])}
    kept = []
    for fault, place in zip(faults, places, strict=True):
        rivals = [f for f, p in zip(faults, places, strict=True) if p[: len(place)] == place and f is not fault]
        if place in alternatives and fault["type"].endswith("_type") and rivals:
            continue
        kept.append({**fault, "loc": place})
    return kept


def _is_type(part: object) -> bool:
    return isinstance(part, str) and (
        part.startswith(("constrained-", "tuple[", "literal[")) or part in ("int", "float", "str")
    )
