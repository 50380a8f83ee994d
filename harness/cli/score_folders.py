"""`bench score --renders`: score a folder of pictures, or a video, against another or against a dataset's subject."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from headbench.harness.cli.score_pictures import Opened
from headbench.harness.cli.score_truth import Folders
from headbench.harness.console import say
from headbench.harness.errors import BenchError

__all__ = ["score_folders"]


def score_folders(
    asked: Folders, protocols: Sequence[str], device: str, nets: Collection[str] | None, everything: bool
) -> None:
    """Score renders by protocols, print what came out, and write it where a folder is named.

    Args:
        asked: what is compared.
        protocols: names of protocols, or paths of their files.
        device: where to score, such as cpu or cuda.
        nets: LPIPS networks to compute; None means all that are worth their time on the device.
        everything: whether the protocols are all there are, so that one that does not fit is only said.

    Raises:
        BenchError: the pictures cannot be read or joined, or a protocol does not fit that was asked for by name.
    """
    from headbench.harness.files import writable
    from headbench.metrics import load_protocol
    from headbench.metrics.folders_result import write_result

    if asked.out is not None:
        writable(asked.out, folder=True)
    said: set[str] = set()
    done = 0
    with tempfile.TemporaryDirectory() as scratch:
        opened = Opened(asked, Path(scratch))
        for protocol in map(load_protocol, dict.fromkeys(protocols)):
            result = opened.attempt(protocol, device, nets, everything)
            if isinstance(result, str) and not everything:
                raise BenchError(f"{protocol.label} cannot score this: {result}.", help="bench list protocols")
            if isinstance(result, str):
                say(f"{protocol.label}: not scored: {result}")
                continue
            done += 1
            for line in result.lines():
                if not (line.startswith("note: ") and line in said):
                    say(line)
                said.add(line)
            if asked.out is not None:
                written = write_result(asked.out, result)
                say(f"  written: {', '.join(map(str, written))}")
    if not done:
        raise BenchError(f"No protocol can score {asked.renders} against {asked.truth}; the reasons stand above.")
