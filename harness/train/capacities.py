"""Capacities of the lists that recorded steps draw from: what was wanted so far, and what the next ones get."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import torch

from headbench.harness.splat.lists import Lists, room_for
from headbench.harness.train.capture import RecordedStep

__all__ = ["Capacities"]


@dataclass(frozen=True)
class _Made:
    """Lists of a recording, and what it draws."""

    lists: Lists
    images: int
    """Per step."""
    gaussians: int
    """Their number."""


class Capacities:
    """Remembers what was wanted per Gaussian for each number of images, so that only a first recording measures."""

    def __init__(self) -> None:
        self._per_gaussian: dict[int, float] = {}
        self._made: list[_Made] = []

    def capacity(self, images: int, gaussians: int) -> int | None:
        """Capacity for a recording; None where nothing is known of so many images.

        Args:
            images: per step.
            gaussians: their number.
        """
        known = self._per_gaussian.get(images)
        return None if known is None else room_for(known * gaussians)

    def made(self, step: RecordedStep, images: int, gaussians: int) -> None:
        """Learn of a new recording; its lists are looked at once more after it is dropped.

        Args:
            step: the recording.
            images: per step.
            gaussians: their number.
        """
        if step.lists is not None:
            self._made.append(_Made(step.lists, images, gaussians))

    def look(self, recordings: dict[Hashable, RecordedStep]) -> bool:
        """Look whether a recording drew from too short lists since it was made; waits for the device.

        Args:
            recordings: all that are in use; those whose lists are too short, or nearly, are taken out.

        Returns:
            whether some lists were too short.
        """
        if not self._made:
            return False
        found = torch.stack([made.lists.wanted for made in self._made]).tolist()
        short, tight = False, set()
        for made, wanted in zip(self._made, found, strict=True):
            each = wanted / max(made.gaussians, 1)
            self._per_gaussian[made.images] = max(each, self._per_gaussian.get(made.images, 0.0))
            short |= made.lists.too_short(wanted)
            if made.lists.tight(wanted):
                tight.add(id(made.lists))
        for layout, step in list(recordings.items()):
            if id(step.lists) in tight:
                del recordings[layout]
        used = {id(step.lists) for step in recordings.values()}
        self._made = [made for made in self._made if id(made.lists) in used]
        return short
