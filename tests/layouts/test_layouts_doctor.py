"""`bench data check` looks at the mesh in every layout, whatever its reader does."""

from __future__ import annotations

import pytest

from headbench.harness.plugins import registry
from headbench.harness.run.data import Manifest
from headbench.inspection import draw_sheet, examine, summary_lines


@pytest.mark.parametrize("name", ["insta", "imavatar", "vhap"])
def test_the_mesh_lies_on_the_images_of_every_layout(layouts, name) -> None:
    found = examine(registry().load_dataset(name), "someone", layouts[name], {})
    assert found.subject is not None and [p.line() for p in found.problems if p.severity == "error"] == []
    overlaps = [problem for problem in found.problems if problem.message.startswith("mesh and alpha overlap: IoU")]
    assert len(overlaps) == 1 and len(found.views) == 3
    assert all(view.overlap.iou > 0.75 and view.overlap.inside > 0.95 for view in found.views)
    assert summary_lines(found.subject)[0].startswith(f"{found.subject.variant}, openhead, ")
    assert draw_sheet([found]).height == 3 * (256 + 18 + 4)


@pytest.mark.parametrize("name", ["insta", "imavatar", "vhap"])
def test_every_layout_gives_digests_of_each_frame(layouts, name) -> None:
    subject = registry().load_dataset(name).read(layouts[name], {})
    known = Manifest.of(subject)
    assert set(known.fingerprint) == {"images", "tracking", "split"} and set(known.frames) == {"images", "tracking"}
    assert all(set(ids) == {*known.train, *known.test} for ids in known.frames.values())
