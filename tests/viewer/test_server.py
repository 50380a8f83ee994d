"""`bench view` without a browser: pages by loopback, addresses, and one sentence for each thing that cannot be done."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from headbench.harness.cli.view import view
from headbench.harness.errors import BenchError
from headbench.viewer.server_address import Address

viser = pytest.importorskip("viser", reason="the extra viewer is not installed")


@pytest.fixture(scope="module")
def viewer(checkpoint_of, made_subject):
    """A viewer of two avatars that were not trained, with the subject's six frames."""
    from headbench.viewer.server import Viewer
    from headbench.viewer.server_avatars import open_avatars, timeline_of

    with ExitStack() as opened:
        avatars = open_avatars([checkpoint_of("GaussianAvatars")] * 2, "cpu", "auto", opened)
        viewer = Viewer(avatars, timeline_of(avatars, made_subject), Address("127.0.0.1", 0), 64)
        opened.callback(viewer.stop)
        yield viewer


class Visit:
    """A page in a thread, which acknowledges pictures and keeps the last one; it stands still where it is told to."""

    def __init__(self, viewer, answers: bool = True, **headers: str) -> None:
        from websockets.sync.client import connect
        from websockets.typing import Subprotocol

        from headbench.viewer.loop_page import LoopbackPage

        visit = self
        self.pictures: list[np.ndarray] = []

        class Still(LoopbackPage):
            def _handle(self, message) -> None:
                if message["type"] == "BackgroundImageMessage" and message["rgb_data"] is not None:
                    visit.pictures.append(np.asarray(Image.open(io.BytesIO(message["rgb_data"]))))
                elif answers or message["type"] != "LocalStorageGetItemRequestMessage":
                    super()._handle(message)

        self.socket = connect(
            viewer.address.url.replace("http://", "ws://"),
            subprotocols=[Subprotocol(f"viser-v{viser.__version__}")],
            additional_headers=headers or None,
            max_size=None,
        )
        self.page = Still(self.socket, 128)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                self.page.take(self.socket.recv(decode=False))
        except ConnectionClosed:
            pass

    def until(self, done, seconds: float = 20.0) -> bool:
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            time.sleep(0.01)
        return bool(done())

    def close(self) -> None:
        self.socket.close()
        self.thread.join(timeout=10)


def test_two_pages_have_pictures_and_cameras_of_their_own(viewer) -> None:
    visits = [Visit(viewer), Visit(viewer)]
    one, two = visits
    assert one.until(
        lambda: len(viewer.clients()) == 2 and all(v.pictures and len(v.pictures[-1]) == 64 for v in visits)
    )
    # As browsers do, each says that it stands where it was told to.
    for visit in visits:
        visit.page.tell()
    places = [tuple(round(x, 4) for x in visit.page._told["position"]) for visit in visits]
    assert one.until(lambda: [tuple(np.round(c.look.camera.position, 4)) for c in viewer.clients()] == places)
    assert one.until(lambda: all(client.order(time.monotonic()) is None for client in viewer.clients()))
    time.sleep(0.5)
    assert [client.look.through for client in viewer.clients()] == [True, True]
    before = two.pictures[-1]
    assert before.shape == (64, 64, 3) and len(np.unique(before.reshape(-1, 3), axis=0)) > 20
    seen, count = len(two.pictures), len(one.pictures)
    # The first page turns: it gets pictures from its own camera, and the second gets none.
    one.page._moves = 20
    one.page.tell()
    assert one.until(lambda: len(one.pictures) > count + 1)
    assert sorted(client.look.through for client in viewer.clients()) == [False, True]
    assert len(two.pictures) == seen and np.abs(one.pictures[-1].astype(int) - before).max() > 30
    for visit in visits:
        visit.close()
    assert one.until(lambda: viewer.clients() == [])


def test_a_page_that_becomes_narrower_while_its_controls_are_made_is_seen_so(viewer, monkeypatch) -> None:
    from headbench.viewer import server

    visits, made = [], server.Controls

    def narrower(page, *arguments):
        assert Visit.until(None, lambda: visits)
        visits[0].page._size = 100
        visits[0].page.tell()
        assert Visit.until(None, lambda: page.handle.camera.image_width == 100)
        return made(page, *arguments)

    monkeypatch.setattr(server, "Controls", narrower)
    visits.append(Visit(viewer))
    assert visits[0].until(lambda: [client.look.camera.width for client in viewer.clients()] == [100])
    visits[0].close()
    assert visits[0].until(lambda: viewer.clients() == [])


@pytest.mark.slow
def test_a_page_that_acknowledges_nothing_gets_two_pictures_and_no_queue(viewer) -> None:
    visit = Visit(viewer, answers=False)
    assert visit.until(lambda: len(visit.pictures) == 2)
    client = viewer.clients()[0]
    for k in range(20):
        client.change(border=k / 40)
        time.sleep(0.01)
    assert len(visit.pictures) == 2 and client.look.border == 19 / 40
    visit.close()
    assert visit.until(lambda: viewer.clients() == [])


@pytest.mark.tried("hostile files", "a page of another site, or of a name that leads here, that connects to the viewer")
def test_pages_of_other_sites_get_nothing(viewer) -> None:
    visit = Visit(viewer, Origin="http://elsewhere.example")
    own = Visit(viewer, Origin=viewer.address.url)
    assert own.until(lambda: own.pictures)
    assert visit.pictures == [] and len(viewer.clients()) == 1
    own.close()
    visit.close()
    from headbench.viewer.server_origin import foreign

    here, shared = Address("127.0.0.1", 8080), Address("0.0.0.0", 8080)
    assert not foreign({"Host": "localhost:8080"}, here) and not foreign({"Host": "[::1]:8080"}, here)
    assert foreign({"Host": "rebound.example:8080", "Origin": "http://rebound.example:8080"}, here)
    assert not foreign({"Host": "lab.example:8080", "Origin": "http://lab.example:8080"}, shared)
    assert foreign({"Host": "lab.example:8080", "Origin": "http://elsewhere.example"}, shared)
    assert viewer._server.request_share_url() is None


@pytest.mark.tried(
    "hostile files", "a page of the viewer that sends a camera that cannot be, or values beyond its controls"
)
def test_nonsense_from_a_page_changes_nothing(viewer) -> None:
    from headbench.viewer.controls_listen import offered
    from headbench.viewer.server_page import camera_of

    class Handle:
        wxyz, position, fov = (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.5
        image_width, image_height = 10**9, 0

    page = camera_of(Handle())
    assert (page.width, page.height) == (8192, 16)
    for name, value in (("wxyz", (0.0,) * 4), ("position", (float("nan"), 0.0, 0.0)), ("fov", 4.0), ("fov", 0.0)):
        broken = Handle()
        setattr(broken, name, value)
        assert camera_of(broken) is None

    class Slider:
        min, max, value = 0.0, 1.0, float("nan")

    class Choice:
        options, value = ("white", "black"), "pink"

    assert not offered(Slider()) and not offered(Choice())
    Slider.value, Choice.value = 0.5, "black"
    assert offered(Slider()) and offered(Choice())


def test_compared_pictures_are_of_one_view(viewer, made_subject) -> None:
    from headbench.harness.train.frames import BACKGROUNDS
    from headbench.viewer.client_camera import PageCamera
    from headbench.viewer.client_look import BESIDE, ERROR, TRUTH, Look
    from headbench.viewer.pictures import truth_picture

    painter = viewer._painter
    look = Look(PageCamera((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.5, 64, 64), frame=5)
    first, second = (shown.label for shown in painter.avatars)
    assert (first, second) == ("GaussianAvatars (1)", "GaussianAvatars (2)")
    alone = painter.paint(look)
    truth = painter.paint(replace(look, against=TRUTH, border=0.0)).image
    assert np.array_equal(truth, truth_picture(made_subject.test[0])) and truth.shape == (32, 32, 3)
    rendered = painter.paint(replace(look, against=TRUTH, border=1.0)).image
    pose = painter.timeline.poses[0][5]
    scored = painter.avatars[0].session.render(pose.params, pose.camera, "white")[0].permute(1, 2, 0).numpy()
    assert np.array_equal(rendered, scored), "what is held to the dataset is what is scored"
    assert alone.image.shape == (64, 64, 3) and alone.times.drive > 0
    same = painter.paint(replace(look, against=second, layout=BESIDE)).image
    assert np.array_equal(same[:, :32], same[:, -32:])
    error = painter.paint(replace(look, against=ERROR, border=0.0)).image
    assert not np.array_equal(error, truth)
    drawn = painter.paint(replace(look, overlay="mesh", values={"jaw open": 10.0}, background="black")).image
    assert not np.array_equal(drawn, alone.image) and tuple(drawn[0, 0]) == BACKGROUNDS["black"]


def test_a_camera_that_moves_alone_poses_nothing_anew(viewer, monkeypatch) -> None:
    from headbench.viewer.client_camera import PageCamera
    from headbench.viewer.client_look import Look
    from headbench.viewer.loop_picture import QUARTER, Painter

    painter = Painter(viewer._painter.avatars, viewer._painter.timeline, 64)
    session, posed = painter.avatars[0].session, []
    drive = type(session.loaded.portrait).gaussians
    monkeypatch.setattr(
        session.loaded.portrait, "gaussians", lambda params: posed.append(1) or drive(session.loaded.portrait, params)
    )
    look = Look(PageCamera((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.5, 64, 64), through=False, values={"jaw open": 9.0})
    pictures = [painter.paint(replace(look, camera=replace(look.camera, fov=fov)), QUARTER) for fov in (0.4, 0.5, 0.6)]
    at_rest = painter.paint(look)
    assert len(posed) == 1 and not np.array_equal(pictures[0].image, pictures[2].image)
    again = session.draw(painter.pose(look, 0), painter.camera(look), "white").read()
    assert np.array_equal(at_rest.image, again), "as it is scored"
    painter.paint(replace(look, values={"jaw open": 10.0}))
    assert len(posed) == 3
    # Where a pose is replayed by the device, one that is drawn once keeps nothing.
    monkeypatch.setattr(type(session), "replays", True)
    seen: list[object] = []
    monkeypatch.setattr(session, "draw", lambda shown, *rest: seen.append(shown) or seen)
    one = painter._poses[0].at(1, {}, lambda: painter.pose(look, 0))
    for _ in range(3):
        one.draw(painter.camera(look), "white")
    assert [type(shown).__name__ for shown in seen] == ["HeadParams", "Gaussians", "Gaussians"]
    assert seen[1] is seen[2]


def test_the_timeline_is_of_one_camera_and_another_shows_the_same_moment(viewer, made_subject) -> None:
    from headbench.viewer.client import Client
    from headbench.viewer.client_camera import PageCamera
    from headbench.viewer.client_look import Look
    from headbench.viewer.controls_timeline import TimelineControls
    from headbench.viewer.server_avatars import timeline_of

    views = [
        replace(frame, id=f"{frame.id}-{camera}", camera_id=camera)
        for frame in made_subject.train
        for camera in ("left", "right")
    ]
    timeline = timeline_of(viewer._painter.avatars[:1], replace(made_subject, train=tuple(views), test=()))
    assert timeline.cameras == ("left", "right") and timeline.seen_by("right") == (1, 3, 5, 7, 9)
    client = Client(Look(PageCamera((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.5, 64, 64)), None, lambda: None)
    placed: list[int] = []
    # On the viewer's own server, whose pages then have these controls, too.
    gui = viewer._server.gui
    controls = TimelineControls(gui, client, timeline, lambda: placed.append(client.look.frame))
    assert controls._camera.visible and controls._frame.max == 4
    controls.step(2)
    assert client.look.frame == 4
    controls._choose_camera("right")
    assert client.look.frame == 5 and controls._name.value == "train 00002-right" and placed[-1] == 5
    controls.step(3)
    assert client.look.frame == 1, "beyond the last is the first again"
    gui.reset()


def test_who_saves_while_something_is_saved_is_told(viewer) -> None:
    from concurrent.futures import Future

    from headbench.viewer.client import Client
    from headbench.viewer.client_camera import PageCamera
    from headbench.viewer.client_look import Look
    from headbench.viewer.controls_save import SaveControls

    told: list[str] = []
    handle = SimpleNamespace(gui=viewer._server.gui, add_notification=lambda title, body, **_: told.append(body))
    client = Client(Look(PageCamera((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.5, 64, 64)), None, lambda: None)
    picture: Future = Future()
    saving = SaveControls(handle, client, viewer._painter, lambda look: picture)
    saving._begin(saving._still)
    saving._begin(saving._still)
    assert told == ["something is being saved already."]
    picture.set_exception(BenchError("it cannot be drawn."))
    end = time.monotonic() + 10
    while saving._busy.locked() and time.monotonic() < end:
        time.sleep(0.01)
    assert told[1:] == ["it cannot be drawn."] and not saving._busy.locked()
    handle.gui.reset()


def test_a_legend_is_text_whatever_the_names_are() -> None:
    from headbench.viewer.controls import _legend

    said = _legend("Colours: <b>", {"left_<eye>": (1, 2, 3)})
    assert "Colours: &lt;b&gt;" in said and "rgb(1, 2, 3)" in said and "left &lt;eye&gt;" in said


def said(*arguments: object) -> str:
    """What `bench view` refuses."""
    with pytest.raises(Exception) as caught:
        CliRunner().invoke(view, list(map(str, arguments)), catch_exceptions=False, standalone_mode=False)
    error = caught.value
    return str(getattr(error, "message", error))


def served(*arguments: object) -> bool:
    """Whether an address of the command line can be served at."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    address = Address(str(given.get("--host", "127.0.0.1")), int(given.get("--port", 0)))
    address.refuse_taken()
    return address.loopback


@pytest.mark.tried(
    "wrong command lines", "`bench view` on other addresses without --share, or on a port that is in use"
)
def test_addresses_that_cannot_be_served_are_refused_in_a_sentence(checkpoint, monkeypatch) -> None:
    assert "anybody who reaches the port can look" in said(checkpoint, "--host", "0.0.0.0")
    assert "this machine has no such address" in said(checkpoint, "--host", "203.0.113.7", "--share")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = said(checkpoint, "--port", port, "--device", "cpu")
        assert text == f"port {port} of 127.0.0.1 is in use by another program.\n  help: --port 0 takes a free one"
    assert served("--port", 0) and served("--host", "127.0.0.1")
    monkeypatch.setitem(sys.modules, "viser", None)
    assert said(checkpoint).splitlines() == [
        "bench view needs the package viser, which is not installed.",
        "  help: pip install 'headbench[viewer]'",
    ]
    assert Address("::1", 1).url == "http://[::1]:1" and Address("localhost").loopback and not Address("a.b").loopback


@pytest.mark.tried("damaged inputs", "a checkpoint, a stage or a run without one given to `bench view`")
def test_what_holds_no_checkpoint_that_loads_is_refused_in_a_sentence(checkpoint, tmp_path) -> None:
    assert "is no checkpoint and holds none" in said(tmp_path, "--port", 0)
    broken = tmp_path / checkpoint.name
    shutil.copytree(checkpoint, broken)
    (broken / "model.safetensors").write_bytes(b"half")
    assert "another SHA-256" in said(broken, "--port", 0, "--device", "cpu")
    (tmp_path / "plan.json").write_text('{"cells": [], "format": 1}')
    assert "holds no checkpoint yet" in said(tmp_path, "--port", 0)


def test_avatars_of_two_head_models_are_refused(checkpoint) -> None:
    from headbench.harness.session import Session
    from headbench.viewer import server_avatars

    class Fake:
        def __init__(self, head: str) -> None:
            self.loaded = type("Loaded", (), {"identity": type("Identity", (), {"head": head})()})()
            self.path = checkpoint

        __enter__, __exit__ = Session.__enter__, lambda *_: None

    heads = iter(("openhead", "flame2020"))
    opened, server_avatars.open_checkpoint = server_avatars.open_checkpoint, lambda *_: Fake(next(heads))
    try:
        with ExitStack() as stack, pytest.raises(BenchError, match="one viewer poses all its avatars"):
            server_avatars.open_avatars([checkpoint, checkpoint], "cpu", "auto", stack)
    finally:
        server_avatars.open_checkpoint = opened


@pytest.mark.slow
@pytest.mark.tried("faults in runs", "Ctrl-C at `bench view` while a page looks")
def test_an_interrupt_ends_the_viewer_and_frees_its_port(checkpoint, viewer) -> None:
    # A shell that starts the tests in the background lets them ignore SIGINT, and what they start as well.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from headbench.harness.cli.main import main; main()"
    )
    line = [sys.executable, "-P", "-c", code, "view", str(checkpoint), "--port", "0", "--device", "cpu"]
    with (
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
        contextlib.ExitStack() as left,
    ):
        left.callback(process.kill)
        url = re.search(r"http://127.0.0.1:(\d+)", process.stdout.readline())
        assert url is not None
        port = int(url.group(1))
        visit = Visit(SimpleNamespace(address=Address("127.0.0.1", port)))
        assert visit.until(lambda: visit.pictures)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == ""
    assert err.splitlines()[-1] == "interrupted" and "Traceback" not in err
    Address("127.0.0.1", port).refuse_taken()
    visit.close()


@pytest.mark.slow
def test_the_loop_is_measured_by_a_page_of_its_own(viewer, monkeypatch) -> None:
    from headbench.viewer.loop_measure import measure

    sent, note = [], viewer._loop._note
    monkeypatch.setattr(viewer._loop, "_note", lambda size, times: (sent.append(size), note(size, times)))
    found = measure(viewer.address.url, 1.0, 256)
    # A move is answered by a quarter of the sides; the full size may follow where the page pauses, as when it has gone.
    assert found.rate > 1 and found.kilobytes > 0.3 and sent[0] == (16, 16)
    assert all((16, 16) in two for two in pairwise(sent))
