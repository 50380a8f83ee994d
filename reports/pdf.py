"""Writes a figure as PDF 1.4: text in Helvetica, lines as lines, pictures without loss. Needs nothing but zlib."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from headbench.reports.sheet import Bitmap, Dot, Line, Rgb8, Sheet, Text, width_of

__all__ = ["encoded"]

_CIRCLE = 0.5522847498
"""Length of a Bézier curve's handles for a quarter of a circle of radius one."""
_ASCENT = 0.76
"""Height of Helvetica's capitals above the base line, as a share of the size."""


def encoded(sheet: Sheet) -> bytes:
    """Bytes of a PDF document with one page."""
    pictures = [shape for shape in sheet.shapes if isinstance(shape, Bitmap)]
    numbers = {id(shape): number for number, shape in enumerate(pictures)}
    content = "\n".join(_operators(shape, sheet.height, numbers) for shape in sheet.shapes).encode("cp1252", "replace")
    first = 6
    names = " ".join(f"/P{number} {first + number} 0 R" for number in range(len(pictures)))
    page = (
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {sheet.width:.2f} {sheet.height:.2f}] /Contents 4 0 R "
        f"/Resources << /Font << /F 5 0 R >> /XObject << {names} >> >> >>"
    )
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        page.encode("ascii"),
        _stream("", content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        *(_picture(shape.pixels) for shape in pictures),
    ]
    return _document(objects)


def _document(objects: Sequence[bytes]) -> bytes:
    out, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def _stream(entries: str, content: bytes) -> bytes:
    packed = zlib.compress(content, 6)
    head = f"<< {entries}/Filter /FlateDecode /Length {len(packed)} >>\nstream\n".encode("ascii")
    return head + packed + b"\nendstream"


def _picture(pixels: Rgb8) -> bytes:
    height, width = pixels.shape[:2]
    about = (
        f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace /DeviceRGB /BitsPerComponent 8 "
    )
    return _stream(about, np.ascontiguousarray(pixels).tobytes())


def _operators(shape: Text | Line | Dot | Bitmap, height: float, numbers: dict[int, int]) -> str:
    """Operators that draw a shape; PDF counts from the lower left corner."""
    if isinstance(shape, Bitmap):
        box = f"{shape.width:.2f} 0 0 {shape.height:.2f} {shape.x:.2f} {height - shape.y - shape.height:.2f}"
        return f"q {box} cm /P{numbers[id(shape)]} Do Q"
    colour = " ".join(f"{value / 255:.3f}" for value in shape.colour)
    if isinstance(shape, Text):
        x = shape.x - {"left": 0.0, "middle": 0.5, "right": 1.0}[shape.anchor] * width_of(shape.text, shape.size)
        y = height - shape.y - _ASCENT * shape.size
        return f"BT {colour} rg /F {shape.size:.2f} Tf {x:.2f} {y:.2f} Td ({_escaped(shape.text)}) Tj ET"
    if isinstance(shape, Line):
        (x, y), *rest = shape.points
        path = f"{x:.2f} {height - y:.2f} m " + " ".join(f"{a:.2f} {height - b:.2f} l" for a, b in rest)
        return f"{colour} RG {shape.width:.2f} w {path} S"
    return f"{colour} rg {_disc(shape.x, height - shape.y, shape.radius)} f"


def _disc(x: float, y: float, radius: float) -> str:
    near, far = radius * _CIRCLE, radius
    corners = [((far, near), (near, far), (0, far)), ((-near, far), (-far, near), (-far, 0))]
    corners += [((-far, -near), (-near, -far), (0, -far)), ((near, -far), (far, -near), (far, 0))]
    curves = [" ".join(f"{x + a:.2f} {y + b:.2f}" for a, b in points) + " c" for points in corners]
    return f"{x + radius:.2f} {y:.2f} m " + " ".join(curves)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
