"""Sources: opened avatars that are driven, each with its head and a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from headbench.harness.avatar import Avatar
from headbench.harness.names import safe_name
from headbench.harness.session import Session
from headbench.reenact.driver import Driver
from headbench.reenact.performance import Head, head_of

__all__ = ["Source", "refined_tables", "sources_of"]


@dataclass(frozen=True)
class Source:
    """Avatar that is driven."""

    session: Session
    head: Head
    label: str
    """Name in folders and pictures, unique among the sources."""

    @property
    def about(self) -> Mapping[str, str]:
        """Names of method, preset, variant, dataset and subject."""
        return self.session.loaded.about

    def shows(self, driver: Driver) -> bool:
        """Whether the avatar was trained on the driver's own subject: names, shape and first training frame agree.

        Names alone do not tell: two data roots may hold subjects of one name.
        """
        about, subject, identity = self.about, driver.subject, self.head.identity
        names = (about.get("dataset"), about.get("subject")) == (subject.dataset, subject.name)
        if not names or not subject.train or subject.head != identity.head:
            return False
        first = subject.train[0]
        pairs = [(subject.shape, identity.shape), (first.camera.w2c, identity.camera.w2c)]
        pairs += [
            (getattr(first.params, name), getattr(identity.first, name)) for name in ("expression", "jaw", "root")
        ]
        return all(torch.equal(one, other) for one, other in pairs)

    def note(self) -> str:
        """A sentence where the portrait has no Gaussians; otherwise empty."""
        if isinstance(self.session.loaded.portrait, Avatar):
            return ""
        method = self.about.get("method", "this portrait")
        return f"{method} has no Gaussians: how its pictures follow head and camera is up to the method"


def sources_of(sessions: Sequence[Session]) -> list[Source]:
    """Name opened avatars by method, dataset and subject; a number tells apart those of one name.

    Args:
        sessions: opened checkpoints.

    Raises:
        Unreadable: a name in a checkpoint cannot be a part of a path.
        MissingAsset: a head model is not registered.
    """
    taken: dict[str, int] = {}
    found = []
    for session in sessions:
        about = session.loaded.about
        parts = [about.get(key, "") for key in ("method", "dataset", "subject")]
        loader = session.loaded.loader
        parts[1:1] = [loader.removeprefix("stage:")] if loader.startswith("stage:") else []
        name = safe_name(
            "-".join(filter(None, parts)).replace("/", "-") or "source", "name of a portrait", session.path
        )
        taken[name] = taken.get(name, 0) + 1
        label = name if taken[name] == 1 else f"{name}-{taken[name]}"
        found.append(Source(session, head_of(session.loaded.identity), label))
    return found


def refined_tables(
    source: Source, driver: Driver, sources: Sequence[Source]
) -> tuple[Mapping[str, Tensor], Path | None]:
    """Refined parameters of a driver's training frames: the source's own, or those of another source of the driver.

    Args:
        source: the avatar that is driven; comes first.
        driver: whose training frames are meant.
        sources: all avatars that are open.

    Returns:
        the tables (`LoadedPortrait.frames`) and the checkpoint that holds them; empty and None where there are none.
    """
    if driver.split == "test":
        return {}, None
    for each in (source, *sources):
        if each.shows(driver) and each.session.loaded.frames:
            return each.session.loaded.frames, each.session.path
    return {}, None
