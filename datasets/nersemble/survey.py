"""One pass over a person's folder that reads what a `Subject` needs and finds what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headbench.datasets.common.findings import Findings
from headbench.datasets.common.paths import not_folders
from headbench.datasets.common.roots import there
from headbench.datasets.common.survey import Floats, Survey, known
from headbench.datasets.nersemble.benchmark import PROXY, SERIALS, TRACKINGS, TRAIN_SEQUENCES, TRAIN_SERIAL
from headbench.datasets.nersemble.calibration import Calibration, read_calibration
from headbench.datasets.nersemble.layout import Folder
from headbench.datasets.nersemble.options import NersembleOptions
from headbench.datasets.nersemble.people import head_and_size
from headbench.datasets.nersemble.placement import check_before_camera
from headbench.datasets.nersemble.probe import Probe, probe_all
from headbench.datasets.nersemble.tracking import Tracking, frame_ids, read_tracking
from headbench.harness.reading import kind_at
from headbench.harness.types import Frame

__all__ = ["NersembleSurvey", "check_one_identity", "survey"]

_PROXIES = (
    "scores are a local proxy of NeRSemble's leaderboard, whose metrics and masks are not public: training sequences "
    "that were held out, seen by the training camera"
)

_AGAIN = "download the sequence again"


@dataclass(frozen=True)
class NersembleSurvey(Survey):
    """Content and faults of one person's folder of the NeRSemble benchmark."""

    options: NersembleOptions
    size: int | None
    """Side of the images in pixels; None where it is not known."""
    calibration: Calibration | None
    """Cameras of the person; None where they cannot be used."""
    sequences: Mapping[str, Tracking]
    """Tracking of the training sequences by name, in the benchmark's order."""
    probes: Mapping[Path, Probe]
    """Video file -> its probe, of the training camera."""

    @property
    def folder(self) -> Folder:
        """Paths of the person's files."""
        return Folder(self.path)

    @property
    def whole(self) -> bool:
        return bool(self.head and self.size and self.calibration and self.sequences)

    @property
    def shape(self) -> Floats:
        """Identity coefficients (300,) of all sequences."""
        return next(iter(self.sequences.values())).shape

    def parts(self) -> tuple[list[str], list[str]]:
        """Names of the training and of the test sequences. With split=all the proxy sequences are in both."""
        held_out = [name for name in self.sequences if name in PROXY]
        if self.options.split == "all":
            return list(self.sequences), held_out
        return [name for name in self.sequences if name not in PROXY], held_out

    def split(self) -> tuple[list[str], list[str]]:
        train, test = ([i for name in part for i in frame_ids(name, self.sequences[name])] for part in self.parts())
        return train, test

    def variant(self) -> str:
        """Version of the tracking, and the option `split` where it makes numbers incomparable."""
        return self.options.tracking + (f"-{self.options.split}" if self.options.split != "proxy" else "")

    def digests(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, tracking in self.sequences.items():
            videos = "".join(self.probes[path].digest for path in self.videos(name))
            found |= {frame: f"{videos} {row}" for row, frame in enumerate(frame_ids(name, tracking))}
        return found

    def numbers(self) -> dict[str, list[Floats]]:
        found: dict[str, list[Floats]] = {}
        for name, tracking in self.sequences.items():
            rows = tracking.expression, tracking.rotation, tracking.translation
            turns = tracking.jaw, tracking.neck, tracking.eyes
            scale = np.array([tracking.scale])
            for row, frame in enumerate(frame_ids(name, tracking)):
                found[frame] = [*(part[row] for part in (*rows, *turns)), scale]
        return found

    def shared(self) -> list[Floats | str]:
        cameras = known(self.calibration)
        w2c, K = cameras.w2c[TRAIN_SERIAL], cameras.K[TRAIN_SERIAL]
        return [self.head, TRACKINGS[self.options.tracking], self.shape, w2c, K]

    def where(self, frame: Frame, what: str) -> Path:
        return self.sequences[frame.sequence].path

    def videos(self, sequence: str) -> tuple[Path, Path]:
        """Videos of the training camera in a sequence: images and alpha maps."""
        return self.folder.images(sequence, TRAIN_SERIAL), self.folder.alpha(sequence, TRAIN_SERIAL)


def survey(path: Path, options: NersembleOptions, findings: Findings) -> NersembleSurvey:
    """Read all that training needs of a person without decoding images.

    Args:
        path: the person's folder.
        options: the reader's.
        findings: receives what is wrong.
    """
    folder = Folder(path)
    head, size = head_and_size(path, findings)
    no_folder = kind_at(folder.calibration.parent) not in ("", "a folder")  # which is reported below
    calibration = None if no_folder else read_calibration(folder.calibration, SERIALS, size, findings)
    present = [name for name in TRAIN_SEQUENCES if (folder.sequences / name).is_dir()]
    places = [folder.calibration.parent, folder.sequences, *(folder.sequences / name for name in TRAIN_SEQUENCES)]
    if not not_folders(places, findings):
        _check_present(folder, present, options, findings)
    found: dict[str, Tracking] = {}
    for name in present:
        tracking = _tracking(folder, name, options.tracking, findings)
        if tracking is not None:
            found[name] = tracking
    check_one_identity(found, findings)
    videos = [make(name, TRAIN_SERIAL) for name in present for make in (folder.images, folder.alpha)]
    probes = probe_all(videos)
    for name in present:
        _check_videos(folder, name, found.get(name), probes, size, findings)
    if calibration is not None:
        check_before_camera(calibration, found, (TRAIN_SERIAL,), findings)
    if options.tracking != "v2":
        sentence = f"old tracking {TRACKINGS[options.tracking]}: numbers do not compare with those on {TRACKINGS['v2']}"
        findings.warning(folder.sequences, f"expected tracking=v2, found tracking={options.tracking}: {sentence}")
        findings.note(sentence)
    seen = options.split == "all"
    findings.note("test frames were trained on (split=all): scores are not of held-out frames" if seen else _PROXIES)
    return NersembleSurvey(path, findings, head or "", options, size, calibration, found, probes)


def _check_present(folder: Folder, present: list[str], options: NersembleOptions, findings: Findings) -> None:
    """Report training sequences that are missing: a warning where the option allows it, else an error.

    Args:
        folder: the person's.
        present: names of the sequences that are there.
        options: the reader's.
        findings: receives the problem and a note.
    """
    missing = [name for name in TRAIN_SEQUENCES if name not in present]
    if not missing:
        return
    sentence = f"{len(missing)} of {len(TRAIN_SEQUENCES)} training sequences missing: {', '.join(missing)}"
    if options.missing == "allow" and present:
        findings.warning(folder.sequences, f"expected all training sequences, found {sentence}")
        findings.note(sentence)
    else:
        findings.error(
            folder.sequences,
            f"expected all training sequences, found {sentence}",
            help="download them, or read what is there with --set nersemble.missing=allow",
        )


def _tracking(folder: Folder, sequence: str, version: str, findings: Findings) -> Tracking | None:
    """Read the tracking of a sequence; None where it cannot be used, which has been reported.

    Args:
        folder: the person's.
        sequence: its name.
        version: one of `TRACKINGS`.
        findings: receives what is wrong.
    """
    path = folder.tracking(sequence, version)
    if there(path):
        return read_tracking(path, sequence, findings)
    other = next(name for name in TRACKINGS if name != version)
    stands_in = folder.tracking(sequence, other)
    if stands_in.is_file():
        hint = (
            "the old tracking drifts when the head turns: download flame2023_tracking_v2"
            if other == "v1"
            else "the old tracking is an asset of its own: --assets flame2023_tracking"
        )
        message = f"expected the tracking {version}, found {stands_in.name} ({other}) alone; versions are never mixed"
        findings.error(path, message, sequence, hint)
    else:
        findings.error(path, "expected the sequence's tracking, found no such file", sequence, _AGAIN)
    return None


def check_one_identity(found: Mapping[str, Tracking], findings: Findings) -> None:
    """Report an error for each sequence whose shape is not that of the first one.

    Args:
        found: sequence -> its tracking, all of one person.
        findings: receives the errors.
    """
    if not found:
        return
    first = next(iter(found))
    for name, tracking in found.items():
        apart = float(np.abs(tracking.shape - found[first].shape).max())
        if apart > 0:
            findings.error(
                tracking.path,
                f"`shape`: expected that of {first}, found one that differs by up to {apart:.3g}",
                name,
                "files of two people, or of two versions of the tracking",
            )


def _check_videos(
    folder: Folder,
    sequence: str,
    tracking: Tracking | None,
    probes: Mapping[Path, Probe],
    size: int | None,
    findings: Findings,
) -> None:
    """Report videos of a sequence that are missing, damaged, of another size, or of another length than the tracking.

    Args:
        folder: the person's.
        sequence: its name.
        tracking: the sequence's; None where it cannot be used, so that lengths are not compared.
        probes: video file -> its probe.
        size: side of the images in pixels; None where it is not known.
        findings: receives the errors.
    """
    paths = {"images": folder.images(sequence, TRAIN_SERIAL), "alpha maps": folder.alpha(sequence, TRAIN_SERIAL)}
    before = len(findings.errors())
    for kind, path in paths.items():
        probe = probes[path]
        if probe.fault == "missing":
            findings.error(path, f"expected the video of {kind}, found no such file", sequence, _AGAIN)
        elif probe.fault:
            findings.error(path, f"expected the video of {kind}, found {probe.fault}", sequence, probe.help or _AGAIN)
        elif size is not None and probe.size != (size, size):
            found = f"{probe.size[0]} x {probe.size[1]}"
            message = f"expected {size} x {size} pixels, found {found}"
            findings.error(path, message, sequence, "the intrinsics are those of the delivered size")
    if tracking is None or len(findings.errors()) > before:
        return
    counts = {kind: probes[path].packets for kind, path in paths.items()}
    if {*counts.values()} != {len(tracking)}:
        wrong = next((kind for kind, count in counts.items() if count != len(tracking)), "images")
        both = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        findings.error(
            paths[wrong],
            f"expected as many images as rows of {tracking.path.name}, found {both}, {len(tracking)} rows",
            sequence,
            "a download that was interrupted, or files of two versions; download the sequence again",
        )
