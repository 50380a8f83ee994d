import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headbench.harness.head import HeadModel, load_head
from headbench.harness.head.load import load_arrays

UPPER = slice(5023, 5143)
GROUPS = ("UR", "LR", "UE", "LE", "URB", "UEB", "LRB", "LEB")
IS_UPPER = np.repeat([True, False, True, False, True, True, False, False], 15)


@pytest.fixture
def arrays(flame_home):
    return load_arrays("flame2020", "teeth")


@pytest.fixture
def open_arrays(flame_home):
    return load_arrays("flame2020", "open")


def group(arrays, name):
    start = 5023 + 15 * GROUPS.index(name)
    return arrays.template[start : start + 15].astype(np.float64)


def test_teeth_are_120_vertices_and_168_faces_after_the_heads_own(arrays, open_arrays):
    assert arrays.template.shape == (5143, 3) and arrays.faces.shape == (10144, 3)
    np.testing.assert_array_equal(arrays.template[:5023], open_arrays.template)
    np.testing.assert_array_equal(arrays.faces[:9976], open_arrays.faces)
    assert set(arrays.faces[9976:].ravel()) == set(range(5023, 5143))


def test_rows_of_teeth_lie_where_the_formula_puts_them(arrays, flame_format):
    upper, lower = (arrays.template[list(ring)].astype(np.float64) for ring in (flame_format.UPPER, flame_format.LOWER))
    gap = np.mean([np.linalg.norm(a - b) for a, b in zip(upper, lower, strict=True)])
    height = np.mean((upper[:, 1] + lower[:, 1]) / 2)
    for i in range(15):
        x, z = (upper[i, 0] + lower[i, 0]) / 2, (upper[i, 2] + lower[i, 2]) / 2 - 1.5 * gap
        expected = {
            "UE": (x, height + 0.1 * gap, z),
            "LE": (x, height - 0.1 * gap, z - 0.4 * gap),
            "UR": (x, height + 2.1 * gap, z),
            "LR": (x, height - 2.1 * gap, z - 0.4 * gap),
        }
        for name, place in expected.items():
            np.testing.assert_allclose(group(arrays, name)[i], place, atol=1e-7)
            behind = np.array(place) - (0, 0, gap)
            np.testing.assert_allclose(group(arrays, f"{name}B")[i], behind, atol=1e-7)


def test_faces_keep_the_order_and_the_starting_vertices_of_the_published_mesh(arrays):
    faces = arrays.faces[9976:] - 5023
    row = {name: np.arange(15) + 15 * k for k, name in enumerate(GROUPS)}

    def triangles(a, b, order):
        found = []
        for i in range(14):
            A, B, A1, B1 = row[a][i], row[b][i], row[a][i + 1], row[b][i + 1]
            found += [(A, B1, B), (A, A1, B1)] if i < 7 else [(A, A1, B), (A1, B1, B)]
        return [tuple(face[k] for k in order) for face in found]

    expected = [
        *triangles("UR", "UE", (0, 1, 2)),
        *triangles("URB", "UEB", (0, 2, 1)),
        *triangles("UE", "UEB", (2, 0, 1)),
        *triangles("LR", "LE", (2, 1, 0)),
        *triangles("LRB", "LEB", (0, 1, 2)),
        *triangles("LE", "LEB", (2, 1, 0)),
    ]
    assert [tuple(face) for face in faces.tolist()] == expected
    assert faces[:3].tolist() == [[0, 31, 30], [0, 1, 31], [1, 32, 31]]
    # The face that was mended upstream in 2024: number 133 of the teeth, in the back of the lower half.
    assert faces[133].tolist() == [101, 116, 115]


@pytest.mark.parametrize("half", [slice(9976, 10060), slice(10060, 10144)])
def test_each_half_has_no_edge_twice_and_34_open_edges(arrays, half):
    faces = arrays.faces[half]
    edges = [(int(f[i]), int(f[(i + 1) % 3])) for f in faces for i in range(3)]
    assert len(edges) == len(set(edges)) == 252
    assert sum((b, a) not in set(edges) for a, b in edges) == 34


def test_fronts_face_the_viewer_and_backs_the_throat(arrays):
    corner = arrays.template[arrays.faces[9976:]].astype(np.float64)
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    for strip, sign in ((0, 1), (1, -1), (3, 1), (4, -1)):
        assert (sign * normal[28 * strip : 28 * strip + 28, 2] > 0).all(), strip
    assert (normal[56:84, 1] < 0).all() and (normal[140:168, 1] > 0).all(), "edges face each other"


def test_teeth_carry_the_blend_data_of_the_formula(arrays, flame_format):
    rings = arrays.shape_dirs[list(flame_format.UPPER)] + arrays.shape_dirs[list(flame_format.LOWER)]
    np.testing.assert_allclose(arrays.shape_dirs[UPPER], np.tile(rings / 2, (8, 1, 1)), rtol=1e-6)
    assert not arrays.expression_dirs[UPPER].any()
    assert arrays.pose_dirs.shape == (36, 3 * 5143) and not arrays.pose_dirs[:, 3 * 5023 :].any()
    assert not arrays.joint_regressor[:, UPPER].any()
    weights = np.zeros((120, 5))
    weights[IS_UPPER, 1] = 1
    weights[~IS_UPPER, 2] = 1
    np.testing.assert_array_equal(arrays.weights[UPPER], weights)


def test_teeth_have_their_place_in_the_texture(arrays, open_arrays):
    own = arrays.uvs[len(open_arrays.uvs) :].reshape(8, 15, 2)
    np.testing.assert_allclose(own[:, :, 0], np.tile(np.linspace(0.62, 0.38, 15), (8, 1)), rtol=1e-6)
    v = np.linspace(1 - 0.0083, 1 - 0.0425, 7)
    np.testing.assert_allclose(own[:, 0, 1], v[[3, 2, 0, 1, 3, 4, 6, 5]], rtol=1e-6)
    np.testing.assert_array_equal(arrays.uv_faces[9976:] - len(open_arrays.uvs), arrays.faces[9976:] - 5023)


def test_teeth_belong_to_the_mouths_interior_and_to_no_other_region(arrays, open_arrays):
    assert arrays.regions["mouth_interior"][UPPER].all()
    for name, mask in arrays.regions.items():
        assert mask.shape == (5143,)
        assert name == "mouth_interior" or not mask[UPPER].any()
        np.testing.assert_array_equal(mask[:5023], open_arrays.regions[name])


def test_upper_teeth_move_rigidly_with_the_neck_joint_and_lower_ones_with_the_jaw(flame_home, draw, identify):
    head = load_head("flame2020", "teeth").double()
    params, identity = draw(head, 1, angle=0.5), identify(head)
    bound = head.bind(identity)
    still = dataclasses.replace(params, **dict.fromkeys(("root", "neck", "jaw", "translation"), 0 * params.root))
    rest, posed = bound.vertices(still)[0, UPPER].numpy(), bound.vertices(params)[0, UPPER].numpy()
    turns = [Rotation.from_rotvec(getattr(params, name)[0].numpy()) for name in ("root", "neck", "jaw")]
    skull = turns[0] * turns[1]
    for teeth, turn in ((IS_UPPER, skull), (~IS_UPPER, skull * turns[2])):
        before, after = rest[teeth] - rest[teeth].mean(0), posed[teeth] - posed[teeth].mean(0)
        np.testing.assert_allclose(after, turn.apply(before), atol=1e-12)


def test_expression_moves_teeth_only_through_the_joints(flame_home, draw, identify):
    head = load_head("flame2020", "teeth").double()
    bound, params = head.bind(identify(head)), draw(head, 1)
    names = ("root", "neck", "jaw", "eye_left", "eye_right", "translation")
    smile = dataclasses.replace(params, **dict.fromkeys(names, 0 * params.root))
    neutral = dataclasses.replace(smile, expression=0 * smile.expression)
    torch.testing.assert_close(bound.vertices(smile)[0, UPPER], bound.vertices(neutral)[0, UPPER])
    jaw = torch.tensor([[0.3, 0, 0]], dtype=torch.float64)
    moved = bound.vertices(dataclasses.replace(smile, jaw=jaw)) - bound.vertices(dataclasses.replace(neutral, jaw=jaw))
    lower = moved[0, UPPER][torch.from_numpy(~IS_UPPER)]
    assert lower.abs().max() > 1e-6
    torch.testing.assert_close(lower, lower[:1].expand_as(lower))
    assert moved[0, UPPER][torch.from_numpy(IS_UPPER)].abs().max() < 1e-12


@pytest.mark.parametrize(("stored", "topology"), [(5023, "teeth"), (5143, "open"), (5143, "teeth")])
def test_a_trackers_static_offset_fits_with_teeth_and_without(flame_home, identify, draw, stored, topology):
    head = load_head("flame2020", topology)
    offset = torch.full((1, stored, 3), 0.01)
    identity = dataclasses.replace(identify(head), static_offset=offset)
    base = HeadModel(load_arrays("flame2020", topology)).bind(identify(head)).base
    moved = head.bind(identity).base - base
    assert torch.allclose(moved[:5023], torch.tensor(0.01), atol=1e-6)
    expected = 0.01 if stored == 5143 else 0.0
    assert torch.allclose(moved[5023:], torch.tensor(expected), atol=1e-6)
