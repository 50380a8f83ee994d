"""Renders and ground truth that `bench score --renders` was given: listed once, read when a protocol scores them."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headbench.harness.cli.score_truth import Folders, named_subject
from headbench.harness.errors import BenchError, DataError
from headbench.harness.reading import kind_at
from headbench.harness.tensors import FLOATS
from headbench.harness.types import TEST

if TYPE_CHECKING:
    from headbench.harness.types import Subject
    from headbench.metrics import GroundTruth, Protocol
    from headbench.metrics.folders import Joined, Listed
    from headbench.metrics.folders_pixels import Checked
    from headbench.metrics.folders_result import FolderScores

__all__ = ["Opened"]


class Opened:
    """Renders and ground truth with their names listed, whose pictures are read when a protocol scores them.

    Args:
        asked: what is compared.
        scratch: an empty folder for pictures that are made on the way.
    """

    def __init__(self, asked: Folders, scratch: Path) -> None:
        self._asked = asked
        self._scratch = scratch
        self._subject = named_subject(asked.truth, asked.data_root, asked.settings)
        videos = [path for path in _places(asked, self._subject) if kind_at(path) == "a file"]
        folders = [path for path in _places(asked, self._subject) if path not in videos]
        if videos and (folders or self._subject is not None):
            other = folders[0] if folders else Path(asked.truth)
            raise BenchError(
                f"{videos[0]} is a file and {other} is none: expected folders of pictures, or videos alone.",
                help=f"ffmpeg -i {videos[0]} FOLDER/%06d.png, then check that both begin with the same frame",
            )
        self._renders = self._list(asked.renders, floats=True)
        self._rendered = _checked(self._renders)
        self._truth = None if self._subject is not None else self._list(Path(asked.truth))
        self._seen = _checked(self._truth) if self._truth is not None else None
        self._alpha = self._list(asked.alpha) if asked.alpha is not None else None
        self._refuse_odd_alpha()

    def attempt(
        self, protocol: Protocol, device: str, nets: Collection[str] | None, everything: bool
    ) -> FolderScores | str:
        """Score by one protocol, or say why it does not fit.

        Args:
            protocol: protocol to score by.
            device: where to score, such as cpu or cuda.
            nets: LPIPS networks to compute; None means all that are worth their time on the device.
            everything: whether all protocols are tried.

        Raises:
            BenchError: nothing belongs together, or a picture is damaged or of another size.
        """
        reason = self._unfit(protocol, everything)
        if reason:
            return reason
        result = self._score(protocol, device, nets)
        return result if result.scores.frames else result.lacking()

    def _unfit(self, protocol: Protocol, everything: bool) -> str:
        """Say why a protocol cannot score what was asked for; empty where it can.

        Args:
            protocol: protocol to score by.
            everything: whether all protocols are tried; then one that needs what only the user knows does not fit.
        """
        if everything and protocol.test_time_tracking is not None:
            return "it is for renders of tracked test frames, which pictures do not show; name it if they are"
        if protocol.save == "none" and not self._renders.floats:
            return "it scores float renders (.safetensors with a tensor image), which pictures of 8 bit are not"
        if not protocol.floats and not self._renders.files:
            return "it scores pictures of 8 bit, and the renders are floats alone"
        if protocol.views != TEST and self._subject is None:
            return f"it scores {protocol.views} views, which a dataset's subject has: --truth DATASET/SUBJECT"
        if self._subject is not None and not self._subject.showing(protocol.views).test:
            return f"{self._asked.truth} has no {protocol.views} views"
        if everything and self._subject is not None:
            try:
                self._joined([frame.id for frame in self._subject.showing(protocol.views).test])
            except BenchError as error:
                if protocol.views != TEST:
                    return f"{self._asked.renders} has no names of the {protocol.views} views of {self._asked.truth}"
                return str(error.args[0]).rstrip(".")
        return ""

    def _score(self, protocol: Protocol, device: str, nets: Collection[str] | None) -> FolderScores:
        from headbench.harness.cli.scoring import needs_of_protocol
        from headbench.harness.device import device_label, resolve_device
        from headbench.metrics import column_of, score_frames
        from headbench.metrics.choose import find
        from headbench.metrics.folders_result import FolderScores
        from headbench.metrics.keys import split_key

        where = resolve_device(device)
        if self._subject is not None:
            from headbench.harness.cli.truth import ground_truth

            shown = self._subject.showing(protocol.views)
            joined = self._joined([frame.id for frame in shown.test])
            truth = ground_truth(shown, where, needs_of_protocol(protocol))
        else:
            joined, truth = self._of_folder
        paths, notes = self._rendered_for(protocol, joined, truth)
        scores = score_frames(paths, truth, protocol, where, nets=nets)
        return FolderScores(
            dataclasses.replace(scores, device=device_label(where)),
            [column_of(spec, split_key(key)[1]) for key, spec in find(protocol)],
            joined,
            self._named(),
            [*self._notes(protocol, truth), *notes],
        )

    def _rendered_for(
        self, protocol: Protocol, joined: Joined, truth: GroundTruth
    ) -> tuple[dict[str, Path], list[str]]:
        """Files of the renders as a protocol takes them, by frame id, and what a reader should know of them.

        Args:
            protocol: says whether floats are scored, and on which background.
            joined: which render belongs to which frame.
            truth: ground truth of the frames.
        """
        from headbench.metrics.folders_pixels import background_notes, composited, shift_notes

        floats = protocol.floats and bool(self._renders.floats)
        kept = self._renders.floats if floats else self._renders.files
        lacking = next((render for render in joined.pairs.values() if render not in kept), None)
        if lacking is not None:
            raise DataError(f"{self._asked.renders} has no {FLOATS} of {lacking}, as it has of other frames.")
        paths = {name: kept[render] for name, render in joined.pairs.items()}
        if floats:
            return paths, []
        notes = [f"renders of 8 bit are taken as {protocol.label} makes them of floats"] if protocol.floats else []
        if self._rendered.alpha:
            paths = composited(paths, protocol, Path(tempfile.mkdtemp(dir=self._scratch)))
            return paths, [*notes, *shift_notes(paths, truth, protocol)]
        first = next(iter(paths))
        notes += background_notes(paths[first], truth.pixels(first), protocol) if truth.has_alpha else []
        return paths, [*notes, *shift_notes(paths, truth, protocol)]

    @functools.cached_property
    def _of_folder(self) -> tuple[Joined, GroundTruth]:
        """Ground truth of a folder joined with the renders, made once for all protocols."""
        from headbench.metrics.folders import join_names
        from headbench.metrics.folders_pixels import check_alpha, folder_truth, same_sizes

        assert self._truth is not None and self._seen is not None
        joined = self._joined(list(self._truth.files))
        one, other = (str(self._renders.place), self._rendered), (str(self._truth.place), self._seen)
        pairs = [(render, name) for name, render in joined.pairs.items() if render in self._renders.files]
        same_sizes(pairs, one, other, ("render", "ground truth"))
        files = {name: self._truth.files[name] for name in joined.pairs}
        alpha = None
        if self._alpha is not None:
            mattes = join_names(self._alpha.files, list(files), (str(self._alpha.place), str(self._truth.place)))
            if mattes.truth_alone:
                raise DataError(
                    f"{self._alpha.place} has no alpha for {mattes.truth_alone[0]} of {self._truth.place} "
                    f"({len(mattes.truth_alone)} of {len(files)} frames lack it)."
                )
            alpha = {name: self._alpha.files[matte] for name, matte in mattes.pairs.items()}
            third = str(self._alpha.place), check_alpha({mattes.pairs[name]: path for name, path in alpha.items()})
            same_sizes([(matte, name) for name, matte in mattes.pairs.items()], third, other, ("alpha", "picture"))
        made = folder_truth(files, alpha, self._seen.alpha)
        return joined, made

    def _joined(self, names: Sequence[str]) -> Joined:
        from headbench.metrics.folders import join_names

        return join_names(self._renders.names, names, (str(self._asked.renders), self._asked.truth))

    def _list(self, place: Path, floats: bool = False) -> Listed:
        """Pictures of a folder, or the images of a video, which are decoded into the scratch folder.

        Args:
            place: folder or video.
            floats: list float renders, too.
        """
        from headbench.metrics.folders import Listed, list_pictures
        from headbench.metrics.folders_pixels import images_of_video

        if kind_at(place) != "a file":
            return list_pictures(place, floats)
        return Listed(place, images_of_video(place, Path(tempfile.mkdtemp(dir=self._scratch))))

    def _refuse_odd_alpha(self) -> None:
        """Refuse alpha in one of the two alone, and ground truth with two."""
        known = self._subject is not None or self._alpha is not None or (self._seen is not None and self._seen.alpha)
        if self._rendered.alpha and not known:
            raise DataError(
                f"The renders of {self._asked.renders} have alpha and the ground truth of {self._asked.truth} has "
                f"none, so that nobody knows what lies behind the person in the one and not in the other.",
                help="name the ground truth's mattes with --alpha FOLDER, or write the renders without alpha",
            )
        if self._alpha is not None and (self._subject is not None or (self._seen is not None and self._seen.alpha)):
            raise DataError(
                f"{self._asked.truth} has alpha of its own, and --alpha names another.", help="leave out --alpha"
            )

    def _notes(self, protocol: Protocol, truth: GroundTruth) -> list[str]:
        """Sentences on what the numbers depend on and the pictures do not show."""
        from headbench.metrics.folders_pixels import rate_notes

        notes = []
        for listed in (self._renders, self._truth, self._alpha):
            if listed is not None and listed.ignored:
                from headbench.metrics.folders import some

                notes.append(
                    f"{listed.place}: {len(listed.ignored)} other entries are not read: {some(listed.ignored)}"
                )
        if kind_at(self._asked.renders) == "a file":
            notes += rate_notes(self._asked.renders, Path(self._asked.truth))
        if not truth.has_alpha:
            notes.append("the ground truth has no alpha: pictures are compared as they are, on whatever background")
        if protocol.test_time_tracking is not None:
            notes.append(
                f"{protocol.label} is for renders of tracked test frames; whether these are is for you to know"
            )
        return notes

    def _named(self) -> dict[str, str]:
        places = {"renders": str(self._asked.renders), "truth": self._asked.truth}
        return places | ({"alpha": str(self._asked.alpha)} if self._asked.alpha is not None else {})


def _checked(listed: Listed) -> Checked:
    """Headers of the pictures; of float renders alone nothing is known yet."""
    from headbench.metrics.folders_pixels import Checked, check_pictures

    return check_pictures(listed.files) if listed.files else Checked({}, False)


def _places(asked: Folders, subject: Subject | None) -> list[Path]:
    """Paths that were named as pictures."""
    truth = [] if subject is not None else [Path(asked.truth)]
    return [asked.renders, *truth, *([asked.alpha] if asked.alpha is not None else [])]
