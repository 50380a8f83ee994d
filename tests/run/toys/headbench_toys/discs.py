"""ROOT/discs/<subject>/subject.json: {"frames": T, "size": S, "head": tag}; the images are computed."""

import hashlib
import json

import torch

from headbench.harness.errors import DataError
from headbench.harness.plugins import DatasetReader, Problem, Where
from headbench.harness.types import Camera, Frame, HeadParams, Pixels, Subject


class Discs(DatasetReader):
    def subjects(self, root):
        found = {path.parent.name: path.parent for path in sorted((root / "discs").glob("*/subject.json"))}
        if not found:
            raise DataError(f"{root} holds no discs/<subject>/subject.json.")
        return found

    def options(self):
        return {"radius": "of the disc, pixels"}

    def read(self, folder, options):
        text = (folder / "subject.json").read_text()
        values = json.loads(text)
        if "broken" in values:
            raise DataError(f"{folder}: frame 3: the image is missing.", help="bench data check discs")
        radius = float(options.get("radius", values["size"] / 3))
        frames = tuple(_frame(k, values["size"], values["head"], radius) for k in range(values["frames"]))
        split = len(frames) * 2 // 3
        return Subject(
            name=folder.name,
            dataset="discs",
            head=values["head"],
            shape=torch.zeros(1, 4),
            train=frames[:split],
            test=frames[split:],
            fingerprint={"subject": hashlib.sha256(text.encode()).hexdigest()},
        )

    def check(self, folder, options):
        return [] if (folder / "subject.json").is_file() else [Problem("error", Where(folder), "no subject.json")]


def _frame(index, size, head, radius):
    focal = 2.0 * size
    intrinsics = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1.0]])
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    w2c[2, 3] = 1.0
    zero = torch.zeros(1, 3)
    params = HeadParams(head, torch.full((1, 4), 0.1 * (index % 5)), zero, zero, zero, zero, zero, zero)
    return Frame(
        f"{index:05d}",
        Camera(w2c[None], intrinsics[None], size, size),
        params,
        lambda: _pixels(index, size, radius),
        timestep=index,
    )


def _pixels(index, size, radius):
    grid = torch.arange(size) + 0.5 - size / 2
    inside = (grid[:, None] ** 2 + grid[None] ** 2 < radius**2)[None]
    colour = torch.tensor([200, 40 + 30 * (index % 5), 90]).view(3, 1, 1).expand(3, size, size)
    alpha = inside * 255
    return Pixels(colour.to(torch.uint8), alpha.to(torch.uint8), {"mouth": alpha.to(torch.uint8)})
