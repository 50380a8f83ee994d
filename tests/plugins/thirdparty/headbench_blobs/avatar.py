"""Blobs: colour, opacity and size of Gaussians are learned, their places on the head are not."""

import torch

from headbench.harness.avatar import Avatar, MethodConfig
from headbench.harness.head import face_frames
from headbench.harness.train import GaussianTable
from headbench.harness.types import Gaussians, ParamGroup, PosedAvatar


class BlobsConfig(MethodConfig):
    points: int = 200
    rate: float = 0.05


class Blobs(Avatar):
    config_type = BlobsConfig

    def __init__(self, head, config, seed):
        super().__init__()
        self.head, self.config = head, config
        generator = torch.Generator().manual_seed(seed)
        rows = config.points
        self.table = GaussianTable(
            {
                "colour": torch.full((rows, 3), 0.5),
                "opacity": torch.zeros(rows),
                "size": torch.zeros(rows),
            },
            buffers={"face": torch.randint(len(head.faces), (rows,), generator=generator)},
        ).to(head.faces.device)

    @classmethod
    def create(cls, head, identity, train, config):
        return cls(head.bind(identity), config, train.seed if train else 0)

    def drive(self, params):
        vertices = self.head.vertices(params)
        face, table = self.table["face"], self.table
        frames = face_frames(vertices, self.head.faces)
        rows = len(table)
        gaussians = Gaussians(
            means=frames.centroid[:, face],
            quats=frames.quats()[:, face],
            scales=0.01 * table["size"].exp()[:, None].expand(rows, 3),
            opacities=table["opacity"].sigmoid(),
            colours=table["colour"],
        )
        return PosedAvatar(gaussians, vertices, vertices)

    def losses(self, posed, rendering, batch, clock):
        return {"l1": (rendering.image - batch.image).abs().mean()}

    def param_groups(self):
        return [ParamGroup("look", self.config.rate, columns=("colour", "opacity", "size"))]
