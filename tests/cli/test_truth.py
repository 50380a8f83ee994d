"""What metrics are told of a subject: its sequences, and its tracked head in the image."""

from __future__ import annotations

import torch

from headbench.harness.cli.truth import ground_truth
from headbench.harness.head import load_head, project
from headbench.harness.types import Camera, Frame, HeadParams, Pixels, Subject

SIZE = 16


def frame(name: str, sequence: str = "", camera: str = "0", shift: float = 0.0) -> Frame:
    w2c = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))[None].clone()
    w2c[:, 0, 3], w2c[:, 2, 3] = shift, 1.0
    seen = Camera(w2c, torch.tensor([[[32.0, 0, SIZE / 2], [0, 32.0, SIZE / 2], [0, 0, 1]]]), SIZE, SIZE)
    zero = torch.zeros(1, 3)
    params = HeadParams("openhead", torch.zeros(1, 4), zero, zero, zero, zero, zero, zero)
    return Frame(name, seen, params, lambda: Pixels(*made()), sequence, camera_id=camera)


def made() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(3, SIZE, SIZE, dtype=torch.uint8), torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)


def subject(*test: Frame) -> Subject:
    return Subject("made", "none", "openhead", torch.zeros(1, 4), (frame("t"),), test)


def test_what_one_camera_saw_of_a_sequence_is_a_sequence() -> None:
    one = ground_truth(subject(frame("a", "smile"), frame("b", "talk"), frame("c")), torch.device("cpu"))
    assert [one.sequence(name) for name in "abc"] == ["smile", "talk", "all"]
    frames = (frame("a", "smile", "left"), frame("b", "smile", "right"), frame("c", "a\x1b[2Jb", "left"))
    several = ground_truth(subject(*frames), torch.device("cpu"))
    assert [several.sequence(name) for name in "abc"] == [
        *("smile, camera left", "smile, camera right", "a\\x1b[2Jb, camera left")
    ]


def test_the_tracked_head_is_projected_frame_by_frame() -> None:
    frames = (frame("a"), frame("b", shift=0.125))
    head = ground_truth(subject(*frames), torch.device("cpu")).head
    assert head is not None
    found = head()(["b", "a"])
    model = load_head("openhead", "open")
    assert found.vertices.shape == (2, len(model.template), 2) and (found.width, found.height) == (SIZE, SIZE)
    assert torch.equal(found.faces, model.faces)
    pixels, depth = project(model.template[None], frames[0].camera)
    torch.testing.assert_close(found.vertices[1:], pixels, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.depth[1:], depth)
    # 0.125 m to the right at a focal length of 32 pixels.
    torch.testing.assert_close(found.vertices[0, :, 0] - found.vertices[1, :, 0], 4 / found.depth[1], atol=1e-4, rtol=0)
