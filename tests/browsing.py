"""Chromium for tests of pages: what it shows, and that a page neither complains nor asks the network for anything.

`page` is a fresh profile's page; a test that opens one fails at its end where the page wrote an error or broke.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# WebGL2 without a GPU; the sandbox needs a user other than root.
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PLAINLY = "--disable-gpu-compositing"
"""Flag that has pages put together by the CPU itself, not by a GPU that the CPU plays: half the work, but for a page
whose canvas changes all the time, which says so by `ALWAYS_DRAWS` in its file of tests."""
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Watched:
    """What a page said and asked for since it was opened."""

    errors: list[str] = field(default_factory=list)
    """Errors of the console and of scripts."""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for, without `data:` and `blob:`, which are inside the page."""
    allowed: list[str] = field(default_factory=list)
    """Patterns of errors that a test expects."""

    def allow(self, pattern: str) -> None:
        """Expect errors that the regular expression finds."""
        self.allowed.append(pattern)

    def outside(self) -> list[str]:
        """Requests to anything but files of this machine: none for a page that is one file."""
        return [address for address in self.requests if not address.startswith("file:")]

    def unexpected(self) -> list[str]:
        """Errors that no pattern allows."""
        return [text for text in self.errors if not any(re.search(pattern, text) for pattern in self.allowed)]


def refuse_errors(pages: Iterable[Watched]) -> None:
    """Fail where a page wrote an error that the test does not expect."""
    errors = [text for watched in pages for text in watched.unexpected()]
    assert not errors, f"a page wrote errors: {errors}"


def eventually(page: Any, holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until a condition holds; fails after some seconds.

    Pages whose policy forbids `eval` cannot use playwright's `wait_for_function`, which is built on it.
    """
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, f"did not come true within {seconds} s"
        page.wait_for_timeout(20)


def executable() -> str | None:
    """Path of the browser that is installed; None where there is none."""
    return next((path for path in map(shutil.which, _NAMES) if path), None)


@pytest.fixture(scope="module")
def chromium(request) -> Iterator[Any]:
    """A running Chromium of playwright; its tests are skipped where none is installed.

    Lives as long as a file of tests: while playwright runs, this thread can run no other event loop.
    """
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = executable()
    if found is None:
        assert not os.environ.get("HEADBENCH_NEEDS_BROWSER"), "no Chromium on PATH, and it is asked for"
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    flags = [*FLAGS] if getattr(request.module, "ALWAYS_DRAWS", False) else [*FLAGS, PLAINLY]
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium) -> Iterator[Any]:
    """open_page(dark=False, phone=False, **options of a playwright context) -> a fresh profile's page.

    `page.watched` is a Watched. At the end each page that was opened must have written no error.
    """
    opened: list[tuple[Any, Watched]] = []

    def make(dark: bool = False, phone: bool = False, **options: Any) -> Any:
        options.setdefault("viewport", PHONE if phone else DESKTOP)
        options.setdefault("color_scheme", "dark" if dark else "light")
        context = chromium.new_context(has_touch=phone, is_mobile=phone, **options)
        context.set_default_timeout(20_000)
        page, watched = context.new_page(), Watched()
        page.watched = watched
        page.on("console", lambda said: watched.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on("request", lambda asked: _note(watched, asked.url))
        opened.append((context, watched))
        return page

    yield make
    for context, _ in opened:
        context.close()
    refuse_errors([watched for _, watched in opened])


@pytest.fixture
def page(open_page) -> Any:
    """A page of a fresh profile at desktop size in light colours; see `open_page`."""
    return open_page()


@pytest.fixture
def screenshot(tmp_path) -> Any:
    """screenshot(page, name, whole=False) -> a PNG in tmp_path, or in HEADBENCH_SCREENSHOTS to be looked at."""

    def take(page: Any, name: str, whole: bool = False) -> Path:
        folder = Path(os.environ.get("HEADBENCH_SCREENSHOTS") or tmp_path)
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(folder / f"{name}.png"), full_page=whole)
        return folder / f"{name}.png"

    return take


def _note(watched: Watched, address: str) -> None:
    if not address.startswith(("data:", "blob:")):
        watched.requests.append(address)
