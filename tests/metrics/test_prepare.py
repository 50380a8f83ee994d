"""What happens to pictures before they are compared, against OpenCV where it is installed, and by hand."""

import math

import numpy as np
import pytest
import torch
from golden_pairs import make_pair

from headbench.harness.errors import DataError
from headbench.harness.types import Pixels
from headbench.metrics import AbsentKind, GroundTruth, load_protocol, read_scores, score_frames, write_scores
from headbench.metrics.prepare import bilinear, hull_plane, no_cloth_plane, saved
from headbench.metrics.prepare.hull import convex_hull, fill_hull
from headbench.metrics.prepare.region import Region
from headbench.metrics.prepare.saving import opened, stretched, truncated
from headbench.metrics.psnr import psnr


@pytest.fixture(scope="module")
def pair():
    return make_pair("A")


@pytest.fixture(scope="module")
def cv2():
    return pytest.importorskip("cv2", reason="OpenCV, the independent reference, is not installed")


def test_opening_and_resampling_are_those_of_opencv(cv2, pair):
    ones = np.ones((3, 3), np.uint8)
    theirs = cv2.dilate(cv2.erode(pair.pred, ones), ones)
    ours = opened(torch.from_numpy(pair.pred.transpose(2, 0, 1).copy())[None])[0]
    np.testing.assert_array_equal(ours.permute(1, 2, 0).numpy(), theirs)
    for size in ((48, 80), (100, 31), (32, 32)):
        theirs = cv2.resize(pair.gt.astype(np.float32), size)
        ours = bilinear(torch.from_numpy(pair.gt.transpose(2, 0, 1).copy()), *size)
        np.testing.assert_allclose(ours.permute(1, 2, 0).numpy(), theirs, atol=2e-4)


def test_hulls_are_filled_as_by_opencv(cv2):
    draw = np.random.default_rng(5)
    for count in (1, 2, 3, 5, 20, 68):
        for side in (16, 64):
            points = draw.integers(0, side, (count, 2))
            theirs = np.zeros((side, side), np.uint8)
            cv2.fillPoly(theirs, [cv2.convexHull(points.astype(np.int32))], 1)
            np.testing.assert_array_equal(fill_hull(convex_hull(points), side, side), theirs.astype(bool))


def test_a_hull_of_a_triangle_by_hand():
    inside = fill_hull(convex_hull(np.array([[0, 0], [4, 0], [0, 4], [1, 1], [0, 2]])), 6, 5)
    assert ["".join(".#"[int(value)] for value in row) for row in inside] == [
        "#####.",
        "####..",
        "###...",
        "##....",
        "#.....",
    ]


def test_floats_become_bytes_by_the_rule_that_a_protocol_names():
    image = torch.tensor([-0.2, 0.0, 127.6 / 255, 1.0, 1.3]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    ways = {name: load_protocol(name) for name in ("headbench@1", "pointavatar@1", "imavatar@1", "fateavatar@1")}
    row = {name: saved(image, rule)[0, 0, 0].tolist() for name, rule in ways.items() if name != "pointavatar@1"}
    assert row["headbench@1"] == [0, 0, 128, 255, 255]
    assert truncated(image.clamp(0, 1))[0, 0, 0].tolist() == [0, 0, 127, 255, 255]
    assert row["imavatar@1"][0] == 0 and row["imavatar@1"][-1] == 255 and 34 <= row["imavatar@1"][1] <= 35
    assert row["fateavatar@1"] == image[0, 0, 0].tolist()
    clamped = saved(image, load_protocol("gaussianavatars-train@1"))
    assert (clamped.amin(), clamped.amax()) == (0, 1)
    assert stretched(torch.full((1, 3, 2, 2), 0.5)).abs().max() == 0
    # What has 8 bit was saved already, and is only opened.
    speck = torch.zeros(1, 3, 5, 5, dtype=torch.uint8)
    speck[..., 2, 2] = 255
    assert saved(speck, ways["pointavatar@1"]).max() == 0 and saved(speck, ways["imavatar@1"]) is speck


def test_class_numbers_are_compared_exactly_after_resampling_and_masks_from_one_half_on():
    classes = torch.tensor([[[14, 14, 16, 16]]], dtype=torch.uint8)
    assert no_cloth_plane(classes, None, 4, 1).tolist() == [[[1, 1, 0, 0]]]
    # Half-way between neck and cloth lies necklace.
    assert no_cloth_plane(classes, None, 3, 1).tolist() == [[[1, 0, 0]]]
    mask = torch.tensor([[[0, 100, 200, 255]]], dtype=torch.uint8)
    assert no_cloth_plane(None, mask, 4, 1).tolist() == [[[1, 1, 0, 0]]]


def test_a_region_weights_errors_and_blackens():
    a, b = torch.full((1, 3, 2, 2), 0.5), torch.full((1, 3, 2, 2), 0.6)
    b[..., 0, :] = 0.9
    weight = torch.tensor([[0.0, 0.0], [1.0, 0.5]]).view(1, 1, 2, 2)
    over_all, over_region = Region(weight, False, True), Region(weight, True, False)
    assert psnr(a, b, region=over_all).item() == pytest.approx(-10 * math.log10(0.01 * 1.5 / 4), abs=1e-5)
    assert psnr(a, b, region=over_region).item() == pytest.approx(20, abs=1e-5)
    assert psnr(a, b, "channel_mean", region=over_region).item() == pytest.approx(20, abs=1e-5)
    assert psnr(a, a, rmse_added=1e-8).item() == pytest.approx(160)
    assert over_all.inside(b)[0, 0].tolist() == [[0, 0], pytest.approx([0.6, 0.6])]
    assert over_all.darkened(b)[0, 0].tolist() == [[0, 0], pytest.approx([0.6, 0.3])]
    assert over_region.inside(b) is b and over_region.darkened(b) is b


def test_a_render_below_a_half_below_zero_widens_splattingavatars_range(tmp_path, pair, empty_home):
    protocol = load_protocol("splattingavatar@1")
    plain = score_frames(pair.floats(tmp_path), pair.truth(), protocol).frames[0].value("ssim")
    pair.render.setflags(write=True)
    dark = type(pair)(pair.gt, pair.matte, pair.pred, pair.render.copy(), pair.sem, pair.kp)
    dark.render[30, 30] = -0.6
    wide = score_frames(dark.floats(tmp_path), dark.truth(), protocol).frames[0].value("ssim")
    assert wide > plain + 0.02


@pytest.mark.parametrize(
    ("name", "decibels"),
    [("fateavatar", 1e-3), ("splattingavatar", 1e-3), ("imavatar", 8e-3), ("pointavatar-no-cloth", 8e-3)],
)
def test_half_floats_score_as_floats_within_thousandths_of_a_decibel(tmp_path, pair, empty_home, name, decibels):
    protocol = load_protocol(f"{name}@1")
    if protocol.resolution != "native":
        protocol = protocol.model_copy(update={"resolution": 128})
    full = score_frames(pair.floats(tmp_path / "full"), pair.truth(), protocol, nets=()).frames[0]
    half = score_frames(pair.floats(tmp_path / "half", torch.float16), pair.truth(), protocol, nets=()).frames[0]
    assert half.value("psnr") == pytest.approx(full.value("psnr"), abs=decibels)
    assert half.value("ssim") == pytest.approx(full.value("ssim"), abs=6e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pointavatar-no-cloth@1", "n/a (region no-cloth needs the mask cloth; the data have mouth)"),
        ("imavatar@1", "n/a (region landmark-hull needs landmarks; the data have none)"),
    ],
)
@pytest.mark.tried(
    "damaged inputs", "a protocol whose region the data do not have", "one sentence in place of each metric", "nothing"
)
def test_data_without_what_a_region_needs_have_one_sentence_and_no_number(name, words, pair, tmp_path, empty_home):
    pixels = pair.truth().pixels("a")
    bare = GroundTruth(lambda _: Pixels(pixels.colour, pixels.alpha, {"mouth": pixels.alpha}))
    scores = score_frames(pair.floats(tmp_path), bare, load_protocol(name))
    assert scores.frames == () and {each.text for each in scores.absent.values()} == {words}
    assert {each.kind for each in scores.absent.values()} == {AbsentKind.NOT_AVAILABLE}
    write_scores(tmp_path / "s.jsonl", scores)
    assert read_scores(tmp_path / "s.jsonl") == scores and scores.why("psnr").text == words


def test_frames_without_landmarks_and_pictures_for_floats_are_named(pair, tmp_path, empty_home):
    truth, renders = pair.truth(), pair.floats(tmp_path)
    with pytest.raises(DataError, match=r"Frame a: region landmark-hull needs 68 landmarks, found none\."):
        score_frames(renders, GroundTruth(truth.pixels, landmarks={"b": pair.kp}), load_protocol("imavatar@1"))
    with pytest.raises(DataError, match=r"Frame a: .* needs 68 landmarks, found 5 x 2\."):
        score_frames(renders, GroundTruth(truth.pixels, landmarks={"a": pair.kp[:5]}), load_protocol("imavatar@1"))
    with pytest.raises(DataError, match="the hull of its landmarks lies outside the image"):
        hull_plane(np.full((68, 2), 3.0), 32, 32, "a")
    with pytest.raises(DataError, match=r"Frame a: fateavatar@1 scores float renders, .*a\.png holds 8 bit\."):
        score_frames(pair.picture(tmp_path), truth, load_protocol("fateavatar@1"))
    (tmp_path / "a.safetensors").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"Frame a: render .*a\.safetensors cannot be read"):
        score_frames(renders, truth, load_protocol("fateavatar@1"))
    with pytest.raises(DataError, match=r"Frame a: there is no render .*b\.safetensors"):
        score_frames({"a": tmp_path / "b.safetensors"}, truth, load_protocol("fateavatar@1"))
    broken = type(pair)(pair.gt, pair.matte, pair.pred, np.full_like(pair.render, np.nan), pair.sem, pair.kp)
    with pytest.raises(DataError, match=r"Frame a: render .* cannot be read: found values that are not finite"):
        score_frames(broken.floats(tmp_path), truth, load_protocol("fateavatar@1"))


def test_a_float_protocol_of_8_bit_pictures_takes_them_as_saved_in_its_way(pair, tmp_path, empty_home):
    from PIL import Image

    protocol = load_protocol("pointavatar@1")
    cut = truncated(pair.planes().clamp(0, 1))[0].permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(cut).save(tmp_path / "a.png")
    of_file = score_frames({"a": tmp_path / "a.png"}, pair.truth(), protocol)
    assert of_file.frames == score_frames(pair.floats(tmp_path), pair.truth(), protocol).frames
