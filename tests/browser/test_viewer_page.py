"""`bench view` in a real browser: what a person does at a page changes what the page shows."""

from __future__ import annotations

import importlib.util
import io
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.harness.head import load_head, project
from headbench.harness.videos import open_video
from headbench.viewer.client_camera import fitted
from headbench.viewer.paths import read_path

pytest.importorskip("viser", reason="the extra viewer is not installed")

_PATH = Path(__file__).parents[1] / "export" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("made_for_pages", _PATH)
_MADE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MADE)

ALWAYS_DRAWS = True
_DECODING = """
const { createObjectURL: made, revokeObjectURL: gone } = URL;
window.decoding = new Set();
URL.createObjectURL = (blob) => {
  const url = made.call(URL, blob);
  if (blob.type === "image/jpeg") decoding.add(url);
  return url;
};
URL.revokeObjectURL = (url) => { decoding.delete(url); gone.call(URL, url); };
"""
"""Script that keeps the pictures which a page has taken but not decoded; viser has an address for each as long."""
made_subject, checkpoint_of = _MADE.made_subject, _MADE.checkpoint_of


@pytest.fixture(scope="module")
def viewer(checkpoint_of, made_subject):
    """A viewer of two avatars that were not trained, with the subject's six frames."""
    from headbench.viewer import server_page
    from headbench.viewer.server import Viewer
    from headbench.viewer.server_address import Address
    from headbench.viewer.server_avatars import open_avatars, timeline_of

    with ExitStack() as opened, pytest.MonkeyPatch.context() as patched:
        # A page that loads slowly may tell of its old camera first, which nobody moved.
        patched.setattr(server_page, "SETTLING", 3600.0)
        paths = [checkpoint_of(method) for method in ("GaussianAvatars", "SplattingAvatar")]
        avatars = open_avatars(paths, "cpu", "auto", opened)
        viewer = Viewer(avatars, timeline_of(avatars, made_subject), Address("127.0.0.1", 0), 256)
        opened.callback(viewer.stop)
        yield viewer


class Visitor:
    """A page in the browser with the viewer's client of it."""

    def __init__(self, viewer, page) -> None:
        known = viewer.clients()
        self.page = page
        page.set_default_timeout(60_000)
        # viser's own listeners: a drag that begins on a box is no gesture of the page.
        page.watched.allow("Unable to preventDefault inside passive event listener")
        # With as many pixels however slow the browser is, or pictures of one page could not be compared.
        page.add_init_script(_DECODING)
        page.goto(f"{viewer.address.url}?fixedDpr=1")
        page.get_by_role("button", name="As in the frame").wait_for()
        # The viewer's own list has a page once all of its controls are sent.
        end = time.monotonic() + 60
        while not (found := [client for client in viewer.clients() if client not in known]):
            assert time.monotonic() < end, "the viewer does not know the page"
            page.wait_for_timeout(20)
        (self.client,) = found
        # viser's word on WebGL without a GPU lies over the picture, and goes slowly.
        page.locator(".mantine-Notification-closeButton").first.click()
        page.locator(".mantine-Notification-root").wait_for(state="detached")
        # The picture becomes narrower by the panel.
        self.until(lambda: self.client.look.camera.width == self.size[0] < page.viewport_size["width"])
        self.rest()

    def until(self, done, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            state = {name: value for name, value in vars(self.client).items() if name[1:] in ("sent", "taken", "part")}
            assert time.monotonic() < end, f"the page did not come to what was expected: {state}, {self.client.look}"
            self.page.wait_for_timeout(20)

    def rest(self) -> None:
        """Wait until the page shows a picture of full size and no other one is on its way."""

        def still() -> bool:
            client = self.client
            now = time.monotonic()
            return client._part == 1 and client._sent == client._taken and client.order(now) is None

        self.until(still)
        # A page acknowledges a picture before it has decoded it, and draws it with its next frame.
        self.until(lambda: self.page.evaluate("decoding.size") == 0)
        self.page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")

    def picture(self) -> np.ndarray:
        """Canvas (H, W, 3) as it is on the screen, without the panel beside it."""
        self.rest()
        width, height = self.size
        shot = np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))
        return shot[:height, :width].astype(int)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the canvas on the screen."""
        box = self.page.locator("canvas[data-engine]").bounding_box()
        return round(box["width"]), round(box["height"])

    def pick(self, label: str, value: str) -> None:
        self.page.get_by_role("combobox", name=label).click()
        self.page.get_by_role("option", name=value, exact=True).click()

    def number(self, label: str, value: float) -> None:
        box = self.page.locator(f"xpath=//label[.='{label}']/ancestor::div[.//input][1]//input").last
        box.fill(str(value))
        box.press("Enter")


@pytest.fixture
def visitor(viewer, open_page):
    """visitor() -> a page of the viewer that has its first picture."""
    return lambda: Visitor(viewer, open_page(viewport={"width": 760, "height": 400}))


def around(viewer, visit: Visitor, points: torch.Tensor) -> tuple[int, int]:
    """Pixel of a page at which the middle of points (N, 3) of the world lies."""
    look, (width, height) = visit.client.look, visit.size
    seen = fitted(viewer._painter.timeline.poses[look.avatar][look.frame].camera, (width, height))
    x, y = project(points[None], seen)[0][0].mean(dim=0).tolist()
    return round(x + (width - seen.width) / 2), round(y + (height - seen.height) / 2)


def test_a_person_poses_plays_and_compares(viewer, visitor, screenshot) -> None:
    visit = visitor()
    poses(viewer, visit, screenshot)
    compares(visit, screenshot)
    plays(visit)


def poses(viewer, visit: Visitor, screenshot) -> None:
    """A slider moves the jaw, and the forehead stays as it is."""
    before = visit.picture()
    screenshot(visit.page, "view-frame")
    loaded = viewer._painter.avatars[0].session.loaded
    head = load_head("openhead", loaded.config.topology()).bind(loaded.identity)
    vertices = head.vertices(viewer._painter.pose(visit.client.look, 0))[0]
    visit.number("jaw open", 25)
    visit.until(lambda: visit.client.look.values.get("jaw open") == 25)
    after = visit.picture()
    screenshot(visit.page, "view-jaw")
    moved = head.vertices(viewer._painter.pose(visit.client.look, 0))[0]
    far = (moved - vertices).norm(dim=1)
    still = vertices[:, 1] > vertices[:, 1].max() - 0.06
    assert float(far[still].max()) < 1e-3 < float(far.max())

    def change(points: torch.Tensor) -> float:
        x, y = around(viewer, visit, points)
        return float(np.abs(after - before)[y - 6 : y + 7, x - 6 : x + 7].mean())

    assert change(vertices[still & (vertices[:, 2] > 0.05)]) < 2 < 8 < change(vertices[far > 0.8 * far.max()])
    visit.page.get_by_role("button", name="neutral").click()
    visit.until(lambda: visit.client.look.values.get("jaw open") == 0)
    visit.page.get_by_role("button", name="As in the frame").click()
    visit.until(lambda: visit.client.look.values == {})
    assert np.abs(visit.picture() - before).mean() < 0.5


def plays(visit: Visitor) -> None:
    """The timeline plays and pauses, and keys step."""
    first = visit.picture()
    visit.page.get_by_role("button", name="Play", exact=True).click()
    seen = set()
    visit.until(lambda: seen.add(visit.client.look.frame) or len(seen) >= 4)
    visit.page.get_by_role("button", name="Pause", exact=True).click()
    visit.until(lambda: visit.client.play is None)
    frame = visit.client.look.frame
    visit.page.keyboard.press("ArrowRight")
    visit.until(lambda: visit.client.look.frame == (frame + 1) % 6)
    visit.page.keyboard.press("ArrowLeft")
    visit.page.keyboard.press("ArrowLeft")
    visit.until(lambda: visit.client.look.frame == (frame - 1) % 6)
    visit.page.get_by_text("frames/s").wait_for()
    visit.page.keyboard.press("p")
    visit.until(lambda: visit.client.play is not None and visit.client.look.frame != 0)
    visit.page.keyboard.press("p")
    visit.until(lambda: visit.client.play is None)
    if visit.client.look.frame == 0:
        visit.page.keyboard.press("ArrowRight")
        visit.until(lambda: visit.client.look.frame == 1)
    assert np.abs(visit.picture() - first).mean() > 0.5


def compares(visit: Visitor, screenshot) -> None:
    """Two avatars are split at a border, which is dragged while the camera stays."""
    alone = visit.picture()
    visit.pick("compare with", "SplattingAvatar")
    visit.until(lambda: visit.client.look.against == "SplattingAvatar")
    split = visit.picture()
    screenshot(visit.page, "view-split")
    width, height = visit.size
    middle, y = width // 2, height // 2
    assert np.abs(split - alone)[:, : middle - 8].mean() < 0.5 < 1 < np.abs(split - alone)[:, middle + 8 :].mean()
    mouse = visit.page.mouse

    def at_border() -> bool:
        """Tells if the page has the border under the mouse, which viser looks for when the mouse moves."""
        mouse.move(middle + 1, y)
        mouse.move(middle, y)
        return visit.page.locator("canvas[data-engine]").evaluate("canvas => canvas.style.cursor") == "pointer"

    visit.until(at_border)
    mouse.down()
    for step in range(1, 7):
        mouse.move(middle - 20 * step, y)
        visit.page.wait_for_timeout(60)
    mouse.up()
    visit.until(lambda: abs(visit.client.look.border - (middle - 120) / width) < 0.02)
    assert visit.client.look.through, "the camera stays where it was"
    dragged = visit.picture()
    screenshot(visit.page, "view-dragged")
    assert np.abs(dragged - split)[:, middle - 100 : middle - 8].mean() > 1
    assert np.abs(dragged - split)[:, middle + 8 :].mean() < 0.5
    visit.pick("compare with", "nothing")
    visit.until(lambda: visit.client.look.against == "nothing")


@pytest.mark.slow
def test_two_pages_keep_their_own_cameras(visitor, screenshot) -> None:
    one, two = visitor(), visitor()
    before, other = one.picture(), two.picture()
    assert np.abs(before - other).mean() < 0.5
    (width, height), mouse = one.size, one.page.mouse
    mouse.move(width // 2, height // 3)
    mouse.down()
    mouse.move(width // 2 + 120, height // 3 + 20, steps=8)
    mouse.up()
    one.until(lambda: not one.client.look.through)
    after = one.picture()
    screenshot(one.page, "view-turned")
    assert two.client.look.through and two.client.look.camera.position != one.client.look.camera.position
    assert np.abs(after - before).mean() > 1 and np.abs(two.picture() - other).mean() < 0.5
    one.page.get_by_role("button", name="Reset").click()
    one.until(lambda: one.client.look.through)
    assert np.abs(one.picture() - before).mean() < 0.5


def downloaded(page, button: str) -> tuple[str, bytes]:
    """Name and content of the file that a button gives."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


@pytest.mark.slow
def test_overlays_are_drawn_and_a_still_a_video_and_a_camera_path_are_downloaded(
    visitor, made_subject, screenshot, tmp_path
) -> None:
    visit = visitor()
    page, plain = visit.page, visit.picture()
    visit.pick("overlay", "mesh")
    visit.until(lambda: visit.client.look.overlay == "mesh")
    lines = visit.picture()
    screenshot(page, "view-overlay")
    green = (lines[..., 1] - plain[..., 1] > 25) & (lines[..., 0] <= plain[..., 0] + 5)
    assert 0.01 < green.mean() < 0.5
    page.get_by_text("Lines: the mesh that carries the Gaussians of GaussianAvatars.").wait_for()
    visit.pick("overlay", "regions")
    page.get_by_text("mouth interior").wait_for()
    visit.pick("overlay", "nothing")
    page.get_by_text("Save", exact=True).click()
    name, content = downloaded(page, "Still")
    still = np.asarray(Image.open(io.BytesIO(content)))
    assert name == "GaussianAvatars-00000.png" and still.ndim == 3 and len(np.unique(still.reshape(-1, 3), axis=0)) > 20
    name, content = downloaded(page, "Video")
    (tmp_path / name).write_bytes(content)
    with open_video(tmp_path / name) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.frames()]
    assert len(frames) == 6 and not np.array_equal(frames[0], frames[-1])
    for _ in range(2):
        page.get_by_role("button", name="Add camera key").click()
    page.get_by_role("button", name="Camera path (2 keys)").wait_for()
    name, content = downloaded(page, "Camera path")
    (tmp_path / name).write_bytes(content)
    path = read_path(tmp_path / name)
    assert [key.time for key in path.keys] == [0.0, 2.0] and path.head == "openhead"
    assert np.allclose(path.keys[0].w2c, made_subject.train[0].camera.w2c[0], atol=1e-3)
    assert path.keys[0].pose.jaw == pytest.approx(made_subject.train[0].params.jaw[0].tolist(), abs=1e-6)
    page.get_by_role("button", name="Forget keys").click()
    page.get_by_role("button", name="Camera path", exact=True).wait_for()
