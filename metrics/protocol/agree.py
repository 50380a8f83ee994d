"""Values of a protocol that contradict each other, found before anything is rendered by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headbench.metrics.protocol.model import Protocol

__all__ = ["contradiction"]


def contradiction(protocol: Protocol) -> str:
    """Sentence on the first two fields of a protocol that cannot stand together; empty where there are none."""
    return next((text for wrong, text in _rules(protocol) if wrong), "")


def _rules(protocol: Protocol) -> list[tuple[bool, str]]:
    """Whether each pair of fields contradicts itself, with the sentence that says so."""
    save, views, region = protocol.save, protocol.views, protocol.region
    return [
        (
            protocol.test_time_tracking is not None and views != "test",
            f"views {views} cannot be tracked; test-time tracking is of test frames",
        ),
        (
            len(set(protocol.psnr_foreground)) != len(protocol.psnr_foreground),
            "psnr_foreground names a part twice",
        ),
        (
            save in ("uint8_round", "uint8_truncate") and not protocol.clamp,
            f"clamp false needs save none or uint8_stretch: {save} makes 8-bit pictures, which hold nothing outside "
            "[0, 1]",
        ),
        (
            save == "uint8_stretch" and protocol.clamp,
            "clamp true and save uint8_stretch: the stretch is from the least to the greatest value, of which a clamp "
            "would leave 0 and 1",
        ),
        (protocol.opening and save == "none", "opening needs 8-bit pictures; save is none"),
        (
            save != "uint8_round" and protocol.resolution != "native" and protocol.resampling == "bicubic",
            f"save {save} with a resolution needs resampling bilinear; bicubic works on stored 8-bit files",
        ),
        (
            protocol.truth == "photo" and protocol.quantise != "none",
            "truth photo needs quantise none: a photo is of 8 bit as it is stored",
        ),
        (
            region == "full" and (protocol.outside != "kept" or protocol.normaliser != "image"),
            "outside black and normaliser region need a region; region is full",
        ),
        (
            bool(protocol.psnr_foreground) and not protocol.clamp,
            "psnr_foreground needs clamp true",
        ),
    ]
