"""Whatever bytes lie in a JSON, npz or mp4 file: a person is read, or a DataError says why not."""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headbench.datasets.nersemble.hidden import benchmark_test
from headbench.datasets.nersemble.reader import NersembleReader
from headbench.harness.errors import DataError

QUICK = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SLOWER = settings(QUICK, max_examples=6)
OPTIONS = {"missing": "allow"}
SEQ = "EXP-2-eyes"

words = st.text(max_size=4) | st.sampled_from(["222200037", "world_2_cam", "intrinsics", "tag"])
leaves = st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | words
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(words, inner), max_leaves=12)
kinds = st.sampled_from(["f4", "f8", "f2", "i8", "u1", "b1", "c16", "U3", "S2", "M8[s]", "V4", ">f4"])
shapes = st.lists(st.integers(0, 4) | st.sampled_from([100, 300]), max_size=4).filter(lambda s: math.prod(s) < 10**5)


def _survives(author: Any) -> None:
    """Reading gives a person or a DataError with a file in it; so do checking and the hidden views."""
    for action in (
        lambda: NersembleReader().read(author.folder, OPTIONS),
        lambda: benchmark_test(author.folder),
    ):
        try:
            action()
        except DataError as error:
            assert str(author.folder) in str(error) and "help: bench data check nersemble" in str(error)


@pytest.fixture(scope="module")
def tiny(nersemble_format, tmp_path_factory) -> Any:
    """A person with two training sequences and one hidden one; tests put back what they change."""
    author = nersemble_format.Author(tmp_path_factory.mktemp("fuzz") / "393")
    author.write()
    kept = (SEQ, "EMO-4-disgust+happy", *nersemble_format.TEST)
    author.remove(*(author.sequence(name) for name in nersemble_format.TRAIN if name not in kept))
    return author


def _with(author: Any, path: Path, content: bytes) -> None:
    sound = path.read_bytes()
    path.write_bytes(content)
    try:
        _survives(author)
    finally:
        path.write_bytes(sound)


def test_the_sound_person_is_read(tiny) -> None:
    subject = NersembleReader().read(tiny.folder, OPTIONS)
    assert (len(subject.train), len(subject.test), len(benchmark_test(tiny.folder))) == (2, 2, 16)


@pytest.mark.slow
@QUICK
@given(st.data())
def test_any_value_anywhere_in_the_cameras(tiny, data) -> None:
    content = json.loads(tiny.calibration.read_text())
    place: Any = content
    # Walk down from the top and replace what is found somewhere.
    for depth in range(data.draw(st.integers(1, 4))):
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if (depth and data.draw(st.booleans())) or not isinstance(place[key], dict | list) or not place[key]:
            break
        place, key = place[key], (sorted(place[key])[0] if isinstance(place[key], dict) else 0)
    place[key] = data.draw(values)
    _with(tiny, tiny.calibration, json.dumps(content).encode())


@pytest.mark.slow
@QUICK
@given(values)
@example("[" * 5000 + "]" * 5000)
def test_any_json_as_cameras_and_head(tiny, value) -> None:
    content = (value if isinstance(value, str) and value.startswith("[[[") else json.dumps(value)).encode()
    _with(tiny, tiny.calibration, content)
    _with(tiny, tiny.folder / "head_model.json", content)


@QUICK
@given(st.dictionaries(st.sampled_from(["tag", "size"]), values | st.sampled_from(["openhead", "flame2020", 32, 64])))
def test_any_head_file(tiny, content) -> None:
    _with(tiny, tiny.folder / "head_model.json", json.dumps(content).encode())


@pytest.mark.slow
@QUICK
@given(st.data())
def test_any_array_in_the_tracking(tiny, data) -> None:
    path = tiny.tracking(data.draw(st.sampled_from([SEQ, "FREE"])))
    with np.load(path) as store:
        content = {key: store[key] for key in store.files}
    for key in data.draw(st.lists(st.sampled_from([*sorted(content), "more"]), min_size=1, max_size=2)):
        shape = data.draw(shapes | st.just(np.shape(content.get(key, 0))))
        kind = np.dtype(data.draw(kinds))
        raw = data.draw(st.binary(max_size=16)) or b"\0"
        size = math.prod(shape) * kind.itemsize
        content[key] = np.frombuffer((raw * (size // len(raw) + 1))[:size], dtype=kind).reshape(shape)
    stream = io.BytesIO()
    np.savez(stream, **content)
    _with(tiny, path, stream.getvalue())


@pytest.mark.slow
@QUICK
@given(st.data())
def test_any_flipped_or_missing_bytes(tiny, data) -> None:
    path = data.draw(
        st.sampled_from(
            [
                tiny.tracking(SEQ),
                tiny.tracking("FREE"),
                tiny.video(SEQ),
                tiny.video(SEQ, "alpha_maps"),
                tiny.calibration,
            ]
        )
    )
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 8))):
        # Headers are at both ends of npz and mp4 files.
        near = data.draw(st.integers(0, 200))
        content[data.draw(st.sampled_from([near, -1 - near, len(content) // 2 + near])) % len(content)] = data.draw(
            st.integers(0, 255)
        )
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    _with(tiny, path, bytes(content))


@pytest.mark.slow
@QUICK
@given(st.binary(max_size=300))
def test_any_member_in_an_archive(tiny, content) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for key in ("shape", "expression", "frames"):
            archive.writestr(f"{key}.npy", content)
        archive.writestr("rotation.npy", b"\x93NUMPY\x01\x00" + content)
    _with(tiny, tiny.tracking(SEQ), stream.getvalue())


@pytest.mark.parametrize("shape", ["(9999999999999, 100)", "(-1, 100)", "(2, 100, 0)", "(True, 100)", "('2', 100)"])
def test_impossible_sizes_in_an_array(tiny, shape) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("expression.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    _with(tiny, tiny.tracking(SEQ), stream.getvalue())


@pytest.mark.parametrize(("place", "value"), [(6, 1), (8, 99), (8, 8)])
def test_archives_that_python_cannot_unpack(tiny, place, value) -> None:
    """Encrypted, of an unknown method, and deflated that is not."""
    content = bytearray(tiny.tracking(SEQ).read_bytes())
    for start, offset in ((0, 0), (content.index(b"PK\x01\x02"), 2)):
        content[start + place + offset] = value
    _with(tiny, tiny.tracking(SEQ), bytes(content))


@SLOWER
@given(st.integers(0, 8), st.data())
def test_checking_says_what_reading_would(tiny, flips, data) -> None:
    """The doctor decodes what reading only counts; it must not fall over damaged pictures either."""
    path = tiny.video(SEQ, data.draw(st.sampled_from(["images", "alpha_maps"])))
    sound = path.read_bytes()
    content = bytearray(sound)
    for _ in range(flips):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    try:
        problems = NersembleReader().check(tiny.folder, OPTIONS)
        assert all(problem.line() for problem in problems)
    finally:
        path.write_bytes(sound)
