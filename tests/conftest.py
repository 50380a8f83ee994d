"""Fixtures for the whole suite."""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.util
import itertools
import json
import os
import shutil
import sys
from pathlib import Path
from typing import ClassVar

import pytest

# As `bench` sets it before torch is loaded: threads that wait for work must not burn the cores that others need.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Tensors of tests are small: a second thread of torch costs a core and saves no time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# glibc keeps what was freed, in workers and programs that tests start: pages that are given back and asked for again
# cost the system as much time as tests' small pictures take.
for _name, _bytes in (("TRIM_THRESHOLD", 1 << 29), ("MMAP_THRESHOLD", 1 << 29), ("TOP_PAD", 1 << 24)):
    os.environ.setdefault(f"MALLOC_{_name}_", str(_bytes))
_number = itertools.count()
# While modules are imported and tests collected there is hardly any garbage, and ever more objects to look through.
gc.disable()


class _Helpers(importlib.abc.MetaPathFinder):
    """Finds modules of helpers, which lie in rooms' folders of tests, by their names; each is loaded when asked for.

    The process that hands tests out to workers needs hardly any, and so no torch.
    """

    rooms: ClassVar = {
        ".": "browsing commands damage_cases discs forked help_lines in_memory isolation moments order robustness"
        " strange_files syntax waiting warm",
        "assets": "gadgets",
        "execution": "cells",
        "head": "flame_format",
        "insta": "insta_format",
        "metrics": "golden_pairs",
        "nersemble": "nersemble_format",
        "results": "simulation",
        "run": "toy_cells",
    }
    """Folder -> names of its modules."""
    places: ClassVar = {name: room for room, names in rooms.items() for name in names.split()}
    """Name of a module -> its folder."""

    def find_spec(self, name, path=None, target=None):
        if name not in self.places:
            return None
        return importlib.util.spec_from_file_location(name, Path(__file__).parent / self.places[name] / f"{name}.py")


sys.meta_path.insert(0, _Helpers())
# Before anything asks for a temporary folder.
importlib.import_module("in_memory").use_memory()
_isolation, _robustness, _warm, _browsing, _order = map(
    importlib.import_module, ("isolation", "robustness", "warm", "browsing", "order")
)
chromium, open_page = _browsing.chromium, _browsing.open_page
page, screenshot = _browsing.page, _browsing.screenshot
pytest_addoption = _robustness.pytest_addoption
pytest_runtest_logreport, pytest_sessionfinish = _robustness.pytest_runtest_logreport, _robustness.pytest_sessionfinish


def pytest_configure(config) -> None:
    """Set up the marks, and compile what several workers would each compile."""
    _robustness.pytest_configure(config)
    if _warm.has_workers(config):
        _warm.before_workers()
        config.option.loadscopereorder = False  # files come in the order of `order`
    else:
        importlib.import_module("forked")  # before any kernel runs


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items) -> None:
    """Note what is tried, and sort the files of the tests that are left."""
    _robustness.pytest_collection_modifyitems(items)
    _order.put_long_files_first(items)


def pytest_collection_finish() -> None:
    """Imports and tests stay to the end: no collection of garbage need look at their million objects.

    Nor need it look at what tests make as often as Python would: by default it takes three hundredths of the time.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _as_found(tmp_path_factory):
    """The state of this process that every file of tests must leave as it found it.

    Fixtures of a file or a session see no files of the developer's either, and try no toys in processes of their own.
    Here and in forks, files are not pushed to the disk: no test cuts the power, and disks make two processes wait.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADBENCH_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        patch.setenv("HEADBENCH_PLUGIN_SECONDS", "0")
        patch.setattr(os, "fsync", os.fstat)  # which refuses what is no open file, too
        yield _isolation.Left.now(tmp_path_factory.getbasetemp().parent)


@pytest.fixture(scope="session", autouse=True)
def _samples_once(tmp_path_factory):
    """Samples of the built-in datasets are rendered by one process for all, with little hair."""
    from headbench.datasets.synthetic import samples

    render = samples._written

    def written(layout):
        def make(folder):
            with importlib.import_module("discs").thin_hair():
                shutil.copytree(render(layout) / layout, folder / layout)

        return _isolation.once(tmp_path_factory, f"sample-{layout}", make)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "_written", written)
        yield


@pytest.fixture(scope="module", autouse=True)
def _leaves_nothing(_as_found, tmp_path_factory):
    """Fails a file of tests that leaves a path, a variable, a module or a plugin behind, and takes it away."""
    _isolation.one_thread()
    yield
    temporary = tmp_path_factory.getbasetemp().parent
    left = _as_found.changes(_isolation.Left.now(temporary))
    if left:
        _as_found.restore(temporary)
    assert not left, left


@pytest.fixture
def plug():
    """plug(*folders) puts folders of packages and distributions on this process's path until the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda *folders: stack.enter_context(_isolation.plugged(*folders))


@pytest.fixture(scope="session")
def flame_format():
    """The module that writes a synthetic head in FLAME's file formats: make_head, write_model, write_all ..."""
    return importlib.import_module("flame_format")


@pytest.fixture(scope="session")
def insta_format():
    """The module that writes a subject in INSTA layout by hand: Author(folder), which also damages it."""
    return importlib.import_module("insta_format")


@pytest.fixture(scope="session")
def nersemble_format():
    """The module that writes a person of the NeRSemble benchmark by hand: Author(folder), which also damages it."""
    return importlib.import_module("nersemble_format")


@pytest.fixture(scope="session")
def made_flame(flame_format):
    """The arrays of the synthetic FLAME head."""
    return flame_format.make_head()


@pytest.fixture(scope="session")
def flame_files(flame_format, made_flame, tmp_path_factory):
    """asset name -> file: generic_model.pkl, masks, both templates and eyelids, not registered. Read only."""
    folder = tmp_path_factory.mktemp("flame")
    yield flame_format.write_all(folder, made_flame)
    # 50 MB per model: do not leave them in the folders that pytest keeps.
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def register_flame(flame_files, tmp_path_factory):
    """register_flame(home, names) registers synthetic files in a HEADBENCH_HOME: links to what was copied once."""
    from headbench.harness.assets import register

    once = tmp_path_factory.mktemp("flame_registered")

    def link(home, names):
        for name in names:
            record = once / "assets" / f"{name}.json"
            if not record.exists():
                with pytest.MonkeyPatch.context() as patch:
                    patch.setenv("HEADBENCH_HOME", str(once))
                    register(name, flame_files[name], source="made by the tests")
            folder = (home / "assets" / name).parent
            folder.mkdir(parents=True, exist_ok=True)
            for path in (record, record.with_name(json.loads(record.read_text())["file"])):
                (folder / path.name).hardlink_to(path)

    yield link
    shutil.rmtree(once)


@pytest.fixture(scope="session")
def flame_home(register_flame, tmp_path_factory):
    """A HEADBENCH_HOME where a synthetic FLAME 2020, masks and UV template are registered; a test that asks for it has
    HEADBENCH_HOME set to it. Read only: the whole session shares it."""
    home = tmp_path_factory.mktemp("flame_home")
    register_flame(home, ("flame2020/model", "flame/masks", "flame/uv_template"))
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def flame_heads(flame_files, register_flame, tmp_path_factory):
    """(tag, topology) -> a synthetic FLAME head of either year with all that can be registered beside it. Read only."""
    from headbench.harness.assets import register
    from headbench.harness.head import load_head

    folder, known = tmp_path_factory.mktemp("flame_heads"), {}
    model = folder / "flame2023.pkl"
    model.symlink_to(flame_files["flame2020/model"])
    register_flame(folder / "home", flame_files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADBENCH_HOME", str(folder / "home"))
        register("flame2023/model", model, source="made by the tests")

    def make(tag, topology):
        if (tag, topology) not in known:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("HEADBENCH_HOME", str(folder / "home"))
                known[tag, topology] = load_head(tag, topology)
        return known[tag, topology]

    yield make
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _home(request, tmp_path_factory, monkeypatch):
    """No test sees the developer's own files, unless HEADBENCH_TEST_ASSETS names a folder of them."""
    if "flame_home" in request.fixturenames:
        home = request.getfixturevalue("flame_home")
    elif os.environ.get("HEADBENCH_TEST_ASSETS"):
        home = Path(os.environ["HEADBENCH_TEST_ASSETS"])
    else:
        home = tmp_path_factory.getbasetemp() / f"home-{next(_number)}"
    monkeypatch.setenv("HEADBENCH_HOME", str(home))


@pytest.fixture(scope="session")
def roma():
    """The package roma, imported where a test compares with it: it brings a part of torch that takes a second."""
    return importlib.import_module("roma")


@pytest.fixture(scope="session")
def torchvision():
    """torchvision, also where its compiled part does not fit this torch: its operators are declared first.

    For packages that import it on the way (lpips, torchmetrics); nothing of it is computed.
    """
    import torch

    try:
        import torchvision
    except (ImportError, OSError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in (
            "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        ):
            library.define(schema)
        torchvision = pytest.importorskip("torchvision")
        # Its declarations live as long as the object.
        torchvision._declared_for_tests = library
    return torchvision
