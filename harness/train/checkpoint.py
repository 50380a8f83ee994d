"""Saving and loading of checkpoints: ``checkpoint-<step>/{model.safetensors, optimizer.safetensors, state.json}``."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from headbench.harness.avatar import MethodConfig, Portrait
from headbench.harness.errors import BenchError
from headbench.harness.files import atomic_folder, sha256_of, sync_folder, write_synced
from headbench.harness.reading import Unreadable
from headbench.harness.records import write_sealed
from headbench.harness.staged import read_stage
from headbench.harness.tensors import read_tensors
from headbench.harness.trained import FRAMES, WEIGHTS, CheckpointState, checkpoints, read_state
from headbench.harness.types import Camera, HeadParams, Identity
from headbench.harness.validation import validate

__all__ = [
    "ALL",
    "NEWEST",
    "LoadedPortrait",
    "adam_state",
    "load_portrait",
    "checkpoint_tensors",
    "refined_frames",
    "restore_portrait",
    "save_checkpoint",
]


@dataclass(frozen=True)
class LoadedPortrait:
    """A trained portrait with all that rendering it takes."""

    portrait: Portrait
    identity: Identity
    config: MethodConfig
    about: Mapping[str, str]
    """Names of method, preset, variant, dataset and subject."""
    step: int
    loader: str = ""
    """Name of the portrait's class in the registry: ``method:NAME`` or ``stage:NAME``."""
    path: Path = Path()
    """The checkpoint's folder."""

    @cached_property
    def frames(self) -> Mapping[str, Tensor]:
        """Refined parameters of training frames on the host: timesteps (T,) and one table (T, ·) per field.

        Empty where training refined none.

        Raises:
            Unreadable: they are not as they were written.
        """
        return _refined(self.path, self.config)


NEWEST = 2
"""Default number of checkpoints that stay of a training."""
ALL = 10**9
"""Number of checkpoints that stay where each is kept."""


def save_checkpoint(
    stage: Path,
    portrait: Portrait,
    identity: Identity,
    optimizer: Mapping[str, Tensor],
    state: CheckpointState,
    keep: int = NEWEST,
    frames: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write ``stage/checkpoint-<state.step>`` atomically, then remove all but the newest `keep`.

    The disk has the tensors before it gets the state file, and the whole folder before it gets its name.

    Args:
        stage: folder of the stage instance.
        portrait: its state_dict is saved.
        identity: what the portrait keeps of its subject.
        optimizer: tensors by name that training goes on from.
        state: without digests and the identity, which are filled in.
        keep: number of checkpoints that stay, at least 1.
        frames: refined parameters of training frames; a file of them is written where there are any.

    Returns:
        the checkpoint's folder.
    """
    folder = stage / f"checkpoint-{state.step}"
    tensors, plain = _pack_identity(identity)
    model = {f"portrait/{k}": v for k, v in portrait.state_dict().items()}
    digests = {}
    with atomic_folder(folder) as part:
        contents = {**dict(zip(WEIGHTS, ({**model, **tensors}, optimizer), strict=True)), FRAMES: frames}
        for name, content in contents.items():
            if content is None or (name == FRAMES and not content):
                continue
            # Not safetensors' save_file: its files are readable by their owner alone, whatever the umask says, and run
            # folders are shared.
            packed = save(_host(content))
            digests[name] = hashlib.sha256(packed).hexdigest()
            write_synced(part / name, packed)
        write_sealed(part / "state.json", asdict(replace(state, identity=plain, sha256=digests)))
        sync_folder(part)
    sync_folder(stage)
    for old in checkpoints(stage)[:-keep]:
        shutil.rmtree(old)
    return folder


def checkpoint_tensors(
    checkpoint: Path, name: str, state: CheckpointState, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """The tensors in one file of a checkpoint; its bytes are hashed first.

    Args:
        checkpoint: its folder.
        name: of the file, such as model.safetensors.
        state: the checkpoint's, with the hash to compare with.
        device: where the tensors shall live.

    Raises:
        Unreadable: it is missing, or not as it was written.
    """
    path = checkpoint / name
    if state.verified and sha256_of(path) != state.sha256[name]:
        raise Unreadable(
            path,
            "found a file with another SHA-256 than when it was written",
            "run the same `bench run` command again: it takes the checkpoint before and trains on from there",
        )
    return read_tensors(path, device)


def adam_state(checkpoint: Path) -> dict[str, Tensor]:
    """The state of `AvatarOptimizer` in a checkpoint; empty where nothing was trained, such as in an imported one.

    Args:
        checkpoint: its folder.

    Raises:
        Unreadable: the file is not as it was written.
    """
    if checkpoint == Path():
        return {}
    saved = checkpoint_tensors(checkpoint, WEIGHTS[1], read_state(checkpoint))
    return {name.removeprefix("adam/"): value for name, value in saved.items() if name.startswith("adam/")}


def load_portrait(
    checkpoint: Path, device: torch.device | str = "cpu", portrait_type: type[Portrait] | None = None
) -> LoadedPortrait:
    """Rebuild a trained portrait; needs the method's plugin and the head's files, but no dataset.

    Args:
        checkpoint: its folder.
        device: where the portrait shall live.
        portrait_type: its class; None asks the plugins for the one that the checkpoint names.

    Raises:
        BenchError: no checkpoint, or one that does not fit the method as it is now.
        MissingAsset: the head model's files are not registered.
    """
    from headbench.harness.head import load_head
    from headbench.harness.plugins import registry

    state = read_state(checkpoint)
    about = state.about
    staged = read_stage(checkpoint.parent)
    loader = (staged.loader if staged is not None else state.loader) or f"method:{about.get('method', '')}"
    portrait_type = portrait_type or registry().load_portrait(loader)
    config = validate(portrait_type.config_type, state.config, str(checkpoint / "state.json"))
    tensors = checkpoint_tensors(checkpoint, WEIGHTS[0], state, device)
    identity = _unpack_identity(tensors, state.identity, checkpoint)
    head = load_head(identity.head, config.topology(), device=device)
    portrait = portrait_type.create(head, identity, None, config)
    restore_portrait(portrait, tensors, checkpoint)
    return LoadedPortrait(portrait.eval(), identity, config, about, state.step, loader, checkpoint)


def _refined(checkpoint: Path, config: MethodConfig) -> dict[str, Tensor]:
    """Refined parameters of training frames, by field; older versions kept them with the optimiser's state alone."""
    if checkpoint == Path():
        return {}
    state = read_state(checkpoint)
    if FRAMES in state.sha256:
        return checkpoint_tensors(checkpoint, FRAMES, state)
    if state.loader or not config.train.finetune.rates:  # versions that wrote a loader wrote FRAMES, too
        return {}
    before = checkpoint_tensors(checkpoint, WEIGHTS[1], state)
    found = {name.removeprefix("finetune/"): value for name, value in before.items() if name.startswith("finetune/")}
    return refined_frames(found)


def refined_frames(tables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of `FrameParameters` as later stages read it, by field; empty where no field was refined.

    Args:
        tables: its state_dict.
    """
    found = {name.removeprefix("tables."): value for name, value in tables.items()}
    return found if set(found) > {"timesteps"} else {}


def restore_portrait(portrait: Portrait, tensors: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Put saved tensors into a portrait, whatever number of Gaussians they hold.

    Args:
        portrait: is resized and loaded into.
        tensors: of the checkpoint's weights file; those below ``portrait/`` are taken.
        checkpoint: its folder, for errors.

    Raises:
        BenchError: names or shapes do not fit the method.
    """
    saved = {k.removeprefix("portrait/"): v for k, v in tensors.items() if k.startswith("portrait/")}
    portrait.resize_for({name: tensor.shape for name, tensor in saved.items()})
    try:
        portrait.load_state_dict(saved)
    except RuntimeError as error:
        raise BenchError(f"{checkpoint} does not fit the method as it is now: {error}") from error


def _host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v.detach().to("cpu").contiguous().clone() for k, v in tensors.items()}


_KEYS = {"similarity": "outer"}
"""Field of the identity -> its key in checkpoint files, where files keep an older name."""


def _pack_identity(identity: Identity) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Flatten an identity into (tensors by path, everything else by path, as JSON)."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Tensor):
            tensors[path] = value
        elif hasattr(value, "__dataclass_fields__"):
            for field in fields(value):
                walk(getattr(value, field.name), f"{path}/{_KEYS.get(field.name, field.name)}")
        elif value is not None:
            plain[path] = value

    walk(identity, "identity")
    return tensors, plain


def _unpack_identity(tensors: Mapping[str, Tensor], plain: Mapping[str, Any], checkpoint: Path) -> Identity:
    from headbench.harness.types import Similarity

    values = {**{k: v for k, v in tensors.items() if k.startswith("identity/")}, **plain}

    def children(path: str) -> dict[str, Any]:
        depth = path.count("/") + 1
        return {k.split("/")[depth]: v for k, v in values.items() if k.startswith(path + "/") and k.count("/") == depth}

    try:
        first = children("identity/first")
        if any(k.startswith("identity/first/outer/") for k in values):
            first["similarity"] = Similarity(**children("identity/first/outer"))
        return Identity(**children("identity"), first=HeadParams(**first), camera=Camera(**children("identity/camera")))
    except TypeError as error:  # a field too many or too few
        raise Unreadable(
            checkpoint / "state.json",
            "found an identity of another version",
            f"remove {checkpoint}; then run the same `bench run` command again",
        ) from error
