"""One pass over a VHAP subject's folder that reads what a `Subject` needs and finds what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import numpy as np

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.head_tag import head_tag
from headbench.datasets.common.paths import not_folders
from headbench.datasets.common.roots import there
from headbench.datasets.common.sources import Source
from headbench.datasets.common.survey import Floats, Survey, known
from headbench.datasets.vhap.images import find_images
from headbench.datasets.vhap.layout import CANONICAL, PARTS
from headbench.datasets.vhap.options import VhapOptions
from headbench.datasets.vhap.parameters import Parameters, read_parameters
from headbench.datasets.vhap.splits import check_heads, check_parts
from headbench.datasets.vhap.transforms import Entry, read_transforms
from headbench.harness.reading import Unreadable, open_regular
from headbench.harness.types import Frame

__all__ = ["VhapSurvey", "survey"]


@dataclass(frozen=True)
class VhapSurvey(Survey):
    """Content and faults of a subject in VHAP's layout; without frames where too little could be read."""

    options: VhapOptions
    train: tuple[Entry, ...] = ()
    """Training frames."""
    test: tuple[Entry, ...] = ()
    """Test frames: those of the part that the option `evaluate` names."""
    parameters: Parameters | None = None
    images: Mapping[str, Source] = field(default_factory=dict)
    """Frame id -> its image files."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Training frames, then test frames."""
        return self.train + self.test

    @property
    def whole(self) -> bool:
        return bool(self.head and self.entries and self.parameters)

    @property
    def shape(self) -> Floats:
        return known(self.parameters).shape

    @property
    def static_offset(self) -> Floats | None:
        return known(self.parameters).static_offset

    def split(self) -> tuple[list[str], list[str]]:
        return [entry.id for entry in self.train], [entry.id for entry in self.test]

    def variant(self) -> str:
        """``single``, or ``multiview`` where more than one camera is read."""
        return "multiview" if len({entry.camera for entry in self.entries}) > 1 else "single"

    def digests(self) -> dict[str, str]:
        return {name: source.digest for name, source in self.images.items()}

    def numbers(self) -> dict[str, list[Floats]]:
        moments = known(self.parameters).moments
        return {
            entry.id: [entry.c2w, np.array(astuple(entry.lens)), *moments[entry.timestep].values()]
            for entry in self.entries
        }

    def shared(self) -> list[Floats | str]:
        return [self.head, self.shape, *([] if self.static_offset is None else [self.static_offset])]

    def where(self, frame: Frame, what: str) -> Path:
        return next(entry.params for entry in self.entries if entry.id == frame.id)


def survey(folder: Path, options: VhapOptions, findings: Findings) -> VhapSurvey:
    """Read all that can be read of a VHAP subject without decoding images.

    Args:
        folder: the subject's.
        options: the reader's.
        findings: receives what is wrong.
    """
    head = head_tag(folder, options.head, findings)
    nothing = VhapSurvey(folder, findings, head or "", options)
    _check_canonical(folder, findings)
    before = len(findings.errors())
    parts = {}
    for part, name in PARTS.items():
        needed = part in ("train", options.evaluate)
        parts[part] = read_transforms(folder, folder / name, findings) if needed or there(folder / name) else []
    check_parts(folder, parts, options.evaluate, len(findings.errors()) == before, findings)
    chosen = {
        part: tuple(entry for entry in parts[part] if options.wanted(entry.camera))
        for part in ("train", options.evaluate)
    }
    train, test = chosen["train"], chosen[options.evaluate]
    _check_cameras(folder, parts["train"] + parts[options.evaluate], train, test, options, findings)
    if not train + test or head is None:
        return nothing
    files = [file for entry in train + test for file in (entry.image, entry.mask, entry.params) if file is not None]
    if not_folders([file.parent for file in files], findings):
        return nothing
    moments: dict[int, Path] = {}
    for entry in train + test:
        moments.setdefault(entry.timestep, entry.params)
    parameters = read_parameters(list(moments.items()), head, findings)
    images = find_images(train + test, options.alpha, findings)
    if parameters is None:
        return nothing
    places = {moment: values["translation"] for moment, values in parameters.moments.items()}
    check_heads(folder, train + test, places, findings)
    if options.evaluate == "val":
        findings.note("novel views: VHAP tracked the held-out cameras along with the others")
    return replace(nothing, train=train, test=test, parameters=parameters, images=images)


def _check_canonical(folder: Path, findings: Findings) -> None:
    """Warn where the parameters of the neutral head cannot be read."""
    try:
        open_regular(folder / CANONICAL).close()
    except Unreadable as error:
        message = f"expected the parameters of the neutral head, {error.found}"
        without = ": GaussianAvatars' own code would not know this layout" if error.missing else ""
        findings.warning(error.path, message + without, help=error.help)


def _check_cameras(
    folder: Path,
    entries: list[Entry],
    train: tuple[Entry, ...],
    test: tuple[Entry, ...],
    options: VhapOptions,
    findings: Findings,
) -> None:
    """Report an error where the option `cameras` leaves a part of the split empty.

    Args:
        folder: the subject's, for messages.
        entries: frames of both parts, by any camera.
        train, test: those by the cameras that are wanted.
        options: the reader's.
        findings: receives the error.
    """
    if not options.cameras or not entries or (train and test) or findings.errors():
        return
    known = sorted({entry.camera for entry in entries})
    findings.error(
        folder,
        f"expected training and test frames of the cameras {options.cameras}, found {len(train)} and {len(test)}; "
        f"there are {', '.join(known)}",
        help="--set vhap.cameras=ID; the held-out camera has frames in one part only",
    )
