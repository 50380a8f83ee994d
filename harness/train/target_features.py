"""Features of target images that networks of losses compute, kept on the device where the targets stay the same.

A target is the same in every step where its background is a fixed colour and no weight moves it: sampler and trainer
say so, and nothing is kept elsewhere. A step on frames that are all kept reads their features; any other computes and
keeps them. Which of the two a step does is known on the host, so each is a recording of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial

import torch
from torch import Tensor

__all__ = ["KeptTargets", "TargetFeatures"]

_CPU_MEMORY = 2**30
"""Bytes that count as free on a CPU, where only tests keep features."""


class KeptTargets:
    """Features of the targets of one store's frames on one background, by the loss that reads them.

    Args:
        count: number of frames.
        share: of the free memory that the features of one loss may take for all frames, 0 to 1.
    """

    def __init__(self, count: int, share: float) -> None:
        self._count = count
        self._share = share
        self._kept: dict[str, list[tuple[Tensor, bool]]] = {}
        self._filled: set[int] = set()
        self.fits = True
        """Whether all features that were asked for so far fit into the memory; nothing is kept any more if not."""

    def complete(self, rows: Sequence[int]) -> bool:
        """Whether the features of all these frames are kept."""
        return self._filled.issuperset(rows)

    def filled(self, rows: Sequence[int]) -> None:
        """Note that a step has computed and kept the features of these frames."""
        self._filled.update(rows)

    def empty(self) -> None:
        """Keep no frame's features any more; the memory is used again."""
        self._filled.clear()

    def reader(self, index: Tensor, fill: bool) -> Callable[[str, Callable[[], list[Tensor]]], list[Tensor]]:
        """Return what a batch has as `Batch.kept`: a function of a loss's name and of how its features are computed.

        Args:
            index: (B,) int64 rows of the frames, on the device.
            fill: whether features are computed and kept, rather than read.
        """
        return partial(self._fill if fill else self._read, index)

    def _read(self, index: Tensor, name: str, compute: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Return the kept features of frames; arguments as for `_fill`."""
        found = [(kept.index_select(0, index), last) for kept, last in self._kept[name]]
        return [features.permute(0, 3, 1, 2) if last else features for features, last in found]

    def _fill(self, index: Tensor, name: str, compute: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Compute features of frames, and keep them if there is memory for those of all.

        Args:
            index: (B,) int64 rows of the frames, on the device.
            name: of the loss.
            compute: returns feature maps (B, C, H, W).
        """
        with torch.no_grad():
            found = compute()
            if name not in self._kept and self.fits:
                self.fits = _bytes_of(found) * self._count <= self._share * _free(index.device)
                if self.fits:
                    self._kept[name] = [(self._room(_in_memory(f, _last(f))), _last(f)) for f in found]
            if not self.fits:
                self._kept.clear()
                return found
            for (kept, last), features in zip(self._kept[name], found, strict=True):
                kept.index_copy_(0, index, _in_memory(features, last))
        return found

    def _room(self, like: Tensor) -> Tensor:
        """Memory for the features of all frames, (frames, ·), of the type of a batch's."""
        return like.new_empty((self._count, *like.shape[1:]))


class TargetFeatures:
    """The kept features of a training, by the source of its frames.

    Args:
        share: of the free memory, 0 to 1; 0 keeps nothing.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._sources: dict[Hashable, KeptTargets] = {}

    def of(self, source: Hashable, count: int) -> KeptTargets | None:
        """Return what is kept of a source's targets; None where nothing is to be kept.

        Args:
            source: tells store and background apart; None: the targets differ from step to step.
            count: number of frames of the store.
        """
        if source is None or self._share == 0:
            return None
        found = self._sources.setdefault(source, KeptTargets(count, self._share))
        return found if found.fits else None

    def empty(self) -> None:
        """Compute all features anew: the losses may ask for others from now on."""
        for kept in self._sources.values():
            kept.empty()


def _last(features: Tensor) -> bool:
    """Whether the channels of features (B, C, H, W) lie last in memory."""
    return not features.is_contiguous() and features.is_contiguous(memory_format=torch.channels_last)


def _in_memory(features: Tensor, last: bool) -> Tensor:
    """Features (B, C, H, W) in the order of their memory: (B, H, W, C) where channels lie last."""
    return features.permute(0, 2, 3, 1) if last else features


def _bytes_of(maps: Sequence[Tensor]) -> int:
    """Return the number of bytes of one frame's feature maps, (B, C, H, W) each."""
    return sum(features[0].numel() * features.element_size() for features in maps)


def _free(device: torch.device) -> int:
    """Return the number of bytes of device memory that nobody has."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else _CPU_MEMORY
