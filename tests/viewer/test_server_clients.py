"""Pages' cameras, what clients want and when, and the loop that serves them; no browser and no viser."""

from __future__ import annotations

import math
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headbench.harness.errors import BenchError
from headbench.harness.types import Camera
from headbench.viewer import server_page
from headbench.viewer.client import AHEAD, LOST, REST, Client, Play
from headbench.viewer.client_camera import PageCamera, Placed, fitted, placed, size_of
from headbench.viewer.client_look import ERROR, NOTHING, Look
from headbench.viewer.loop import RenderLoop
from headbench.viewer.loop_picture import QUARTER, Picture, filled
from headbench.viewer.loop_timing import Rate, Times

PAGE = PageCamera((1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.5, 640, 480)


class FakePage:
    """A page that keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[Picture] = []

    def show(self, picture: Picture, resting: bool) -> float:
        self.shown.append(picture)
        return 1.5

    def acknowledged(self) -> None:
        raise ConnectionError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made_client(woken=lambda: None) -> tuple[Client, Clock]:
    clock = Clock()
    return Client(Look(PAGE), FakePage(), woken, clock), clock


def picture() -> Picture:
    return Picture(np.zeros((2, 3, 3), np.uint8), Times(1.0, 2.0))


def deliver(client: Client, clock: Clock):
    order = client.order(clock.now)
    assert order is not None
    client.deliver(order, picture())
    return order


def pixels(camera: Camera, points: torch.Tensor) -> torch.Tensor:
    seen = points @ camera.w2c[0, :3, :3].T + camera.w2c[0, :3, 3]
    seen = seen @ camera.K[0].T
    return seen[:, :2] / seen[:, 2:]


def test_a_page_that_stands_where_a_camera_stands_sees_what_it_sees() -> None:
    """Our camera to viser's and back, with scipy's rotation between them; a canvas that is wide, then narrow."""
    rotation = Rotation.from_euler("xyz", [170.0, 20.0, 5.0], degrees=True)
    w2c = np.eye(4)
    w2c[:3, :3], w2c[:3, 3] = rotation.as_matrix(), [0.02, -0.03, 0.9]
    K = torch.tensor([[[900.0, 0.0, 256.0], [0.0, 900.0, 200.0], [0.0, 0.0, 1.0]]])
    camera = Camera(torch.tensor(w2c[None], dtype=torch.float32), K, 512, 400)
    points = torch.randn(20, 3) * 0.05
    for width, height in ((1000, 400), (300, 600)):
        found = placed(camera, np.zeros(3), width / height)
        forward = (found.look_at - found.position) / np.linalg.norm(found.look_at - found.position)
        c2w = np.stack([np.cross(-found.up, forward), -found.up, forward], axis=1)
        x, y, z, w = Rotation.from_matrix(c2w).as_quat()
        page = PageCamera((w, x, y, z), tuple(found.position), found.fov, width, height).camera(width, height)
        torch.testing.assert_close(page.w2c, camera.w2c, atol=1e-5, rtol=0)
        scale = min(width / 512, height / 400)
        expected = (pixels(camera, points) - torch.tensor([256.0, 200.0])) * scale
        torch.testing.assert_close(
            pixels(page, points) - torch.tensor([width / 2, height / 2]), expected, atol=0.02, rtol=0
        )
        # The page turns about the point of the optical axis beside the head.
        depth = float(w2c[2, 3])
        assert np.allclose(found.look_at, found.position + forward * depth, atol=1e-6)


def test_pictures_have_the_size_of_their_place() -> None:
    assert size_of(800, 400, 1000) == (800, 400) and size_of(800, 400, 400) == (400, 200)
    assert size_of(800, 400, 1000, QUARTER) == (200, 100) and size_of(4, 4, 1000, QUARTER) == (16, 16)
    camera = Camera(torch.eye(4)[None], torch.tensor([[[100.0, 0, 32], [0, 100.0, 32], [0, 0, 1]]]), 64, 64)
    large = fitted(camera, (300, 200))
    assert (large.width, large.height) == (200, 200) and float(large.K[0, 0, 0]) == pytest.approx(312.5)
    assert fitted(camera, (64, 100)) is camera
    wide = filled(np.full((10, 10, 3), 7, np.uint8), 2.0, "green")
    assert wide.shape == (10, 20, 3) and (wide[:, 5:15] == 7).all() and (wide[:, :5] == [0, 255, 0]).all()
    assert filled(np.zeros((10, 20, 3), np.uint8), 1.0, "white").shape == (20, 20, 3)


def test_a_client_wants_the_latest_at_a_quarter_and_all_of_it_at_rest() -> None:
    client, clock = made_client()
    assert deliver(client, clock).part == QUARTER and client.order(clock.now) is None
    for border in (0.1, 0.2, 0.3):
        client.change(border=border)
    order = deliver(client, clock)
    assert (order.look.border, order.part) == (0.3, QUARTER)
    client.change(border=0.3)
    client.move("jaw", 5.0)
    client.move("jaw", 7.0)
    client.move("neck", 1.0)
    client.move("neck", None)
    # Two pictures are on their way: nothing more until one is taken, or is long lost.
    assert AHEAD == 2 and client.order(clock.now) is None
    clock.now += LOST + 0.01
    assert deliver(client, clock).look.values == {"jaw": 7.0}
    clock.now += LOST + REST
    assert client.order(clock.now).part == 1
    order = deliver(client, clock)
    assert order.part == 1 and client.size == (3, 2) and client.times == Times(1.0, 2.0, 0.0, 1.5)
    clock.now += LOST + 0.01
    assert client.order(clock.now) is None and client.due(clock.now) > 0
    client.close()
    client.change(border=0.9)
    assert client.order(clock.now + 99) is None


def test_a_timeline_plays_by_the_clock() -> None:
    woken = []
    client, clock = made_client(lambda: woken.append(1))
    client.change(frame=4, values={"jaw": 1.0})
    client.start(10.0, (0, 2, 4, 6), loop=True)
    assert client.look.values == {} and woken
    assert deliver(client, clock).look.frame == 4
    clock.now += 0.11
    assert deliver(client, clock).look.frame == 6
    # 22 frames after the beginning: frames that no picture was made of are left out.
    clock.now += LOST + 0.1
    assert deliver(client, clock).look.frame == 0
    assert 0 < client.due(clock.now) <= 0.1
    client.stop()
    stood = client.look.frame
    clock.now += LOST + REST
    assert client.order(clock.now).part == 1 and client.look.frame == stood
    client.start(10.0, (0, 1, 2), loop=False)
    clock.now += 60.0
    order = client.order(clock.now)
    assert order.look.frame == 2 and client.play is None
    # At the end of a single turn it begins anew.
    client.start(10.0, (0, 1, 2), loop=False)
    assert client.play.frame(clock.now) == 0
    assert Play((5, 7), 0, 0.0, 1.0, True).until_next(0.25) == pytest.approx(0.75)


def test_a_look_at_the_truth_is_through_its_camera() -> None:
    client, clock = made_client()
    deliver(client, clock)
    client.change(camera=replace(PAGE, position=(0.0, 0.0, 1.0)))
    assert client.order(clock.now) is None and client.look.camera.position == (0.0, 0.0, 1.0)
    client.change(camera=replace(PAGE, width=320))
    assert client.order(clock.now) is not None
    assert replace(Look(PAGE), through=False, against=ERROR).exact
    assert not replace(Look(PAGE), through=False, against=NOTHING).exact


def test_rates_are_of_the_last_second() -> None:
    rate = Rate(1.0)
    for now in (0.0, 1.2, 1.5, 1.9):
        rate.count(now)
    assert rate.value(2.0) == 3.0 and rate.value(9.0) == 0.0


class Painter:
    """Draws nothing, and notes for whom."""

    def __init__(self) -> None:
        self.painted: list[float] = []

    def paint(self, look: Look, part: int = 1) -> Picture:
        self.painted.append(look.border)
        if look.border == 0.5:
            raise BenchError("it cannot be drawn.")
        if look.border == 0.75:
            raise ZeroDivisionError
        return picture()


@pytest.mark.tried("faults in runs", "a picture of the viewer that cannot be made")
def test_the_loop_serves_clients_in_turn_and_tells_what_it_cannot_draw() -> None:
    told, painter = [], Painter()
    loop = RenderLoop(painter, lambda client, sentence: told.append(sentence))
    clients = [Client(Look(PAGE), FakePage(), loop.wake) for _ in range(2)]
    for number, client in enumerate(clients):
        client.change(border=number / 10)
        loop.add(client)
    for _ in range(2):
        loop._serve()
    assert sorted(painter.painted) == [0.0, 0.1]
    clients[0].change(border=0.5)
    clients[1].change(border=0.6)
    assert loop._serve() and loop._serve() and not loop._serve()
    assert painter.painted[2:] == [0.5, 0.6] and told == ["it cannot be drawn."]
    loop.remove(clients[0])
    clients[0].change(border=0.3)
    assert not loop._serve()
    # What nobody foresaw ends the loop, which says so, and no thread stays.
    loop.start()
    clients[1].change(border=0.75)
    clients[1].follow()
    other = Client(Look(PAGE), FakePage(), loop.wake)
    other.change(border=0.75)
    loop.add(other)
    assert loop.ended.wait(timeout=10) and isinstance(loop.failure, ZeroDivisionError)
    loop.stop()
    assert "viewer-render" not in [thread.name for thread in threading.enumerate()] and math.isfinite(other.due(1.0))


def test_a_page_that_takes_its_camera_late_was_not_moved_by_a_person(monkeypatch) -> None:
    monkeypatch.setattr(server_page, "SETTLING", 0.0)
    loads = threading.Event()
    storage = SimpleNamespace(get_item=lambda key, timeout: loads.wait(60))
    page = server_page.ViserPage(
        SimpleNamespace(camera=SimpleNamespace(), atomic=nullcontext, flush=lambda: None, local_storage=storage)
    )
    there = Placed(np.zeros(3), np.array([0.0, 0.0, 1.0]), np.array([0.0, -1.0, 0.0]), 0.5)
    elsewhere = replace(PAGE, position=(1.0, 0.0, 0.0))
    page.place(there)
    assert not page.moved(elsewhere)
    # Once it has it, even one that never told of it can be moved.
    loads.set()
    end = time.monotonic() + 60
    while not page.moved(elsewhere):
        assert time.monotonic() < end
        time.sleep(0.01)
    # A page that told of it needs to say no more.
    loads.clear()
    page.place(there)
    assert not page.moved(elsewhere) and not page.moved(PAGE) and page.moved(elsewhere)
    loads.set()
