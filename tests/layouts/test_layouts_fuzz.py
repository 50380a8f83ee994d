"""JSON and npz files changed at random: every layout's reader answers with a subject or with a clean error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headbench.harness.errors import DataError
from headbench.harness.plugins import registry

JSON_FILES = {
    "insta": ("transforms_train.json", "transforms_test.json", "head_model.json"),
    "imavatar": ("synth00_train/flame_params.json", "synth00_test/flame_params.json", "head_model.json"),
    "vhap": ("transforms_train.json", "transforms_val.json", "transforms_test.json", "head_model.json"),
}
NPZ_FILES = ("flame_param/00000.npz", "flame_param/00003.npz", "flame_param/00005.npz")
QUICK = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=12),
    st.sampled_from(["../..", "/etc/passwd", "a\0b", "./image/0", "./image/99999999999999999999", "images/0.png", "."]),
    st.lists(st.floats(allow_nan=True), max_size=4),
    st.lists(st.lists(st.integers(-3, 3), max_size=5), max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
)
names = st.sampled_from(["<f4", "<f8", "<i8", "?", "<U3", "<c16"])


@pytest.fixture(scope="module")
def copies(layouts, tmp_path_factory):
    """Layout -> a copy that is changed and mended."""
    place = tmp_path_factory.mktemp("fuzz")
    return {name: Path(shutil.copytree(folder, place / name / folder.name)) for name, folder in layouts.items()}


def _answer(name, folder):
    """A subject whose first frame can be used, or a clean error; nothing else may come out."""
    reader = registry().load_dataset(name)
    try:
        subject = reader.read(folder, {})
    except DataError as error:
        text = str(error)
        assert str(folder) in text and "bench data check" in text and "Traceback" not in text
        return
    frame = subject.train[0]
    assert np.isfinite(frame.params.expression.numpy()).all() and np.isfinite(frame.camera.w2c.numpy()).all()
    assert np.isfinite(frame.camera.K.numpy()).all() and frame.id not in {f.id for f in subject.test}


def _mutate(data, value):
    """Replace, remove or double something somewhere in nested lists and objects; returns the whole."""
    place, key = None, None
    for _ in range(data.draw(st.integers(0, 5))):
        node = value if place is None else place[key]
        keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
        if not keys:
            break
        place, key = node, data.draw(st.sampled_from(keys))
    if place is None:
        return data.draw(odd)
    action = data.draw(st.sampled_from(["replace", "replace", "remove", "double"]))
    if action == "replace":
        place[key] = data.draw(odd)
    elif action == "remove":
        del place[key]
    elif isinstance(place, list):
        place.insert(key, place[key])
    else:
        place[f"{key}_"] = place[key]
    return value


@pytest.mark.parametrize(
    "name", [pytest.param("insta", marks=pytest.mark.slow), "imavatar", pytest.param("vhap", marks=pytest.mark.slow)]
)
@QUICK
@given(data=st.data())
def test_changed_json(name, copies, data) -> None:
    path = copies[name] / data.draw(st.sampled_from(JSON_FILES[name]))
    before = path.read_bytes()
    try:
        path.write_text(json.dumps(_mutate(data, json.loads(before))))
        _answer(name, copies[name])
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    "name", [name if name == "vhap" else pytest.param(name, marks=pytest.mark.slow) for name in JSON_FILES]
)
@QUICK
@given(data=st.data())
def test_changed_bytes(name, copies, data) -> None:
    files = [*JSON_FILES[name], *(NPZ_FILES if name == "vhap" else ())]
    path = copies[name] / data.draw(st.sampled_from(files))
    before = path.read_bytes()
    start = data.draw(st.integers(0, len(before)))
    end = data.draw(st.integers(start, min(len(before), start + 200)))
    try:
        path.write_bytes(before[:start] + data.draw(st.binary(max_size=20)) + before[end:])
        _answer(name, copies[name])
    finally:
        path.write_bytes(before)


@pytest.mark.slow
@QUICK
@given(data=st.data())
def test_changed_arrays(copies, data) -> None:
    path = copies["vhap"] / data.draw(st.sampled_from(NPZ_FILES))
    before = path.read_bytes()
    arrays = dict(np.load(path))
    key = data.draw(st.sampled_from(sorted(arrays)))
    action = data.draw(st.sampled_from(["remove", "shape", "type", "value", "rename"]))
    value = arrays.pop(key)
    if action == "shape":
        arrays[key] = np.zeros(data.draw(st.lists(st.integers(0, 7), max_size=4)), np.float32)
    elif action == "type":
        arrays[key] = np.zeros(value.shape, data.draw(names))
    elif action == "value":
        value = value.copy()
        value.flat[data.draw(st.integers(0, value.size - 1))] = data.draw(st.floats(width=32))
        arrays[key] = value
    elif action == "rename":
        arrays[data.draw(st.text("abcdefgh", min_size=1, max_size=5))] = value
    try:
        np.savez(path, **arrays)
        _answer("vhap", copies["vhap"])
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("name", JSON_FILES)
def test_the_unchanged_copy_is_still_sound(name, copies) -> None:
    assert registry().load_dataset(name).read(copies[name], {}).train
