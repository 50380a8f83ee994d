"""Stickers and washes: where they lie on atlas and head, FATE's formula, seams, order of views."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.errors import BenchError
from headbench.harness.head import TOPOLOGIES, load_head, project
from headbench.stages.bake import Maps
from headbench.stages.bake.maps import DC
from headbench.stages.bake.pictures import write_maps
from headbench.stages.bake.png import read_png, write_png
from headbench.stages.edit import Canvas, Stack, apply, bring, canvas_of
from headbench.stages.edit.canvas import luma
from headbench.stages.edit.entries import ColourMap, Frame, Rectangle, Region, Sticker, Swap, Wash
from headbench.stages.edit.regions import border_distance
from headbench.stages.edit.views import plain

PIXELS = [(0, 0), (0, 5), (1, 1), (3, 2), (4, 7), (6, 3), (7, 0), (7, 7)]
CONTENT = [
    *((0, 0, 5), (20, 155, 150), (36, 31, 51), (104, 62, 114)),
    *((156, 217, 20), (204, 93, 194), (224, 0, 124), (252, 217, 71)),
]
MASK = [0, 0, 36, 72, 252, 108, 255, 255]
BEFORE = [
    *((0.9203445, 1.43042, 1.440852), (0.5729878, 1.348938, 1.473495), (0.3144828, 1.27093, 1.477474)),
    *((1.303141, 1.477338, 1.265141), (0.861703, -0.4953348, -1.327196), (0.4953348, -0.861703, -1.418465)),
    *((0.9429525, 1.434816, 1.436812), (0.3144828, 1.27093, 1.477474)),
]
AFTER = [
    *((0.9203445, 1.43042, 1.440852), (0.5729878, 1.348938, 1.473495), (0.09050931, 0.9021153, 1.118752)),
    *((0.8429543, 0.8031092, 0.8549349), (0.4016722, 1.223728, -1.492455), (0.7359577, -0.6998733, -0.4261688)),
    *((1.341504, -1.772454, -0.0486556), (1.730749, 1.244193, -0.7854403)),
]


def colours(dc: Any) -> torch.Tensor:
    """(8, 8) map with RGB of coefficients at `PIXELS`, grey elsewhere: (3, 8, 8), row 0 at v = 0."""
    found = torch.full((3, 8, 8), 0.5)
    for (row, column), value in zip(PIXELS, dc, strict=True):
        found[:, row, column] = DC * torch.tensor(value) + 0.5
    return found


def test_a_sticker_over_the_atlas_is_fates_and_its_first_row_lies_at_v_0(
    toy: SimpleNamespace, picture: Callable[..., Path]
) -> None:
    """Numbers of FATE's released editor: content and mask in u8 / 255, new = a (2 c - 1) 0.5 / C0 + (1 - a) old."""
    pixels = np.zeros((8, 8, 4))
    for (row, column), content, mask in zip(PIXELS, CONTENT, MASK, strict=True):
        pixels[row, column] = np.array([*content, mask]) / 255
    path = picture("lty.png", pixels)
    kept = bring.picture_as(path)
    canvas = Canvas(toy.avatar.head, 8, toy.avatar.carrier)
    maps = replace(Maps.uniform(8), colour=colours(BEFORE))
    official = Stack().add(Sticker(picture=kept, place=Rectangle(rows="v_up")), {kept: path})
    dc = (apply(official, maps, canvas).colour - 0.5) / DC
    for (row, column), expected in zip(PIXELS, AFTER, strict=True):
        assert dc[:, row, column].tolist() == pytest.approx(expected, abs=2e-6)
    # Upright, as `rows` v_down has it, row 0 lies at v = 1 instead.
    upright = Stack().add(Sticker(picture=kept, place=Rectangle()), {kept: path})
    flipped = replace(maps, colour=maps.colour.flip(1))
    back = apply(upright, flipped, canvas).colour.flip(1)
    assert torch.allclose(back, apply(official, maps, canvas).colour, atol=1e-6)


def test_a_sticker_in_a_rectangle_changes_no_texel_outside(toy: SimpleNamespace, paint: Any, red: Path) -> None:
    found = paint(Sticker, red, place=Rectangle(box=(0.25, 0.5, 0.5, 0.75)))
    u, v = toy.canvas.texels.uv.unbind(1)
    inside = ((u > 0.25) & (u < 0.5) & (v > 0.5) & (v < 0.75)).view(64, 64)
    assert (found.colour - torch.tensor([1.0, 0, 0])[:, None, None]).abs()[:, inside].max() < 1e-5
    assert found.colour[:, ~inside].equal(toy.maps.colour[:, ~inside])


def test_a_sticker_on_a_region_is_upright_and_stays_in_it(toy: SimpleNamespace, paint: Any, picture: Any) -> None:
    pixels = np.ones((16, 16, 4))
    pixels[:8, :, 1:3], pixels[8:, :, :2] = 0, 0  # red above blue
    found = paint(Sticker, picture("two.png", pixels), place=Region(region="forehead", feather=0.0))
    inside = (toy.canvas.weight("forehead", 0.0) > 0).view(64, 64)
    assert found.colour[:, ~inside].equal(toy.maps.colour[:, ~inside])
    change = (found.colour - toy.maps.colour).flatten(1)
    height = toy.canvas.texels.spread(toy.avatar.head.base)[:, 1]
    reds, blues = (change[0] - change[2]) > 0.3, (change[2] - change[0]) > 0.3
    assert reds.any() and blues.any() and height[reds].mean() > height[blues].mean() + 0.005


def test_weights_of_a_region_are_soft_and_the_same_on_both_sides_of_seams(toy: SimpleNamespace) -> None:
    canvas, head = Canvas(toy.avatar.head, 128, toy.avatar.carrier), toy.avatar.head
    soft, hard = canvas.weight("hair", 0.03), canvas.weight("hair", 0.0)
    charted = canvas.texels.charted
    between = [((each > 0.05) & (each < 0.95))[charted].float().mean() for each in (soft, hard)]
    assert between[0] > 3 * between[1]
    # Texels that lie close together on the head, however far apart in the atlas.
    points, uv = canvas.texels.spread(head.base)[charted], canvas.texels.uv[charted]
    rows = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:4000]
    near = torch.cdist(points[rows], points)
    far = torch.cdist(uv[rows], uv) > 0.1
    pairs = ((near < 0.003) & far).nonzero()
    jumps = (soft[charted][rows[pairs[:, 0]]] - soft[charted][pairs[:, 1]]).abs()
    assert len(pairs) > 20 and jumps.max() < 0.2 and jumps.mean() < 0.05


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_topology_has_regions_on_its_atlas(toy: SimpleNamespace, topology: str) -> None:
    head = load_head("openhead", topology).bind(toy.identity)
    canvas = Canvas(head, 64, head.vertices)
    assert {"all", "hair", "left_cheek", "right_cheek", "left_ear", "chin", "face"} <= set(canvas.regions)
    left, right = (head.base[canvas.regions[f"{side}_cheek"]] for side in ("left", "right"))
    assert left[:, 0].min() > 0 > right[:, 0].max() and len(left) == len(right) > 20
    faces = canvas.weight("face", 0.0) > 0.5
    assert 0.1 < (faces & canvas.texels.charted).float().mean() < 0.5
    uv = (head.uvs[head.uv_faces[canvas.texels.face_index]] * canvas.texels.bary[..., None]).sum(1)
    assert (uv - canvas.texels.uv)[canvas.texels.charted].abs().max() < 1e-6
    assert canvas.layout != toy.canvas.layout or topology == toy.avatar.head.topology


def test_distance_from_a_border_is_along_the_surface() -> None:
    strip = torch.tensor([[x, y, 0.0] for x in range(5) for y in range(2)])
    faces = torch.tensor([[2 * k + a for a in each] for k in range(4) for each in ((0, 2, 1), (1, 2, 3))])
    inside = strip[:, 0] < 2
    away = border_distance(inside, strip / 100, faces)
    assert away.view(5, 2)[:, 0].tolist() == pytest.approx([0.015, 0.005, -0.005, -0.015, -0.025], abs=0.003)


def test_a_wash_keeps_light_and_dark(toy: SimpleNamespace, paint: Any) -> None:
    found = paint(Wash, colour=(0.2, 0.3, 0.6), region="all").colour
    before, after = luma(toy.maps.colour), luma(found)
    assert torch.corrcoef(torch.stack((before.flatten(), after.flatten())))[0, 1] > 0.999
    hues = found / after
    assert hues.flatten(1).std(1).max() < 1e-4 and hues.flatten(1).mean(1).argmax() == 2
    face = paint(Wash, colour=(0.2, 0.3, 0.6), region="face", feather=0.0).colour
    outside = (toy.canvas.weight("face", 0.0) == 0).view(64, 64)
    assert face[:, outside].equal(toy.maps.colour[:, outside]) and not face.equal(toy.maps.colour)


def view(toy: SimpleNamespace, x: float, y: float, size: float, **changes: Any) -> Frame:
    values = {"frame": "00001", "params": plain(toy.params), "camera": plain(toy.camera)} | changes
    return Frame(at=(x, y), size=size, **values)


def cheek(toy: SimpleNamespace) -> tuple[float, float]:
    """Pixel of the middle of the left cheek."""
    inside = toy.canvas.regions["left_cheek"]
    pixels, _ = project(toy.avatar.carrier(toy.params), toy.camera)
    x, y = pixels[0, inside].mean(0).tolist()
    return x, y


@pytest.mark.parametrize("angle", [0.0, 90.0])
def test_a_sticker_that_is_projected_from_a_view_appears_there(
    toy: SimpleNamespace, paint: Any, picture: Any, angle: float
) -> None:
    pixels = np.ones((16, 16, 4))
    pixels[:, :8, 1:3], pixels[:, 8:, :2] = 0, 0  # red left of blue
    x, y = cheek(toy)
    found = paint(Sticker, picture("two.png", pixels), place=view(toy, x, y, 14.0, angle=angle))
    change = toy.render(found) - toy.render(toy.maps)
    rows, columns = (change.abs().sum(0) > 0.3).nonzero().unbind(1)
    assert abs(columns.float().mean() + 0.5 - x) < 1.5 and abs(rows.float().mean() + 0.5 - y) < 1.5
    assert 10 <= columns.max() - columns.min() <= 18
    sides = change[0] - change[2]
    reds, blues = (sides > 0.3).nonzero().float().mean(0), (sides < -0.3).nonzero().float().mean(0)
    apart = (blues - reds).tolist()
    # Turned counter-clockwise by a quarter, what was at the left is below.
    assert (apart[1] > 4 and abs(apart[0]) < 3) if angle == 0 else (apart[0] < -4 and abs(apart[1]) < 3)


def test_a_sticker_is_seen_where_gaussians_are_that_lie_off_the_mesh(toy: SimpleNamespace, picture: Any) -> None:
    """Half a centimetre before the cheek, seen from the side: on the mesh it would be pixels off."""
    turned = replace(toy.params, root=torch.tensor([[0.0, 0.5, 0.0]]))
    pixels, _ = project(toy.avatar.carrier(turned), toy.camera)
    x, y = pixels[0, toy.canvas.regions["left_cheek"]].mean(0).tolist()
    path = picture("dot.png", np.array([[[1.0, 0, 0, 1.0]] * 4] * 4))
    kept = bring.picture_as(path)
    place = view(toy, x, y, 8.0, params=plain(turned))
    stack = Stack().add(Sticker(picture=kept, place=place), {kept: path})
    before = copy.deepcopy(toy.avatar)
    before.bound.fill_(0.005)
    before.replace_maps(replace(toy.maps, offset=torch.ones_like(toy.maps.offset)))
    off = []
    for canvas in (canvas_of(before), replace(canvas_of(before), lift=None)):
        image = []
        for maps in (before.maps, apply(stack, before.maps, canvas)):
            shown = copy.deepcopy(before)
            shown.replace_maps(maps)
            with torch.no_grad():
                image.append(shown.render(turned, toy.camera, torch.ones(1, 3), toy.rasterizer)[0])
        rows, columns = ((image[1] - image[0]).abs().sum(0) > 0.3).nonzero().unbind(1)
        off.append(math.hypot(columns.float().mean() + 0.5 - x, rows.float().mean() + 0.5 - y))
    assert off[0] < 0.7 < 1.0 < off[1]


def test_what_the_view_does_not_see_stays(toy: SimpleNamespace, paint: Any, red: Path) -> None:
    found = paint(Sticker, red, place=view(toy, 48.0, 48.0, 96.0))
    changed = (found.colour != toy.maps.colour).any(0).flatten()
    behind = toy.canvas.facing(toy.avatar.head.base, torch.tensor([0.0, 0.0, 1.0])) < -0.2
    assert changed.float().mean() > 0.05 and not (changed & behind).any()
    with pytest.raises(BenchError, match="the head is not seen at 3, 3 in that view of 96 x 96 pixels"):
        paint(Sticker, red, place=view(toy, 3.0, 3.0, 4.0))
    with pytest.raises(
        BenchError, match="frame 00001 was tracked with head model flame2023, this avatar is of openhead"
    ):
        paint(Sticker, red, place=view(toy, 48, 48, 9.0, params=plain(toy.params) | {"head": "flame2023"}))
    with pytest.raises(BenchError, match="jaw: expected 3 finite numbers, found others"):
        paint(Sticker, red, place=view(toy, 48, 48, 9.0, params=plain(toy.params) | {"jaw": [1, 2]}))


def test_a_sticker_moves_with_the_skin_when_the_mouth_opens(toy: SimpleNamespace, paint: Any, red: Path) -> None:
    pixels, _ = project(toy.avatar.carrier(toy.params), toy.camera)
    x, y = pixels[0, toy.canvas.regions["chin"]].mean(0).tolist()
    found = paint(Sticker, red, place=view(toy, x, y, 10.0))
    open_mouth = replace(toy.params, jaw=torch.tensor([[0.35, 0.0, 0.0]]))
    texels = (found.colour[0] - toy.maps.colour[0]).flatten() > 0.1
    places = [
        project(toy.canvas.texels.spread(toy.avatar.carrier(each)[0])[None], toy.camera)[0][0, texels].mean(0)
        for each in (toy.params, open_mouth)
    ]
    seen = []
    for each in (toy.params, open_mouth):
        change = (toy.render(found, each) - toy.render(toy.maps, each)).abs().sum(0)
        weight = change * (change > 0.15)
        grid = torch.stack(torch.meshgrid(torch.arange(96) + 0.5, torch.arange(96) + 0.5, indexing="xy"), -1)
        seen.append((grid * weight[..., None]).sum((0, 1)) / weight.sum())
    moved, mesh = seen[1] - seen[0], places[1] - places[0]
    assert mesh[1] > 2, "the chin goes down"
    assert torch.linalg.vector_norm(moved - mesh) < 1.0


@pytest.mark.tried("damaged inputs", "stickers without alpha, transparent ones, and files that are no picture")
def test_a_sticker_that_is_none_is_one_line(toy: SimpleNamespace, paint: Any, picture: Any, tmp_path: Path) -> None:
    place = Region(region="forehead")
    with pytest.raises(BenchError, match="expected a picture with alpha, found one of mode RGB without"):
        paint(Sticker, picture("plain.png", np.ones((4, 4, 3))), place=place)
    with pytest.raises(BenchError, match="found a picture that is transparent everywhere"):
        paint(Sticker, picture("clear.png", np.zeros((4, 4, 4))), place=place)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(BenchError, match=r"text\.png: found 10 bytes that are no image"):
        paint(Sticker, tmp_path / "text.png", place=place)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_colour_map_put_back_changes_what_a_person_changed_alone(
    toy: SimpleNamespace, paint: Any, tmp_path: Path, bits: Any
) -> None:
    write_maps(toy.maps.tensors(), tmp_path / "maps", "v_up", bits, "openhead open")
    path = tmp_path / "maps" / "colour.png"
    assert paint(ColourMap, path).colour.equal(toy.maps.colour), "as it was written, it changes no bit"
    pixels = read_png(path).copy()
    pixels[4:12, 40:60] = np.array([0, 2**bits - 1, 0], pixels.dtype)
    write_png(path, pixels)
    found = paint(ColourMap, path).colour
    changed = (found != toy.maps.colour).any(0)
    assert found[:, 64 - 12 : 64 - 4, 40:60].mean((1, 2)).tolist() == pytest.approx([0, 1, 0], abs=0.2)
    painted = torch.zeros(64, 64, dtype=torch.bool)
    painted[64 - 12 : 64 - 4, 40:60] = True
    charted = toy.canvas.texels.charted.view(64, 64)
    assert not (changed & ~painted & charted).any(), "only gutters follow their chart"
    if bits == 16:
        write_png(path, pixels // 257)
        with pytest.raises(
            BenchError, match="expected levels from 0 to 65535 in a PNG of 16 bits, found none above 255"
        ):
            paint(ColourMap, path)
    write_png(path, pixels[:32])
    with pytest.raises(BenchError, match=r"edit 1 \(colour map\): .*expected 64 x 64 pixels .*found 64 x 32"):
        paint(ColourMap, path)


def test_colours_of_another_avatar_need_its_topology(toy: SimpleNamespace, tmp_path: Path) -> None:
    other = 1 - toy.maps.colour
    name, file = bring.colour_of(other, True, tmp_path)
    swap = Swap(file=name, name="ben", layout=toy.canvas.layout)
    assert apply(Stack().add(swap, {name: file}), toy.maps, toy.canvas).colour.equal(other)
    face = apply(
        Stack().add(swap.model_copy(update={"region": "face", "feather": 0.0}), {name: file}), toy.maps, toy.canvas
    )
    inside = (toy.canvas.weight("face", 0.0) == 1).view(64, 64)
    outside = (toy.canvas.weight("face", 0.0) == 0).view(64, 64)
    assert face.colour[:, inside].equal(other[:, inside]) and face.colour[:, outside].equal(toy.maps.colour[:, outside])
    with pytest.raises(BenchError, match="ben is of a head with another topology or other texture coordinates"):
        apply(Stack().add(swap.model_copy(update={"layout": "0" * 64}), {name: file}), toy.maps, toy.canvas)


@pytest.mark.slow
def test_projected_stickers_come_back_in_their_view(make_toy: Any, picture: Any) -> None:
    """128 px wide on the cheek of a 512² view: a natural picture low-passed at 8 px returns to 30 dB."""
    from scipy import ndimage

    toy = make_toy(512, 200_000, 512)
    x, y = cheek(toy)
    # Eileen Collins by NASA, in the public domain; it comes with scikit-image.
    photo = pytest.importorskip("skimage.data").astronaut().reshape(128, 4, 128, 4, 3).mean((1, 3)) / 255
    low = ndimage.gaussian_filter(photo, (8 / 2.355, 8 / 2.355, 0), mode="nearest")
    row, column = np.mgrid[:128, :128] // 8
    board = np.repeat(((row + column) % 2)[..., None], 3, -1)
    place = view(toy, round(x), round(y), 128.0)

    def back(name: str, pixels: Any) -> torch.Tensor:
        path = picture(name, np.concatenate([pixels, np.ones((128, 128, 1))], -1))
        kept = bring.picture_as(path)
        image = toy.render(apply(Stack().add(Sticker(picture=kept, place=place), {kept: path}), toy.maps, toy.canvas))
        left, top = round(x) - 64, round(y) - 64
        return image[:, top : top + 128, left : left + 128].clamp(0, 1)

    flat = [back(f"{level}.png", np.full((128, 128, 3), level)) for level in (0.0, 1.0)]
    seen = (flat[1] - flat[0]).mean(0) > 0.95
    decibels = {}
    for name, pixels in (("low-passed", low), ("photograph", photo), ("checkerboard", board)):
        found = back(f"{name}.png", pixels)
        truth = torch.from_numpy(read_rgb_of(pixels)).permute(2, 0, 1)
        decibels[name] = -10 * math.log10(float((found - truth).square().mean(0)[seen].mean()))
    print({name: f"{value:.1f} dB" for name, value in decibels.items()}, f"seen: {float(seen.float().mean()):.0%}")
    assert seen.float().mean() > 0.3 and decibels["low-passed"] > 30


def read_rgb_of(pixels: Any) -> Any:
    """Pixels in [0, 1] as 8 bits hold them."""
    return (np.rint(np.asarray(pixels) * 255) / 255).astype(np.float32)
