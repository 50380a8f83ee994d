"""Rows that are gathered at once are those that are gathered one by one."""

from dataclasses import replace

import torch

from headbench.harness.head import load_head
from headbench.harness.train.packed_rows import PackedRows
from headbench.harness.types import Camera, HeadParams, Similarity
from headbench.testing.scene import made_subject


def test_rows_are_those_of_each_tensor_contiguous_and_aligned() -> None:
    frames = made_subject(load_head("openhead"), frames=4).train
    params = HeadParams.join([f.params for f in frames])
    turn = torch.randn(len(frames), 3, 3)
    params = replace(params, similarity=Similarity(torch.rand(len(frames)), turn, torch.rand(len(frames), 3)))
    cameras = Camera.join([f.camera for f in frames])
    for given in (params, replace(params, root=params.root.double())):
        packed = PackedRows({"params": given, "camera": cameras})
        for index in (torch.tensor([2]), torch.tensor([3, 0, 0])):
            found, expected = packed.rows(index), {"params": given.rows(index), "camera": cameras.rows(index)}
            assert found["camera"].width == cameras.width and found["params"].head == params.head
            for kind, names in (
                ("camera", ("w2c", "K")),
                ("params", ("expression", "root", "eye_left", "translation")),
            ):
                for name in names:
                    value = getattr(found[kind], name)
                    assert torch.equal(value, getattr(expected[kind], name)) and value.is_contiguous()
                    assert value.data_ptr() % 16 == 0
            assert torch.equal(found["params"].similarity.R, turn[index])
            assert (found["params"].eyelids is None) == (params.eyelids is None)
