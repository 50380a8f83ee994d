"""Videos of strangers: nothing but an mp4 reaches FFmpeg, which opens no socket and no other file, within limits."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from headbench.datasets.nersemble.clips import decode
from headbench.datasets.nersemble.probe import probe_all
from headbench.harness import mp4, videos
from headbench.harness.errors import BenchError, DataError
from headbench.harness.image.video import write_video
from headbench.harness.reading import Unreadable
from headbench.harness.videos import open_video
from headbench.submission.video_probe import look_at

FRAMES = 12


def mp4_of(count: int = FRAMES, side: int = 32, codec: str = "libx264", **options: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options=options) as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = side, side, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(count):
            image = np.full((side, side, 3), 10 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


GOOD = mp4_of()


def changed(content: bytes, kind: bytes, place: int, *values: int) -> bytes:
    """With other numbers in the first box of a kind."""
    out = bytearray(content)
    struct.pack_into(f">{len(values)}I", out, out.index(kind) + place, *values)
    return bytes(out)


def refusals(path: Path) -> list[str]:
    """What every reader of videos says about a file."""
    said = []
    with pytest.raises(Unreadable) as caught, open_video(path) as video:
        list(video.frames())
    said.append(caught.value.found)
    with pytest.raises(DataError) as told:
        list(decode(path))
    said += [str(told.value), f"found {probe_all([path])[path].fault}"]
    if path.is_file() and not path.is_symlink():
        with pytest.raises(BenchError) as looked:
            look_at(path.read_bytes(), 100)
        said.append(str(looked.value))
    return said


def test_a_video_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(GOOD)
    for content in (None, GOOD):
        with open_video(path, content) as video:
            greys = [int(frame.to_ndarray(format="rgb24").mean()) for frame in video.frames()]
            assert video.codec == "h264" and video.pixel_format == "yuv420p" and video.size == (32, 32)
        assert np.abs(np.array(greys) - 10 * np.arange(FRAMES)).max() <= 3
        with open_video(path, content) as video:
            assert video.packets() == FRAMES
    for written in (mp4_of(movflags="frag_keyframe+empty_moov"), mp4_of(codec="mpeg4")):
        with open_video(path, written) as video:
            assert len(list(video.frames())) == FRAMES


def texts(port: int, folder: Path) -> dict[str, bytes]:
    """What FFmpeg would take for a reason to open something else: a local port, or a file beside it."""
    secret = folder / "secret.mp4"
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n#EXTINF:1,\n{secret}\n"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="x"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
        f"<BaseURL>http://127.0.0.1:{port}/a.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>"
    )
    return {
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n".encode(),
        "hls": playlist.encode(),
        "concat": f"ffconcat version 1.0\nfile http://127.0.0.1:{port}/a.mp4\nfile {secret}\n".encode(),
        "dash": dash.encode(),
    }


@contextlib.contextmanager
def nothing_else(folder: Path) -> Iterator[int]:
    """Fails if meanwhile somebody connects to the port that this gives, or listens there for datagrams, or if Python
    opens the file beside."""
    stop, seen = threading.Event(), []

    def look() -> None:
        while not stop.wait(0.005):
            if f":{port:04X} " in Path("/proc/self/net/udp").read_text():
                seen.append("a socket for datagrams")

    def watch(event: str, arguments: tuple) -> None:
        if event.startswith("socket.") or (event == "open" and "secret" in str(arguments[0])):
            seen.append(f"{event} {arguments}")

    (folder / "secret.mp4").write_bytes(GOOD)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=look)
        thread.start()
        _watchers.append(watch)
        try:
            yield port
        finally:
            _watchers.remove(watch)
            stop.set()
            thread.join()
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    assert seen == []


_watchers: list = []


def _tell(event: str, arguments: tuple) -> None:
    for watcher in tuple(_watchers):
        watcher(event, arguments)


sys.addaudithook(_tell)


@pytest.mark.skipif(not Path("/proc/self/net/udp").exists(), reason="looks at /proc")
@pytest.mark.tried("hostile files", "an SDP text, an HLS or DASH playlist or a concat script in place of a video")
@pytest.mark.parametrize("asked", ["reader", "FFmpeg"])
@pytest.mark.parametrize("kind", ["sdp", "hls", "concat", "dash"])
def test_no_text_makes_a_reader_open_sockets_or_files(
    tmp_path: Path, kind: str, asked: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    if asked == "FFmpeg":  # also where the look at the boxes would let a text pass
        monkeypatch.setattr(videos, "check_boxes", lambda path, file: None)
    path = tmp_path / "cam.mp4"
    with nothing_else(tmp_path) as port:
        path.write_bytes(texts(port, tmp_path)[kind])
        said = refusals(path)
    words = "bytes that are no video" if asked == "reader" else "found an mp4 that cannot be opened"
    assert len(said) == 4 and all(words in each for each in said), said
    assert capfd.readouterr() == ("", "")


def test_a_track_that_lies_elsewhere_is_not_fetched(tmp_path: Path) -> None:
    """A QuickTime reference to another file (an alias in `dref`) is not followed."""
    (tmp_path / "secret.mp4").write_bytes(GOOD)
    record = bytearray(150)
    record[2:4], record[130:132] = struct.pack(">H", 150), struct.pack(">H", 2)
    text = b"secret.mp4"
    record += struct.pack(">HH", 2, len(text)) + text + struct.pack(">H", 0xFFFF)
    alias = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + bytes(record)
    old = struct.pack(">I4sI", 12, b"url ", 1)
    assert old in GOOD
    moved = GOOD.replace(old, alias)
    grown = len(alias) - len(old)
    for kind in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = moved.index(kind) - 4
        moved = moved[:at] + struct.pack(">I", struct.unpack_from(">I", moved, at)[0] + grown) + moved[at + 4 :]
    emptied = bytearray(moved)
    start = moved.index(b"mdat") + 4
    length = struct.unpack_from(">I", moved, start - 8)[0] - 8
    emptied[start : start + length] = bytes(length)
    path = tmp_path / "a.mp4"
    path.write_bytes(bytes(emptied))
    shown = 0
    try:
        with open_video(path) as video:
            for _frame in video.frames():
                shown += 1
    except Unreadable as error:
        assert "found" in error.found
    assert shown == 0


WRONG = {
    "empty": (b"", "found 0 bytes that are no video"),
    "page": (b"<html>not found</html>", "found 22 bytes that are no video"),
    "webm": (b"\x1aE\xdf\xa3" + bytes(60), "found a WebM or Matroska video; mp4 is read"),
    "avi": (b"RIFF\x10\0\0\0AVI " + bytes(60), "found an AVI video; mp4 is read"),
    "cut": (GOOD[: len(GOOD) // 2], "bytes of an mp4 that was cut before its end"),
    "samples": (changed(GOOD, b"stsz", 8, 1, 2**31), "found an mp4 that claims 2,147,483,648 samples"),
    "samples of a fragment": (
        changed(mp4_of(movflags="frag_keyframe+empty_moov+default_base_moof"), b"trun", 4, 1, 2**31),
        "found an mp4 that claims 2,147,483,648 samples",
    ),
    "packed tables": (changed(GOOD, b"trak", 0, int.from_bytes(b"cmov")), "found an mp4 whose tables are packed"),
    "no track": (changed(GOOD, b"trak", 0, int.from_bytes(b"free")), "found "),
    "codec": (mp4_of(codec="mjpeg"), "found a video in the codec mjpeg"),
}


@pytest.mark.tried("hostile files", "an mp4 of 2 KB that claims thousands of millions of images")
@pytest.mark.tried("damaged inputs", "a video that is cut, empty, a web page, WebM or AVI, or in an unknown codec")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_mp4_is_refused_in_our_words(tmp_path: Path, name: str) -> None:
    content, words = WRONG[name]
    path = tmp_path / "cam.mp4"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = refusals(path)
    assert len(said) == 4 and all(words in each for each in said), said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


@pytest.mark.tried("hostile files", "a video of more or larger images than any head has, or of two sizes")
def test_limits_of_videos_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(GOOD)
    with open_video(path) as video, pytest.raises(Unreadable, match="found more than 5 images"):
        list(video.frames(5))
    monkeypatch.setattr(videos, "VIDEO_PIXELS", 3 * 32 * 32)
    seen = []
    with open_video(path) as video, pytest.raises(Unreadable, match="million pixels"):
        seen.extend(video.frames())
    assert len(seen) == 3
    monkeypatch.setattr(videos, "FRAME_PIXELS", 1000)
    with pytest.raises(Unreadable, match="found images of 32 x 32 pixels"), open_video(path):
        pass
    monkeypatch.setattr(mp4, "BOXES", 5)
    with pytest.raises(Unreadable, match="more than 5 boxes"), open_video(path):
        pass


def test_a_decoder_refuses_images_larger_than_the_header_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(mp4_of(side=128))
    real = videos._stream

    def small(*arguments: object) -> object:
        monkeypatch.setattr(videos, "FRAME_PIXELS", 128 * 128)
        stream = real(*arguments)
        stream.codec_context.options = {"max_pixels": "5000"}
        return stream

    monkeypatch.setattr(videos, "_stream", small)
    with open_video(path) as video, pytest.raises(Unreadable, match="cannot be decoded after 0 images"):
        list(video.frames())


@pytest.mark.tried("hostile files", "a named pipe, a device or a folder in place of a video")
def test_no_video_is_opened_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "folder.mp4").mkdir()
    for name, words in (("pipe.mp4", "a named pipe"), ("zero.mp4", "a device"), ("folder.mp4", "a folder")):
        assert all(f"found {words} instead of a file" in said for said in refusals(tmp_path / name))
    assert probe_all([tmp_path / "none.mp4"])[tmp_path / "none.mp4"].fault == "missing"


def test_what_is_written_here_is_read_here(tmp_path: Path) -> None:
    images = [np.full((33, 31, 3), 10 * index, np.uint8) for index in range(5)]
    write_video(tmp_path / "a.mp4", images, 24)
    with open_video(tmp_path / "a.mp4") as video:
        assert len(list(video.frames())) == 5


def test_the_settings_of_the_encoder_are_looked_for_once() -> None:
    hostile = b"x264 - core" * 500_000
    look = look_at(GOOD + struct.pack(">I4s", 8 + len(hostile), b"free") + hostile, 100)
    assert look.crf == 23 and len(look) == FRAMES
    first = struct.pack(">I4s", 8 + len(hostile), b"free") + hostile
    assert look_at(first + GOOD, 100).crf is None
