"""Checkpoints: ``checkpoint-<step>/{model.safetensors, optimizer.safetensors, state.json}``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from headbench.harness.avatar import MethodConfig, Portrait
from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_folder, read_json, write_json
from headbench.harness.tensors import read_tensors
from headbench.harness.types import Camera, HeadParams, Identity

__all__ = ["FORMAT", "LoadedPortrait", "latest_checkpoint", "load_portrait", "read_state", "save_checkpoint"]

FORMAT = 1
"""Version of the checkpoint layout."""


@dataclass(frozen=True)
class LoadedPortrait:
    """A trained portrait with all that it takes to show it."""

    portrait: Portrait
    identity: Identity
    config: MethodConfig
    about: Mapping[str, str]
    """method, preset, variant, dataset, subject."""
    step: int


def save_checkpoint(
    stage: Path,
    portrait: Portrait,
    identity: Identity,
    optimizer: Mapping[str, Tensor],
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write ``stage/checkpoint-<state['step']>`` atomically, then remove all but the newest `keep`."""
    folder = stage / f"checkpoint-{state['step']}"
    tensors, plain = _pack_identity(identity)
    model = {f"portrait/{k}": v for k, v in portrait.state_dict().items()}
    with atomic_folder(folder) as part:
        # Not safetensors' save_file: its files are readable by their owner alone, whatever the umask says, and run
        # folders are shared.
        (part / "model.safetensors").write_bytes(save(_host({**model, **tensors})))
        (part / "optimizer.safetensors").write_bytes(save(_host(optimizer)))
        write_json(part / "state.json", {"format": FORMAT, **state, "identity": plain})
    for old in _checkpoints(stage)[:-keep]:
        shutil.rmtree(old)
    return folder


def latest_checkpoint(stage: Path) -> Path | None:
    """The newest complete checkpoint of a stage, or None."""
    found = _checkpoints(stage)
    return found[-1] if found else None


def read_state(checkpoint: Path) -> dict[str, Any]:
    """state.json of a checkpoint.

    Raises:
        BenchError: the folder is no checkpoint of this layout.
    """
    path = checkpoint / "state.json"
    if not path.is_file():
        raise BenchError(f"{checkpoint} is not a checkpoint: it has no state.json.", help="bench status RUN")
    state = read_json(path)
    if state.get("format") != FORMAT:
        raise BenchError(f"{path}: checkpoint format {state.get('format')!r}, this version reads {FORMAT}.")
    return state


def load_portrait(checkpoint: Path, device: torch.device | str = "cpu") -> LoadedPortrait:
    """Rebuild a trained portrait; needs the method's plugin and the head's files, but no dataset.

    Raises:
        BenchError: no checkpoint, or one that does not fit the method as it is now.
        MissingAsset: the head model's files are not registered.
    """
    from headbench.harness.head import load_head
    from headbench.harness.plugins import registry

    state = read_state(checkpoint)
    about = state["about"]
    portrait_type = registry().load_method(about["method"])
    config = portrait_type.config_type.model_validate(state["config"])
    tensors = read_tensors(checkpoint / "model.safetensors", device)
    identity = _unpack_identity(tensors, state["identity"])
    head = load_head(identity.head, config.topology(), device=device)
    portrait = portrait_type.create(head, identity, None, config)
    restore_portrait(portrait, tensors, checkpoint)
    return LoadedPortrait(portrait.eval(), identity, config, about, int(state["step"]))


def restore_portrait(portrait: Portrait, tensors: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Put saved tensors into a portrait, whatever number of Gaussians they hold."""
    saved = {k.removeprefix("portrait/"): v for k, v in tensors.items() if k.startswith("portrait/")}
    portrait.resize_for({name: tensor.shape for name, tensor in saved.items()})
    try:
        portrait.load_state_dict(saved)
    except RuntimeError as error:
        raise BenchError(f"{checkpoint} does not fit the method as it is now: {error}") from error


def _checkpoints(stage: Path) -> list[Path]:
    found = [p for p in stage.glob("checkpoint-*") if (p / "state.json").is_file()]
    return sorted(found, key=lambda p: int(p.name.split("-")[1]))


def _host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.detach().to("cpu").contiguous().clone() for k, v in tensors.items()}


def _pack_identity(identity: Identity) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by path and the rest as JSON, of the identity and what it holds."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Tensor):
            tensors[path] = value
        elif hasattr(value, "__dataclass_fields__"):
            for field in fields(value):
                walk(getattr(value, field.name), f"{path}/{field.name}")
        elif value is not None:
            plain[path] = value

    walk(identity, "identity")
    return tensors, plain


def _unpack_identity(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> Identity:
    from headbench.harness.types import Similarity

    values = {**{k: v for k, v in tensors.items() if k.startswith("identity/")}, **plain}

    def children(path: str) -> dict[str, Any]:
        depth = path.count("/") + 1
        return {k.split("/")[depth]: v for k, v in values.items() if k.startswith(path + "/") and k.count("/") == depth}

    first = children("identity/first")
    if any(k.startswith("identity/first/outer/") for k in values):
        first["outer"] = Similarity(**children("identity/first/outer"))
    return Identity(
        **children("identity"),
        first=HeadParams(**first),
        camera=Camera(**children("identity/camera")),
    )
