"""Clothing and landmarks that layouts give to protocols, and alpha without clothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headbench.harness.errors import DataError
from headbench.harness.head import load_head, project
from headbench.harness.head.regions import REGIONS, region_labels
from headbench.harness.plugins import registry
from headbench.harness.train import identity_of


@pytest.fixture
def copied(layouts, tmp_path) -> Path:
    """A copy of the subject in IMAvatar's layout."""
    return shutil.copytree(layouts["imavatar"], tmp_path / "imavatar" / "synth00")


def read(name: str, folder: Path, **options):
    return registry().load_dataset(name).read(folder, options)


def test_both_layouts_give_one_collar_and_what_a_parser_calls_it(layouts) -> None:
    subjects = {name: read(name, layouts[name]) for name in ("imavatar", "insta")}
    both = {name: [frame.pixels() for frame in subject.test] for name, subject in subjects.items()}
    names = {name: {*frames[0].masks} for name, frames in both.items()}
    assert names == {"imavatar": {"mouth", "classes", "cloth"}, "insta": {"mouth", "cloth"}}
    for one, other in zip(both["imavatar"], both["insta"], strict=True):
        collar, classes = one.masks["cloth"], one.masks["classes"]
        assert torch.equal(collar, other.masks["cloth"]) and 20 < int((collar > 0).sum()) < 400
        assert torch.equal(collar > 0, classes == 16) and {*np.unique(classes)} >= {0, 1, 16, 17}
        # It is the lower end of what is seen.
        rows = torch.nonzero(collar[0])[:, 0]
        assert int(rows.max()) >= int(torch.nonzero(one.alpha[0] > 127)[:, 0].max()) - 1 and int(rows.min()) > 32


def test_the_region_cloth_is_where_a_parser_sees_the_collar(layouts) -> None:
    subject = read("imavatar", layouts["imavatar"])
    head = load_head(subject.head, "teeth").bind(identity_of(subject))
    label = 1 + [region.name for region in REGIONS].index("cloth")
    for frame in subject.test:
        pixels, place = frame.pixels(), torch.from_numpy(region_labels(head, frame) == label)
        found, parsed = place & (pixels.alpha[0] > 127), pixels.masks["cloth"][0] > 0
        assert int((found & parsed).sum()) > 0.6 * int((found | parsed).sum()), frame.id


def test_alpha_without_clothing_is_another_preparation_with_another_digest(layouts) -> None:
    kept, removed = (read("imavatar", layouts["imavatar"], clothing=clothing) for clothing in ("keep", "remove"))
    one, other = kept.test[0].pixels(), removed.test[0].pixels()
    cloth = one.masks["cloth"] > 0
    assert int(other.alpha[cloth].max()) == 0 and torch.equal(one.alpha[~cloth], other.alpha[~cloth])
    assert torch.equal(one.colour, other.colour)
    assert (kept.variant, removed.variant) == ("imavatar/fate", "imavatar/fate-unclothed")
    assert kept.fingerprint["images"] != removed.fingerprint["images"]
    assert any("clothing removed" in note for note in removed.notes)
    hard = read("imavatar", layouts["imavatar"], clothing="remove", mask="hard").test[0].pixels()
    assert torch.equal(hard.alpha, (other.alpha > 127).to(torch.uint8) * 255)


def test_landmarks_lie_where_the_file_says(layouts) -> None:
    subject = read("imavatar", layouts["imavatar"])
    assert all(frame.landmarks is None for frame in read("insta", layouts["insta"]).test)
    frame = subject.test[0]
    head = load_head(subject.head, "teeth").bind(identity_of(subject))
    places, _ = project(head.vertices(frame.params), frame.camera)
    found = (frame.landmarks + 1) * torch.tensor([frame.camera.width, frame.camera.height]) / 2
    assert frame.landmarks.shape == (68, 2)
    assert float(torch.cdist(found.float(), places[0]).min(dim=1).values.max()) < 0.05


@pytest.mark.tried("damaged inputs", "class numbers of a face parser that are missing, or a picture of them")
def test_class_numbers_that_are_missing_or_are_none_are_named(copied) -> None:
    lost = copied / "synth00_test" / "semantic" / "1.png"
    lost.rename(copied / "kept.png")
    assert {*read("imavatar", copied).train[0].pixels().masks} == {"mouth", "classes", "cloth"}
    with pytest.raises(DataError, match=r"semantic: expected a face parser's classes for each frame, since clothing"):
        read("imavatar", copied, clothing="remove")
    assert read("imavatar", copied, clothing="keep").variant == "imavatar/fate"
    lost = copied / "synth00_train" / "semantic" / "3.png"
    lost.unlink()
    findings = registry().load_dataset("imavatar").check(copied, {})
    assert any("found 1 missing" in found.message and "no mask of clothing" in found.message for found in findings)
    Image.new("L", (64, 64), 200).save(lost)
    frame = next(each for each in read("imavatar", copied).train if each.id.endswith("3"))
    with pytest.raises(DataError, match=r"3\.png .*expected a face parser's classes, 0 to 18, found 200"):
        frame.pixels().masks["cloth"]
    Image.new("L", (32, 32), 1).save(lost)
    (copied / "kept.png").rename(copied / "synth00_test" / "semantic" / "1.png")
    with pytest.raises(DataError, match=r"3\.png.*expected 64 x 64 .*, found 32 x 32"):
        read("imavatar", copied, clothing="remove")
