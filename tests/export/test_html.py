"""Format html in a real browser: the page draws what the CPU rasterizer draws, moves, and asks for nothing."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
import torch

from headbench.export import format_of
from headbench.export.source import Source
from headbench.export.write import export

SIDE = 192
RENDER = """([frame, side]) => {
  const bench = window.headbench, camera = bench.camera(frame), x = side / camera.width, y = side / camera.height;
  camera.K = [camera.K[0] * x, camera.K[1] * y, camera.K[2] * x, camera.K[3] * y];
  const drawn = bench.render(bench.pose(frame), { ...camera, width: side, height: side });
  const bytes = new Uint8Array(drawn.buffer);
  let letters = "";
  for (let i = 0; i < bytes.length; i += 8192) letters += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(letters);
}"""


def exported(session, out, subject, pose: str = "train", **options):
    return export(Source(session, **options), format_of("html"), pose, out, lambda: subject)


def opened_page(page, out):
    page.goto(out.as_uri())
    page.wait_for_selector("html[data-ready], html[data-broken]", state="attached")
    return page


def decibels(page, session, frame, number: int) -> float:
    """PSNR between what the page draws of one of its frames, on white, and the avatar's own picture."""
    content = bytearray(base64.b64decode(page.evaluate(RENDER, [number, SIDE])))
    drawn = torch.frombuffer(content, dtype=torch.float32).view(SIDE, SIDE, 4).permute(2, 0, 1)
    page_image = (drawn[:3] + 1 - drawn[3:]).clamp(0, 1)
    own = session.render(frame.params, frame.camera.resized(SIDE, SIDE), "white", "float32")[0].clamp(0, 1)
    assert float(own.std()) > 0.02
    return float(-10 * (own - page_image).square().mean().clamp(min=1e-12).log10())


@pytest.fixture(scope="module")
def striking(made_subject):
    """The subject with a pose in which everything moves, also a global similarity."""
    from headbench.harness.head import axis_angle_to_matrix
    from headbench.harness.types import Similarity

    first = made_subject.train[0]
    turn = axis_angle_to_matrix(torch.tensor([[0.1, 0.3, -0.2]]))
    params = replace(
        first.params,
        root=torch.tensor([[0.1, 0.0, 0.1]]),
        neck=torch.tensor([[0.0, 0.2, 0.0]]),
        jaw=torch.tensor([[0.3, 0.05, 0.0]]),
        eyelids=torch.tensor([[0.7, 0.2]]),
        similarity=Similarity(torch.tensor([1.1]), turn, torch.tensor([[0.01, -0.01, 0.02]])),
    )
    return replace(made_subject, train=(replace(first, params=params), *made_subject.train[1:3]))


def test_a_page_draws_what_the_cpu_draws_and_moves(opened, striking, page, tmp_path) -> None:
    session, out = opened("GaussianAvatars", sh_every=0, sh_degree=3), tmp_path / "head.html"
    done = exported(session, out, striking)
    assert done.count == 3 and done.notes == ()
    opened_page(page, out)
    assert page.evaluate("headbench.half") and page.evaluate("headbench.frames") == 3
    for number in (0, 2):
        assert decibels(page, session, striking.train[number], number) > 50
    assert [address for address in page.watched.requests if not address.startswith("file:")] == []
