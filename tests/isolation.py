"""Isolation of test files from each other: plugins on this process's path for a while, and a check that nothing stays.

Files of tests run in any order and in several processes, so none may rely on, or suffer from, what another left.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

import filelock
import pytest

from headbench.harness.plugins import registry as find_registry

TOYS = (*Path(__file__).parent.glob("*/toys"), *Path(__file__).parent.glob("*/thirdparty"))
"""Folders of toy packages, none of which a file of tests may leave in sys.modules."""
Plug: TypeAlias = Callable[..., None]
"""`plug(*folders)` of the fixture `plug`: `plugged` until the test ends."""
_OTHERS = ("PYTEST_", "TORCHINDUCTOR_", "LD_LIBRARY_PATH")
"""Beginnings of variables that pytest, torch and OpenCV set by themselves."""
_SETUPTOOLS = str(Path("setuptools", "_vendor"))
"""End of a folder that setuptools puts on the path by itself, when gsplat's kernels are loaded or compiled."""
_TORCH = ("are_deterministic_algorithms_enabled", "get_default_dtype", "is_grad_enabled")
_INSTALLED = {point.name for point in importlib.metadata.entry_points(group="headbench")}
"""Plugins that the developer has installed, which stay."""
_PACKAGES = tuple({f"{sysconfig.get_path(kind)}{os.sep}" for kind in ("stdlib", "platstdlib", "purelib", "platlib")})
"""Beginnings of files of Python's library and of installed packages."""
_installed: dict[str, ModuleType] = {}
"""Name -> module, of those thousands that lie in `_PACKAGES` or in no file, each looked at once."""
_imported: dict[str, dict[str, ModuleType]] = {}
"""Folder of plugins -> modules that were imported from it, so that its classes are the same when it comes again."""


@contextlib.contextmanager
def plugged(*folders: Path) -> Iterator[None]:
    """Put folders of packages and distributions on this process's path, the last one first, and take them off again.

    Within, `harness.plugins.registry` finds their plugins. Afterwards sys.path is as before, modules that came from the
    folders are gone from sys.modules, and the registry is made anew when somebody asks.

    Args:
        folders: site folders; each may be plugged in already, and then stays.
    """
    path, known = list(sys.path), set(sys.modules)
    for folder in map(str, folders):
        sys.path.insert(0, folder)
        sys.modules.update(_imported.get(folder, {}))
    importlib.invalidate_caches()
    find_registry.cache_clear()
    try:
        yield
    finally:
        sys.path[:] = path
        for folder in map(str, folders):
            found = {name: module for name, module in _below(folder).items() if name not in known}
            _imported.setdefault(folder, {}).update(found)
            for name in found:
                del sys.modules[name]
        importlib.invalidate_caches()
        find_registry.cache_clear()


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that is filled once per session, by whichever of pytest's workers asks first.

    Args:
        factory: pytest's temporary folders of this worker.
        name: of the folder.
        make: fills the empty folder, which is read only afterwards.
    """
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    made = folder.with_name(f"{name}.made")
    with filelock.FileLock(folder.with_name(f"{name}.lock")):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


def _below(*folders: str) -> dict[str, ModuleType]:
    """Name -> module, for the imported modules whose files lie below one of the folders."""
    starts = tuple(f"{folder}{os.sep}" for folder in folders)
    found = {}
    for name, module in list(sys.modules.items()):
        if _installed.get(name) is module:
            continue
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or file.startswith(_PACKAGES):
            _installed[name] = module
        elif file.startswith(starts):
            found[name] = module
    return found


@dataclass(frozen=True)
class Left:
    """State of this process that a file of tests must leave as it found it."""

    path: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    modules: frozenset[str]
    """Modules of toys, and those whose files lie in pytest's temporary folders."""
    strangers: frozenset[str]
    """Plugins in the registry, where there is one, that are neither built in nor installed when the tests begin."""
    settings: Mapping[str, object]
    """Settings of torch, where it is imported."""

    @classmethod
    def now(cls, temporary: Path) -> Left:
        """State at this moment; `temporary` is the folder that holds pytest's temporary folders."""
        folders = map(str, (temporary, *TOYS))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
        modules = frozenset(_below(*folders))
        return cls(tuple(sys.path), environment, str(Path.cwd()), modules, _strangers(), _torch_settings())

    def changes(self, after: Left) -> list[str]:
        """One line per thing that is another afterwards."""
        added = [entry for entry in after.path if entry not in self.path and not entry.endswith(_SETUPTOOLS)]
        found = [f"sys.path has {entry}" for entry in added]
        found += [f"sys.path lacks {entry}" for entry in self.path if entry not in after.path]
        names = sorted(self.environment.keys() | after.environment.keys())
        values = [(name, self.environment.get(name), after.environment.get(name)) for name in names]
        found += [f"the variable {name} was {old!r} and is {new!r}" for name, old, new in values if old != new]
        if after.folder != self.folder:
            found.append(f"the working folder is {after.folder}")
        found += [f"sys.modules has {name}" for name in sorted(after.modules - self.modules)]
        found += [f"the registry has the plugin {name}" for name in sorted(after.strangers - self.strangers)]
        known = [name for name in self.settings if name in after.settings]
        found += [
            f"torch.{name}() was {self.settings[name]} and is {after.settings[name]}"
            for name in known
            if self.settings[name] != after.settings[name]
        ]
        return found

    def restore(self, temporary: Path) -> None:
        """Bring this process back to the state, so that no later file suffers."""
        sys.path[:] = self.path
        for name in Left.now(temporary).modules - self.modules:
            del sys.modules[name]
        for name in [name for name in os.environ if name not in self.environment and not name.startswith(_OTHERS)]:
            del os.environ[name]
        os.environ.update(self.environment)
        os.chdir(self.folder)
        importlib.invalidate_caches()
        find_registry.cache_clear()
        if self.settings:
            import torch

            torch.use_deterministic_algorithms(bool(self.settings["are_deterministic_algorithms_enabled"]))
            torch.set_default_dtype(self.settings["get_default_dtype"])  # type: ignore[arg-type]
            torch.set_grad_enabled(bool(self.settings["is_grad_enabled"]))


def one_thread() -> None:
    """Let torch use one thread, which is faster for small tensors; numba's threads, once started, set it to theirs."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def _torch_settings() -> dict[str, object]:
    torch = sys.modules.get("torch")
    return {} if torch is None else {name: getattr(torch, name)() for name in _TORCH}


def _strangers() -> frozenset[str]:
    if not find_registry.cache_info().currsize:
        return frozenset()
    plugins = find_registry().plugins()
    return frozenset(plugin.name for plugin in plugins if plugin.origin != "built in") - _INSTALLED
