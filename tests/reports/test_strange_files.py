"""A named pipe, a socket or a device in place of any file of a run: no verb waits for it, and it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from isolation import Plug
from strange_files import KINDS, instead, put, within

from headbench.harness.cli.verbs import cli
from headbench.harness.errors import BenchError
from headbench.harness.plugins import MethodSpec
from headbench.harness.plugins.checks import preset_values
from headbench.harness.run.request import read_request
from headbench.metrics import load_protocol, read_scores


def said(path: Path, *arguments: object) -> str:
    """What a verb says with something else in place of `path`, which is one error or a note beside its work."""

    def call() -> str:
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments], standalone_mode=False)
        error = result.exception
        if error is not None and not isinstance(error, BenchError | SystemExit):
            raise error
        return f"{result.output}\n{error or ''}"

    return str(within(120, call, path))


@pytest.mark.tried("hostile files", "a named pipe, a socket or a device in place of any file of a run")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "pipe" else [pytest.mark.slow]) for kind in KINDS]
)
def test_no_verb_waits_for_what_is_no_file(new_run: Callable[..., Any], kind: str) -> None:
    run = new_run()
    folder = run.result("FateAvatar")
    run.result("Other")
    (folder / "job.json").write_text(json.dumps({}))
    files = [path for path in sorted(run.path.rglob("*")) if path.is_file()]
    assert {"plan.json", "run.yaml", "cell.json"} <= {path.name for path in files}
    for path in (path for path in files if "other" not in str(path)):
        with instead(path, kind):
            for verb in (("status",), ("report", "--no-figures")):
                assert "Traceback" not in said(path, *verb, run.path)


@pytest.mark.tried("hostile files", "a named pipe, a socket or a device as request, protocol, preset, scores or zip")
@pytest.mark.parametrize("kind", KINDS)
def test_no_file_that_is_named_is_waited_for(tmp_path: Path, kind: str, plug: Plug) -> None:
    words = f"found {KINDS[kind]} instead of a file"
    package = tmp_path / f"plugged_{kind}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    plug(tmp_path)
    spec = MethodSpec("Plugged", f"{package.name}:Nothing", {"official": f"{package.name}:own.yaml"}, "official")
    readers: dict[str, Callable[[Path], object]] = {
        "request.yaml": lambda path: read_request(path, {}),
        "mine@1.yaml": lambda path: load_protocol(str(path)),
        "a.jsonl": read_scores,
        f"{package.name}/own.yaml": lambda path: preset_values(spec, "official"),
    }
    for name, read in readers.items():
        path = tmp_path / name
        put(path, kind)
        with pytest.raises(BenchError) as caught:
            within(60, lambda path=path, read=read: read(path), path)
        assert words in str(caught.value) and path.name in str(caught.value), (name, caught.value)
    for verb in (("submit", "check"), ("assets", "add", "flame2023"), ("run",), ("render",)):
        path = tmp_path / f"{verb[-1]}.zip"
        put(path, kind)
        assert str(path.name) in said(path, *verb, path)


@pytest.mark.tried("hostile files", "a received run whose folders are links to elsewhere", "nothing is written there")
def test_no_verb_writes_through_a_link_out_of_a_run(new_run: Callable[..., Any], tmp_path: Path) -> None:
    run = new_run()
    cell = run.result("FateAvatar")
    outside = tmp_path / "outside"
    outside.mkdir()
    score = ("score", run.path, "--protocol", "headbench@1", "--force")
    train = ("run", "--methods", "all", "--datasets", "all", "--data-root", tmp_path, "--out", run.path)
    pages, packs = ("report", run.path, "--no-figures"), ("submit", "nersemble", run.path)
    links = {cell / "renders": (score, train, packs), cell / "stages" / "track": (score, train)}
    links |= {run.path / "report": (pages, train), run.path / "data": (train, score)}
    for link, verbs in links.items():
        link.symlink_to(outside)
        for verb in verbs:
            assert f"{link} is a link to {outside}" in said(link, *verb), verb
        for verb in ("status", "verify"):
            assert "is a link to" not in said(link, verb, run.path)
        link.unlink()
    assert list(outside.iterdir()) == []
