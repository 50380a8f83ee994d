"""ROOT/stage/<person>/person.json: {"frames": T, "size": S, "tracking": version}; two hidden sequences, two cameras."""

import hashlib
import json

import torch

from headbench.harness.errors import DataError
from headbench.harness.plugins import DatasetReader
from headbench.harness.plugins.submissions import HiddenView, SubmissionTask, TakesSubmissions, VideoSlot
from headbench.harness.types import Camera, Frame, HeadParams, Pixels, Similarity, Subject
from headbench_stage.puppet import draw

PEOPLE, SEQUENCES, CAMERAS = ("007", "011"), ("FREE", "EMO+joy"), ("100", "200")
SIZE = 64


class Backstage(DatasetReader):
    def subjects(self, root):
        found = {path.parent.name: path.parent for path in sorted((root / "stage").glob("*/person.json"))}
        if not found:
            raise DataError(f"{root} holds no stage/<person>/person.json.")
        return found

    def read(self, folder, options):
        _, digest = _person(folder)
        params = motion(folder.name, "train", 12)
        frames = tuple(
            Frame(f"{k:03d}", camera("100", SIZE), params.rows(slice(k, k + 1)), _painter(params, k), timestep=k)
            for k in range(12)
        )
        shape = torch.zeros(1, 4)
        prints = {"person": digest}
        return Subject(folder.name, "stage", "openhead", shape, frames[:8], frames[8:], fingerprint=prints)

    def check(self, folder, options):
        return []


class Stage(Backstage, TakesSubmissions):
    def submission(self):
        slots = [VideoSlot(f"{p}/{s}/cam_{c}.mp4", p, s, c) for p in PEOPLE for s in SEQUENCES for c in CAMERAS]
        return SubmissionTask("toy_avatar", "toy benchmark v1", tuple(slots), SIZE, SIZE, 24.3, 14, "v2", quota=2)

    def hidden(self, folder, options):
        values, digest = _person(folder)
        views = []
        for sequence in SEQUENCES:
            params = motion(folder.name, sequence, values["frames"])
            ids = tuple(f"{sequence}_{k:05d}" for k in range(values["frames"]))
            for name in CAMERAS:
                place = camera(name, values["size"])
                views.append(HiddenView(folder.name, sequence, name, ids, place, params, values["tracking"], digest))
        return tuple(views)


def motion(person, sequence, count):
    """A head that sways, nods and speaks: smooth, different for every person and sequence, never symmetric in time."""
    seed = int(hashlib.sha256(f"{person} {sequence}".encode()).hexdigest()[:8], 16)
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(count + 8, 3, generator=generator)
    path = torch.nn.functional.avg_pool1d(steps.T[None], 5, stride=1)[0].T[:count].cumsum(0)
    path = 0.05 * (path - path.mean(0)) / path.std(0)
    zero = torch.zeros(count, 3)
    jaw = torch.cat([4 * path[:, 2:].abs(), torch.zeros(count, 2)], dim=1)
    similarity = Similarity(torch.ones(count), torch.eye(3).expand(count, 3, 3), path * torch.tensor([1.0, 1.0, 0.0]))
    return HeadParams("openhead", torch.zeros(count, 4), zero, zero, jaw, zero, zero, zero, similarity=similarity)


def camera(name, size):
    focal = 2.2 * size
    intrinsics = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[2, 3] = 1.0
    if name == "200":
        w2c[0, 3] = 0.02
    return Camera(w2c[None], intrinsics[None], size, size)


def _person(folder):
    text = (folder / "person.json").read_text()
    return json.loads(text), hashlib.sha256(text.encode()).hexdigest()


def _painter(params, row):
    def paint():
        image, alpha = draw(params.rows(slice(row, row + 1)), camera("100", SIZE), torch.ones(1, 3))
        straight = torch.where(alpha > 0, image, torch.zeros_like(image))
        return Pixels(*((part[0] * 255).round().to(torch.uint8) for part in (straight, alpha)))

    return paint
