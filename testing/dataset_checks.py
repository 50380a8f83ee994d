"""Checks of a dataset's reader, each a function of a `Sample` that returns a note."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from headbench.harness.errors import BenchError, DataError
from headbench.harness.head import TAGS, load_head, project
from headbench.harness.plugins import DatasetReader
from headbench.harness.plugins.specs import DatasetSpec
from headbench.harness.problems import Problem
from headbench.harness.train import identity_of
from headbench.harness.types import Frame, Pixels, Subject
from headbench.testing.failure import require
from headbench.testing.foreign import FOREIGN
from headbench.testing.samples import write_sample

__all__ = ["CHECKS", "Sample"]

_ON_HEAD = 0.5
"""Least share of the posed head's vertices that must lie on pixels of the person."""


@dataclass
class Sample:
    """A dataset with the synthetic subject that its plugin writes."""

    spec: DatasetSpec
    reader: DatasetReader
    scratch: Path
    """An empty folder."""

    @cached_property
    def root(self) -> Path:
        """The data root: the sample lies below ``root/<dataset>``. Read only."""
        place = self.scratch / "D"
        place.mkdir()
        write_sample(self.spec, place)
        require(
            (place / self.spec.name).is_dir(), f"the sample to write D/{self.spec.name}/<subject>", "no such folder"
        )
        return place

    @cached_property
    def folder(self) -> Path:
        """The subject's folder. Read only."""
        found = self.reader.subjects(self.root / self.spec.name)
        require(len(found) >= 1, "a subject in the sample", "none")
        return next(iter(found.values()))

    @cached_property
    def subject(self) -> Subject:
        """The sample as its reader returns it."""
        return self.reader.read(self.folder, {})

    def copy(self, name: str) -> tuple[Path, Path]:
        """Copy the data root to the scratch folder as `name`, so that it may be damaged: (root, subject's folder)."""
        place = self.scratch / name
        shutil.copytree(self.root, place)
        return place, place / self.folder.relative_to(self.root)


def check_subjects(sample: Sample) -> str:
    """Check that subjects are found from data root, dataset's folder and their own; an empty folder is refused."""
    name, folder = sample.spec.name, sample.folder
    for what, root in (
        ("data root", sample.root),
        ("dataset's folder", sample.root / name),
        ("subject's folder", folder),
    ):
        found = sample.reader.subjects(root)
        here = any(path.resolve() == folder.resolve() for path in found.values())
        require(here, f"{folder.name} to be found from the {what}", f"{', '.join(found) or 'nothing'}")
    empty = sample.scratch / "empty"
    empty.mkdir()
    refusal = _refusal(lambda: sample.reader.subjects(empty))
    require(refusal is not None, "an empty folder to be refused", "no error")
    return ""


def check_read(sample: Sample) -> str:
    """Check that the sample is read without errors, and that frames have unique ids and follow the conventions."""
    subject = sample.subject
    frames = subject.train + subject.test
    require(
        bool(subject.train) and bool(subject.test),
        "training and test frames",
        f"{len(subject.train)} and {len(subject.test)}",
    )
    ids = [frame.id for frame in frames]
    require(len(set(ids)) == len(ids), "unique frame ids", f"{len(ids) - len(set(ids))} twice")
    require(subject.head in TAGS, f"a head of {', '.join(TAGS)}", subject.head)
    for frame in frames:
        _conventional(frame, subject)
    errors = _errors(sample.reader.check(sample.folder, {}))
    require(not errors, "no errors in the sample", errors[0].text() if errors else "")
    return f"{len(subject.train)} training and {len(subject.test)} test frames"


def _conventional(frame: Frame, subject: Subject) -> None:
    params, camera = frame.params, frame.camera
    require(params.head == subject.head, f"frame {frame.id} on head {subject.head}", params.head)
    for name in ("root", "neck", "jaw", "eye_left", "eye_right", "translation"):
        value = getattr(params, name)
        fine = tuple(value.shape) == (1, 3) and bool(torch.isfinite(value).all())
        require(fine, f"frame {frame.id}: {name} (1, 3), finite", f"shape {tuple(value.shape)}")
    require(tuple(camera.w2c.shape) == (1, 4, 4), f"frame {frame.id}: w2c (1, 4, 4)", f"{tuple(camera.w2c.shape)}")
    turn = camera.w2c[0, :3, :3]
    off = float((turn @ turn.T - torch.eye(3)).abs().max())
    require(off < 1e-3 and float(torch.det(turn)) > 0, f"frame {frame.id}: a rotation in w2c", f"{off:.2g} off")
    fine = bool((camera.K[0].diagonal() > 0).all()) and camera.width > 0 and camera.height > 0
    require(fine, f"frame {frame.id}: positive focal lengths and sizes", f"{camera.K[0].tolist()}")


def check_pixels(sample: Sample) -> str:
    """Check that images are read when they are asked for, fit their cameras, and show the head where its mesh is."""
    place, folder = sample.copy("moved")
    subject = sample.reader.read(folder, {})
    gone = place.with_name("moved-away")
    place.rename(gone)
    for frame in (subject.train[0], subject.test[0]):
        refusal = _refusal(frame.pixels)
        require(
            refusal is not None, f"the image of frame {frame.id} to be read when it is asked for", "one from memory"
        )
        assert refusal is not None
        require(_named(frame, folder, refusal), f"a refusal that names frame {frame.id} or its file", refusal)
    gone.rename(place)
    names: set[str] = set()
    for frame in (subject.train[0], subject.test[0]):
        pixels = frame.pixels()
        names |= set(pixels.masks)
        _fits(frame, pixels)
    strange = sorted(names - sample.spec.provides)
    require(not strange, f"masks of {', '.join(sorted(sample.spec.provides)) or 'no name'}", ", ".join(strange))
    share = _on_head(subject, subject.train[0])
    require(share > _ON_HEAD, f"more than {_ON_HEAD:.0%} of the head's vertices on the person", f"{share:.0%}")
    return f"{share:.0%} of the head's vertices on the person"


def _fits(frame: Frame, pixels: Pixels) -> None:
    size = (frame.camera.height, frame.camera.width)
    planes = {"colour": (pixels.colour, 3), "alpha": (pixels.alpha, 1)}
    planes |= {name: (mask, 1) for name, mask in pixels.masks.items()}
    for name, (plane, channels) in planes.items():
        fine = tuple(plane.shape) == (channels, *size) and plane.dtype == torch.uint8
        require(
            fine,
            f"frame {frame.id}: {name} ({channels}, {size[0]}, {size[1]}) uint8",
            f"{tuple(plane.shape)} {plane.dtype}",
        )


def _on_head(subject: Subject, frame: Frame) -> float:
    """Share of the posed mesh's vertices that project to opaque pixels."""
    with torch.no_grad():
        vertices = load_head(subject.head).bind(identity_of(subject)).vertices(frame.params)
        points, _ = project(vertices, frame.camera)
    column, row = points[0].long().unbind(-1)
    inside = (column >= 0) & (column < frame.camera.width) & (row >= 0) & (row < frame.camera.height)
    alpha = frame.pixels().alpha[0]
    return float((alpha[row[inside], column[inside]] > 127).sum()) / len(points[0])


def check_fingerprint(sample: Sample) -> str:
    """Check that the fingerprint holds digests, the same at each reading and wherever the folder lies."""
    found = sample.subject.fingerprint
    wrong = [name for name, text in found.items() if not re.fullmatch(r"[0-9a-f]{16,}", text)]
    others = f"other texts at {', '.join(wrong[:3])}" if wrong else "nothing"
    require(bool(found) and not wrong, "digests of what was read", others)
    require(sample.reader.read(sample.folder, {}).fingerprint == found, "the same fingerprint again", "another")
    _, folder = sample.copy("elsewhere")
    require(sample.reader.read(folder, {}).fingerprint == found, "the same fingerprint of a copy", "another")
    return f"{len(found)} digests"


def check_options(sample: Sample) -> str:
    """Check that options are explained, and that an unknown one is refused by its name."""
    options = sample.reader.options()
    silent = [name for name, text in options.items() if not text.strip()]
    require(not silent, "a sentence for every option", f"none for {', '.join(silent)}")
    for doing in (sample.reader.read, sample.reader.check):
        refusal = _refusal(lambda doing=doing: doing(sample.folder, {"no-such-option": "1"}))  # type: ignore[misc]
        if refusal is None and doing == sample.reader.check:
            continue  # problems may be reported instead
        require(
            refusal is not None and "no-such-option" in refusal,
            "an unknown option to be refused by its name",
            refusal or "no error",
        )
    return ", ".join(options)


DAMAGES: Mapping[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "other bytes": lambda path: path.write_bytes(b"\x93hello\xff\x00" * 9),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: _folder(path),
}
"""Damages by name, each a function that damages a file."""


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def check_damage(sample: Sample) -> str:
    """Check damaged files, one of each kind in two ways: they are read, or refused in one sentence of the reader's."""
    _, folder = sample.copy("damaged")
    tried, ways = 0, list(DAMAGES)
    for number, path in enumerate(_files(folder)):
        whole = path.read_bytes()
        for damage in (ways[(2 * number + k) % len(ways)] for k in range(2)):
            DAMAGES[damage](path)
            _sound(sample, folder, f"{path.relative_to(folder)} {damage}")
            tried += 1
            if path.is_dir():
                path.rmdir()
            path.write_bytes(whole)
    return f"{tried} damages"


def _files(folder: Path) -> list[Path]:
    """The first file of each kind in a folder; names that differ in numbers alone are of one kind."""
    found: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.setdefault(re.sub(r"[0-9]+", "#", f"{path.parent.name}/{path.name}"), path)
    return [path for path in found.values() if "truth" not in path.relative_to(folder).parts]


def _sound(sample: Sample, folder: Path, what: str) -> None:
    """Check that a folder that may be damaged is read, or refused in plain words that name the frame or its file."""
    try:
        problems = sample.reader.check(folder, {})
    except BenchError as error:
        problems = None
        _sentence(error, what)
    for problem in problems or ():
        foreign = FOREIGN.search(problem.line())
        require(foreign is None, f"words of the dataset's own about {what}", problem.text())
    try:
        subject = sample.reader.read(folder, {})
    except DataError as error:
        _sentence(error, what)
        reported = problems is None or bool(_errors(problems))
        require(reported, f"check() to find what read() refuses ({what})", "no error")
        return
    for frame in _some(subject):
        refused = _refusal(frame.pixels)
        if refused is not None:
            require(
                _named(frame, folder, refused), f"a refusal that names frame {frame.id} or its file ({what})", refused
            )
            require(FOREIGN.search(refused) is None, f"words of the dataset's own about {what}", refused)


def _some(subject: Subject) -> Iterator[Frame]:
    yield from subject.train[:1]
    yield from subject.test[:1]


def _sentence(error: BenchError, what: str) -> None:
    text = str(error.args[0])
    require("\n" not in text.strip(), f"one line about {what}", text)
    require(FOREIGN.search(text) is None, f"words of the dataset's own about {what}", text)


def _refusal(action: Callable[[], object]) -> str | None:
    """Message of the BenchError that an action raises; None where it raises none."""
    try:
        action()
    except BenchError as error:
        return str(error.args[0])
    return None


def _named(frame: Frame, folder: Path, refusal: str) -> bool:
    return frame.id in refusal or f"{folder}/" in refusal


def _errors(problems: list[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity == "error"]


CHECKS: dict[str, Callable[[Sample], str]] = {
    "subjects": check_subjects,
    "read": check_read,
    "pixels": check_pixels,
    "fingerprint": check_fingerprint,
    "options": check_options,
    "damage": check_damage,
}
"""Checks of a dataset by name, in the order in which they run."""
