"""Each check fails for a toy that does what the check forbids, and says what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from isolation import plugged

from headbench.harness.cli.plugins import plugins
from headbench.harness.errors import BenchError
from headbench.harness.plugins import DatasetSpec, MethodSpec, Registry, Source, hookimpl
from headbench.testing import DATASET_CHECKS, METHOD_CHECKS, NonConforming, check_dataset, check_method

AVATARS = """
import gc
import numpy as np
import torch
from headbench.harness.avatar import Avatar, MethodConfig
from headbench.harness.blocks.surface import measuring, nearest
from headbench.harness.head import face_frames
from headbench.harness.surface import OnSurface
from headbench.harness.train import GaussianTable
from headbench.harness.types import PosedAvatar, Edit, Event, Frame, Gaussians, HeadParams, ParamGroup
from dataclasses import replace


class Good(Avatar):
    config_type = MethodConfig

    def __init__(self, head):
        super().__init__()
        self.head = head
        rows = len(range(0, len(head.faces), 40))
        columns = {"colour": torch.full((rows, 3), 0.5), "opacity": torch.zeros(rows), "size": torch.zeros(rows)}
        self.table = GaussianTable(columns, buffers={"face": torch.arange(rows) * 40})

    @classmethod
    def create(cls, head, identity, train, config):
        return cls(head.bind(identity))

    def drive(self, params):
        vertices = self.head.vertices(params)
        frames, face = face_frames(vertices, self.head.faces), self.table["face"]
        scales = 2 * frames.size[:, face, None] * self.table["size"].exp()[:, None]
        look = self.table["opacity"].sigmoid(), self.table["colour"]
        gaussians = Gaussians(frames.centroid[:, face], frames.quats()[:, face], scales.expand(-1, -1, 3), *look)
        return PosedAvatar(gaussians, vertices, vertices)

    def losses(self, drive, splat, batch, clock):
        return {"l1": (splat.image - batch.image).abs().mean()}

    def param_groups(self):
        return [ParamGroup("look", 0.02, columns=("colour", "opacity", "size"))]

    def edit(self, event, splat, clock):
        return Edit(keep=self.table["face"] > 40 * clock.epoch) if event is Event.EPOCH_END else None

    def capture_key(self, clock):
        return 0


class Unseeded(Good):
    def __init__(self, head):
        super().__init__(head)
        self.table["size"].data += float(np.random.default_rng().random())


class Still(Good):
    def drive(self, params):
        return super().drive(replace(params, similarity=None))


class Carried(Good, OnSurface):
    def carrier(self, params):
        return self.head.vertices(params)

    def surface(self):
        params = HeadParams(self.head.tag, torch.zeros(1, 4), *[torch.zeros(1, 3)] * 6)
        with measuring(self):
            posed = self.drive(params)
        return nearest(posed.gaussians, self.table["opacity"].detach(), posed.vertices[0], self.head)


class Dropped(Carried):
    def carrier(self, params):
        return super().carrier(replace(params, similarity=None))


class Lifted(Carried):
    def surface(self):
        surface = super().surface()
        return replace(surface, offset=surface.offset + 0.01)


class NaN(Good):
    def losses(self, drive, splat, batch, clock):
        return {"l1": (splat.image - batch.image).abs().mean() / (clock.step - 4)}


class Backwards(Good):
    def losses(self, drive, splat, batch, clock):
        return {"l1": -(splat.image - batch.image).abs().mean()}


class OneImage(Good):
    def losses(self, drive, splat, batch, clock):
        return {"l1": (splat.image - batch.image).abs().mean() * batch.alpha.reshape(1, 32, 32).mean().sign()}


class Emptied(Good):
    def edit(self, event, splat, clock):
        return Edit(keep=torch.zeros_like(self.table["face"]) > 0) if event is Event.EPOCH_END else None


class Unreached(Good):
    def drive(self, params):
        drive = super().drive(params)
        return replace(drive, gaussians=replace(drive.gaussians, colours=self.table["colour"].detach()))


class Frozen(Unreached):
    def param_groups(self):
        rest = ParamGroup("look", 0.02, columns=("opacity", "size"))
        return [rest, ParamGroup("colour", 0.0, columns=("colour",))]


class Counting(Good):
    steps = 0

    def losses(self, drive, splat, batch, clock):
        self.steps += 1
        return {"l1": (splat.image - batch.image).abs().mean() * self.steps ** 2}


class Seen(Good):
    def spare_row(self):
        return {}


class Averaged(Good):
    def losses(self, drive, splat, batch, clock):
        terms = super().losses(drive, splat, batch, clock)
        return {**terms, "size": self.table["size"].detach().square().mean()}

    def spare_row(self):
        return {"opacity": torch.tensor(-20.0), "size": torch.tensor(-5.0)}


class Unsaved(Good):
    glow = 0.0

    def edit(self, event, splat, clock):
        self.glow = 0.3
        return None

    def drive(self, params):
        drive = super().drive(params)
        return replace(drive, gaussians=replace(drive.gaussians, colours=drive.gaussians.colours + self.glow))


class Shrinks(Good):
    def resize_for(self, shapes):
        pass


class Thief(Good):
    def losses(self, drive, splat, batch, clock):
        seen = gc.get_objects() if clock.step == 1 else []
        for frame in [each for each in seen if type(each) is Frame and each.id == "00003"]:
            try:
                frame.pixels()
            except Exception:
                pass
        return super().losses(drive, splat, batch, clock)


class FiftyTwo(Good):
    def drive(self, params):
        assert params.expression.shape[1] == 52
        return super().drive(params)


class InstaOnly(Good):
    def losses(self, drive, splat, batch, clock):
        if not batch.params.root.any() and batch.image.shape[-1] == 48:
            raise ValueError("the root turns")
        return super().losses(drive, splat, batch, clock)
"""
READERS = """
import uuid
from dataclasses import replace
from headbench.datasets.insta.reader import InstaReader
from headbench.harness.errors import DataError


class Good(InstaReader):
    pass


class Blind(Good):
    def subjects(self, root):
        return {path.name: path for path in root.iterdir()}


class Twice(Good):
    def read(self, folder, options):
        subject = super().read(folder, options)
        return replace(subject, test=subject.train[:1])


class Eager(Good):
    def read(self, folder, options):
        subject = super().read(folder, options)
        held = [(frame, frame.pixels()) for frame in subject.test]
        return replace(subject, test=tuple(replace(frame, pixels=lambda p=p: p) for frame, p in held))


class Fickle(Good):
    def read(self, folder, options):
        return replace(super().read(folder, options), fingerprint={"all": uuid.uuid4().hex * 2})


class Deaf(Good):
    def read(self, folder, options):
        return super().read(folder, {})

    def check(self, folder, options):
        return super().check(folder, {})


class Quiet(Good):
    def check(self, folder, options):
        return [p for p in super().check(folder, options) if p.severity != "error"]


class Raw(Good):
    def read(self, folder, options):
        (folder / "transforms_train.json").read_text().index("frames")
        return super().read(folder, options)
"""
METHODS = {
    "create": ("Unseeded", "create() to depend on the seed alone, found other values of table.size"),
    "drive": ("Still", "Gaussians to follow the global similarity"),
    "surface": ("Dropped", "expected carrier() to be the vertices of drive(), found some 0.1 m beside them"),
    "step": ("NaN", "expected finite losses, found NaN or infinity in step 4"),
    "batch": ("OneImage", "expected no exception, found RuntimeError"),
    "edit": ("Emptied", "check edit"),
    "gradient": ("Unreached", "a gradient in every group whose rate is above 0, found none in look/colour"),
    "recorded": ("Counting", "as by plain steps, found other values"),
    "resume": ("Counting", "of a resumed training as of one that was left alone, found other values"),
    "load": ("Shrinks", "check load: expected no error"),
    "test images": ("Thief", "no test image to be opened in training and rendering, found that of frame 00003"),
    "heads": ("FiftyTwo", "expected no exception, found AssertionError (toy_avatars.py, line "),
    "layouts": ("InstaOnly", "found ValueError: the root turns (toy_avatars.py, line "),
}
DATASETS = {
    "subjects": ("Blind", "expected synth00 to be found from the data root, found toyset"),
    "read": ("Twice", "expected unique frame ids, found 1 twice"),
    "pixels": ("Eager", "to be read when it is asked for, found one from memory"),
    "fingerprint": ("Fickle", "expected the same fingerprint again, found another"),
    "options": ("Deaf", "expected an unknown option to be refused by its name, found no error"),
    "damage": ("Quiet", "expected check() to find what read() refuses ("),
}


@pytest.fixture(scope="module", autouse=True)
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The modules toy_avatars and toy_readers, and a preset."""
    folder = tmp_path_factory.mktemp("toys")
    (folder / "toy_avatars.py").write_text(AVATARS)
    sample = (
        "\n\ndef sample(root):\n"
        "    from headbench.datasets.synthetic.samples import insta\n"
        "    insta(root)\n"
        "    (root / 'insta').rename(root / 'toyset')\n"
    )
    (folder / "toy_readers.py").write_text(READERS + sample)
    package = folder / "toy_presets"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "demo.yaml").write_text("train: {epochs: 90, batch: 4, background: white}\n")
    with plugged(folder):
        yield


def method(name: str) -> MethodSpec:
    return MethodSpec(name, f"toy_avatars:{name}", {"demo": "toy_presets:demo.yaml"}, "demo")


def dataset(name: str) -> DatasetSpec:
    return DatasetSpec("toyset", f"toy_readers:{name}", provides=frozenset({"mouth"}), sample="toy_readers:sample")


@pytest.mark.slow
def test_a_stranger_s_method_without_a_tiny_preset_conforms() -> None:
    outcomes = check_method(method("Good"))
    assert [outcome.check for outcome in outcomes] == list(METHOD_CHECKS)
    notes = {outcome.check: outcome.note for outcome in outcomes}
    assert notes["edit"] == "3 edits, 204 to 200 Gaussians" and notes["resume"] == "from step 4 of 9"
    assert notes["surface"] == "no carrier"
    assert [outcome.note for outcome in check_method(method("Carried"), only=["surface"])] == [""]
    assert check_method(method("Frozen"), only=["gradient"])[0].note == "2 groups, frozen: colour"


@pytest.mark.parametrize(
    "check", [pytest.param(c, marks=pytest.mark.slow) if c == "layouts" else c for c in METHOD_CHECKS]
)
def test_a_method_s_fault_is_found_by_its_check(check: str) -> None:
    toy, words = METHODS[check]
    with pytest.raises(NonConforming) as caught:
        check_method(method(toy), only=[check])
    text = str(caught.value)
    assert text.startswith(f"method {toy}: check {check}: expected ") and words in text and "\n" not in text
    assert (caught.value.subject, caught.value.check) == (f"method {toy}", check)


@pytest.mark.parametrize(
    ("toy", "check", "words"),
    [
        ("Backwards", "step", "renders of training frames to come nearer to their images"),
        ("Lifted", "surface", "within 0.002 m of those of drive.., found a median of 0.01 m"),
        ("Unsaved", "load", "to show the same, found another picture"),
        ("Seen", "recorded", "no gradient of table.colour in spare rows, found some"),
        ("Averaged", "recorded", "loss size with spare rows as without, found other values"),
    ],
)
def test_further_faults_of_methods_are_found(toy: str, check: str, words: str) -> None:
    with pytest.raises(NonConforming, match=words):
        check_method(method(toy), only=[check])


@pytest.mark.parametrize("check", DATASET_CHECKS)
def test_a_dataset_s_fault_is_found_by_its_check(check: str) -> None:
    toy, words = DATASETS[check]
    with pytest.raises(NonConforming) as caught:
        check_dataset(dataset(toy), only=[check])
    text = str(caught.value)
    assert text.startswith(f"dataset toyset: check {check}: expected ") and words in text and "\n" not in text


def test_what_a_library_says_of_a_damaged_file_is_a_fault() -> None:
    with pytest.raises(NonConforming, match=r"check damage: expected no exception, found (Value|FileNot|IsADir)"):
        check_dataset(dataset("Raw"), only=["damage"])


def test_unknown_checks_presets_and_missing_samples_are_errors() -> None:
    with pytest.raises(BenchError, match=r"Unknown check 'resmue'.*'resume'"):
        check_method(method("Good"), only=["resmue"])
    with pytest.raises(BenchError, match=r"Unknown preset 'dmeo'.*Did you mean 'demo'"):
        check_method(method("Good"), "dmeo")
    with pytest.raises(NonConforming, match=r"check loading: expected no error, found .*AttributeError"):
        check_method(method("Absent"))
    with pytest.raises(NonConforming, match="a sample in its DatasetSpec"):
        check_dataset(DatasetSpec("toyset", "toy_readers:Good"))


def bench(monkeypatch: pytest.MonkeyPatch, *arguments: str, absent: bool = False) -> tuple[int, list[str], str]:
    """Exit code, lines and errors of `bench plugins` where two methods and a dataset are installed.

    Args:
        absent: whether a method whose class is not there is, too.
    """

    class Toys:
        @hookimpl
        def register_methods(self, register) -> None:  # type: ignore[no-untyped-def]
            register(method("Good"))
            register(method("NaN"))
            if absent:
                register(method("Absent"))

        @hookimpl
        def register_datasets(self, register) -> None:  # type: ignore[no-untyped-def]
            register(DatasetSpec("bare", "toy_readers:Good"))

    made = Registry([Source("toys", Toys, "toys 1.0")])
    monkeypatch.setattr("headbench.harness.plugins.registry", lambda: made)
    monkeypatch.setattr("headbench.testing.methods.CHECKS", {n: METHOD_CHECKS[n] for n in ("create", "step", "edit")})
    done = CliRunner().invoke(plugins, arguments)
    return done.exit_code, done.stdout.splitlines(), str(done.exception)


@pytest.mark.slow
def test_bench_plugins_tells_each_check_on_a_line_and_goes_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    code, lines, _ = bench(monkeypatch, "--check", "--train", absent=True)
    assert code == 2, "there is a problem, too"
    assert lines[3:] == [
        "method Good: create: ok (204 Gaussians)",
        lines[4],
        "method Good: edit: ok (3 edits, 204 to 200 Gaussians)",
        "method NaN: create: ok (204 Gaussians)",
        "method NaN: step: FAILED: expected finite losses, found NaN or infinity in step 4",
        lines[8],
        "method Absent: not tried: it cannot be loaded",
        "dataset bare: not tried: its DatasetSpec names no sample",
    ]
    assert lines[4].startswith("method Good: step: ok (9 steps")
    assert bench(monkeypatch, "--check", "--train", "nan")[0] == 1, "a check failed"
    code, lines, _ = bench(monkeypatch, "--check", "--train", "good")
    assert code == 0 and lines[-1].endswith("no problem found") and len(lines) == 7


def test_names_that_bench_plugins_cannot_try_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "NAMES go with --train, and --train with --check" in bench(monkeypatch, "--train")[2]
    assert "NAMES go with --train, and --train with --check" in bench(monkeypatch, "--check", "good")[2]
    assert "Unknown method 'goood'. Did you mean 'Good'" in bench(monkeypatch, "--check", "--train", "goood")[2]
