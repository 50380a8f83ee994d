"""A view prior of another distribution: the one of docs/plugins.md, headbench_bust, and a method completed by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from isolation import Plug

from headbench.harness.errors import BenchError
from headbench.harness.plugins import registry
from headbench.stages.complete.config import CompleteConfig
from headbench.stages.complete.storage import read_views

PAGE = Path(__file__).parents[3] / "docs" / "plugins.md"


@pytest.fixture
def bust(tmp_path: Path, plug: Plug) -> None:
    """The example, installed."""
    folder = tmp_path / "site"
    info = folder / "headbench_bust-1.0.dist-info"
    for place in (folder / "headbench_bust", info):
        place.mkdir(parents=True)
    page = PAGE.read_text(encoding="utf-8")
    for name in ("__init__", "prior"):
        (code,) = re.findall(rf"^`headbench_bust/{name}\.py`\n\n```python\n(.*?)^```", page, re.M | re.S)
        (folder / "headbench_bust" / f"{name}.py").write_text(code, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: headbench_bust\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headbench]\nbust = headbench_bust\n")
    plug(folder)


@pytest.mark.slow
def test_the_prior_of_the_page_completes_an_avatar(
    bust: None, parents: Callable[..., Any], complete: Callable[..., Any]
) -> None:
    assert registry().view_priors()["bust"].summary == "the head in one colour" and registry().problems() == []
    options = {"prior": "bust", "prior_set": {"trust": 1.0}, "looks": 1, "size": 32}
    instance = complete(parents(), **options, epochs=0)
    instance.run()
    views = read_views(instance.work.folder / "views")
    back = views[12]
    assert len(views) == 24 and len(back.image[:, back.matte[0] > 0].unique(dim=1)[0]) == 1
    with pytest.raises(BenchError, match="view prior bust: trust: input should be less than or equal to 1, got 3"):
        complete(parents(), prior="bust", prior_set={"trust": 3})


def test_a_prior_that_gives_nonsense_is_named_and_leaves_no_views(
    bust: None, parents: Callable[..., Any], complete: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: Any = registry().load_view_prior("bust")
    monkeypatch.setattr(kind, "trust", lambda self, matte, work: torch.full_like(matte, float("nan")))
    instance = complete(parents(), prior="bust", looks=1, size=32)
    with pytest.raises(BenchError, match="view prior bust: view '0000': confidence: expected finite"):
        instance.run()
    assert not (instance.work.folder / "views").exists() and not list(instance.work.folder.glob("checkpoint-*"))


def test_a_short_video_is_passed_more_often_until_views_had_their_steps() -> None:
    config = CompleteConfig(epochs=2, least_views=2000, alone=0.5)
    assert config.passes(48) == 84 and config.passes(600) == 7 and config.passes(5000) == 2
    alone = CompleteConfig(epochs=3, least_views=2000, alone=1.0)
    assert alone.passes(48) == 3, "there are no steps on views"
    assert CompleteConfig(epochs=0, least_views=2000).passes(48) == 0
