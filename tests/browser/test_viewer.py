"""`bench view` in a real browser."""

from __future__ import annotations

import importlib.util
import io
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headbench.harness.videos import open_video
from headbench.viewer.paths import read_path

pytest.importorskip("viser", reason="the extra viewer is not installed")

_PATH = Path(__file__).parents[1] / "export" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("made_for_viewers", _PATH)
_MADE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MADE)

made_subject, checkpoint_of = _MADE.made_subject, _MADE.checkpoint_of


@pytest.fixture(scope="module")
def viewer(checkpoint_of, made_subject):
    """A viewer of two avatars that were not trained, with the subject's six frames."""
    from headbench.viewer.server import Viewer
    from headbench.viewer.server_address import Address
    from headbench.viewer.server_avatars import open_avatars, timeline_of

    with ExitStack() as opened:
        paths = [checkpoint_of(method) for method in ("GaussianAvatars", "SplattingAvatar")]
        avatars = open_avatars(paths, "cpu", "auto", opened)
        viewer = Viewer(avatars, timeline_of(avatars, made_subject), Address("127.0.0.1", 0), 256)
        opened.callback(viewer.stop)
        yield viewer


@pytest.fixture
def show(viewer, open_page):
    """show() -> a page of the viewer, with all controls there."""

    def make():
        page = open_page(viewport={"width": 800, "height": 500})
        page.goto(viewer.address.url)
        page.get_by_role("button", name="As in the frame").wait_for()
        return page

    return make


def downloaded(page, button: str) -> tuple[str, bytes]:
    """Name and content of the file that a button gives."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def test_a_still_a_video_and_a_camera_path_are_downloaded(show, viewer, made_subject, tmp_path) -> None:
    page = show()
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
