"""Images of strangers: what is no picture, too large or damaged is refused with one sentence, within bounded memory."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headbench.datasets.common.images import read_header
from headbench.datasets.common.pixels import read_planes
from headbench.harness import pictures
from headbench.harness.errors import DataError
from headbench.harness.image import read_rgb
from headbench.harness.pictures import PIXELS, picture_header, read_picture
from headbench.harness.reading import Unreadable


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes, colours: int = 0) -> bytes:
    """A PNG of these chunks; grey, or RGBA with 6 for `colours`."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def stored(mode: str = "RGB", kind: str = "PNG", **options) -> bytes:
    colours = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(colours).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def smooth(mode: str) -> bytes:
    """A PNG whose rows depend on each other, as those of photographs do."""
    y, x = np.mgrid[:24, :32]
    values = np.stack([x * 7, y * 9, x * y, np.where(x > y, 255, 40)], axis=2).astype(np.uint8)
    colours = Image.fromarray(values)
    stream = io.BytesIO()
    (colours if mode == "RGBA" else colours.convert("RGB").convert(mode)).save(stream, "PNG")
    return stream.getvalue()


def animated() -> bytes:
    return stored(save_all=True, append_images=[Image.new("RGB", (32, 24))])


BOMB = zlib.compress(bytes(20_000_000))
WRONG = {
    "empty": (b"", "found an empty file"),
    "text": (b"hello", "found 5 bytes that are no image"),
    "webp": (stored(kind="WEBP"), "found a WebP image; PNG and JPEG are read"),
    "bmp": (stored(kind="BMP"), "found a BMP image; PNG and JPEG are read"),
    "gif": (stored(mode="P", kind="GIF"), "found a GIF image; PNG and JPEG are read"),
    "tiff": (stored(kind="TIFF"), "found a TIFF image; PNG and JPEG are read"),
    "animated": (animated(), "found an animated PNG"),
    "too many pixels": (png(13_000, 13_000), "found 13000 x 13000 pixels, and at most 40 million are read"),
    "too many in a row": (png(2**31 - 1, 2), "pixels, and at most 40 million are read"),
    "text bomb": (png(4, 4, chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB)), "found a PNG with more than 1 MiB of text"),
    "packed text bomb": (png(4, 4, chunk(b"zTXt", b"k\0\0" + BOMB)), "found a PNG with more than 1 MiB of text"),
    "profile bomb": (png(4, 4, chunk(b"iCCP", b"k\0\0" + BOMB)), "found a PNG with more than 1 MiB of text"),
    "cut header": (stored()[:20], "found a PNG that is cut, after 20 bytes"),
    "cut jpeg header": (stored(kind="JPEG")[:30], "found a JPEG that is cut, after 30 bytes"),
    "scans": (stored(kind="JPEG", progressive=True) + b"\xff\xda" * 600, "and at most 500 are read"),
}
DAMAGED = {
    "cut": (stored()[:700], "found a PNG that is cut, after 700 bytes"),
    "cut jpeg": (stored(kind="JPEG")[:800], "found a JPEG that is cut, after 800 bytes"),
    "no pixels": (png(4, 4), "found a damaged PNG"),
    "garbage for pixels": (png(4, 4, chunk(b"IDAT", b"\x78\x9c" + b"garbage" * 9)), "found a damaged PNG"),
    "text bomb behind the pixels": (
        stored()[:-12] + chunk(b"zTXt", b"k\0\0" + BOMB) + stored()[-12:],
        "found a PNG with more than 1 MiB of text",
    ),
}


@pytest.mark.tried("hostile files", "an image of 13,000 x 13,000 pixels in a small PNG, or with bombs in text chunks")
@pytest.mark.tried("damaged inputs", "an image that is cut, empty, animated, or WebP, BMP, GIF or TIFF in a PNG's name")
@pytest.mark.parametrize("name", [*WRONG, *DAMAGED])
def test_what_is_no_picture_is_refused_in_our_words(tmp_path: Path, name: str) -> None:
    content, words = {**WRONG, **DAMAGED}[name]
    path = tmp_path / "00001.png"
    path.write_bytes(content)
    for read in (read_picture, picture_header) if name in WRONG else (read_picture,):
        with pytest.raises(Unreadable) as caught:
            read(path)
        assert words in str(caught.value) and str(path) in str(caught.value)
    with pytest.raises(DataError, match=r"00001\.png \[frame 7\]: expected an image, found "):
        read_planes(path, "7")
    with pytest.raises(Unreadable):
        read_picture(path, content)
    assert (words in read_header(path).fault) == (name in WRONG)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_pictures_are_read_as_they_are(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(stored(mode))
    with Image.open(path) as image:
        expected = np.array(image)
    np.testing.assert_array_equal(np.array(read_picture(path)), expected)
    assert picture_header(path) == pictures.PictureHeader(mode, (32, 24))


@pytest.mark.tried(
    "damaged inputs", "each byte of a PNG with one bit flipped", "it is refused, or gives the same pixels"
)
@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "1", "P"])
def test_no_flipped_bit_of_a_png_gives_other_pixels(mode: str) -> None:
    content = smooth(mode)
    name, odd = Path("a.png"), []
    right = read_picture(name, content).convert("RGBA").tobytes()
    refused = 0
    for place in range(8, len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        try:
            odd += [place] if read_picture(name, bytes(flipped)).convert("RGBA").tobytes() != right else []
        except Unreadable:
            refused += 1
    assert odd == [] and refused > 0.8 * len(content)


def test_a_check_sum_that_does_not_fit_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    content = bytearray(stored())
    content[content.index(b"IDAT") + 100] ^= 4
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=r"found a damaged PNG: the check sum of its bytes 33 to 2,\d+ does not fit"):
        read_picture(path)


def test_a_jpeg_is_read_with_its_orientation_told(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a.jpg").write_bytes(stored(kind="JPEG", exif=exif, progressive=True))
    assert picture_header(tmp_path / "a.jpg") == pictures.PictureHeader("RGB", (32, 24), 6)
    with Image.open(tmp_path / "a.jpg") as image:
        np.testing.assert_array_equal(read_rgb(tmp_path / "a.jpg"), np.array(image))


def test_the_largest_image_is_that_of_the_limit() -> None:
    """8K passes; four times 4K in both directions does not."""
    path = Path("a.png")
    rows = zlib.compress(bytes((7680 + 1) * 4320), 1)
    whole = png(7680, 4320, chunk(b"IDAT", rows))
    assert 7680 * 4320 <= PIXELS < 8192 * 8192
    assert read_picture(path, whole).size == (7680, 4320)


def test_threads_decode_at_most_so_many_pixels_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads and a budget of two images: no third one is decoded meanwhile."""
    content = stored()
    budget, most, now, guard = pictures._Budget(2 * 32 * 24), [0], [0], threading.Lock()
    monkeypatch.setattr(pictures, "_decoding", budget)
    two = threading.Barrier(2)

    class Slow(pictures.PngImageFile):
        def load(self):
            with guard:
                now[0] += 1
                most[0] = max(most[0], now[0])
            two.wait(20)  # until another one is decoding, too
            with guard:
                now[0] -= 1
            two.wait(20)
            return super().load()

    monkeypatch.setitem(pictures._FORMATS, "PNG", (pictures._FORMATS["PNG"][0], Slow))
    threads = [threading.Thread(target=read_picture, args=(Path("a.png"), content)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads) and most == [2]


CHECK = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from headbench.datasets.common.images import read_headers
from headbench.datasets.common.pixels import read_planes
from headbench.harness.errors import DataError

def said(path):
    try:
        return read_planes(path, "7")
    except DataError as error:
        return str(error)

paths = sorted(Path(sys.argv[1]).glob("*.png"))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**30, used + 3 * 2**30))
print({header.fault for header in read_headers({path: path for path in paths}).values()})
with ThreadPoolExecutor(8) as pool:
    print(sum("expected an image, found 13000 x 13000 pixels" in line for line in pool.map(said, paths)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are Linux's")
@pytest.mark.tried("hostile files", "16 PNGs of 13,000 x 13,000 pixels in one dataset, with 3 GiB of memory left")
def test_checking_bombs_needs_no_memory(tmp_path: Path) -> None:
    """They took 14.7 GB, when eight threads decoded at once."""
    for index in range(16):
        (tmp_path / f"{index:02d}.png").write_bytes(png(13_000, 13_000, colours=6))
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    faults, errors = done.stdout.splitlines()
    assert faults == "{'found 13000 x 13000 pixels, and at most 40 million are read'}" and errors == "16"


@pytest.mark.tried("hostile files", "a named pipe, a device or a socket in place of an image")
def test_no_image_is_opened_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, words in (("pipe.png", "found a named pipe"), ("zero.png", "found a device")):
        for read in (picture_header, read_picture, read_rgb):
            with pytest.raises(Unreadable, match=words):
                read(tmp_path / name)
        assert words in read_header(tmp_path / name).fault
