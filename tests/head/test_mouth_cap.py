import dataclasses

import numpy as np
import pytest

from headbench.harness.errors import DataError
from headbench.harness.head import HeadArrays
from headbench.harness.head.topology import align_uv_faces, boundary_loops, cap_mouth, mouth_loop, strip_between


def edges(faces):
    """Directed edges with how often each occurs."""
    every = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    found, counts = np.unique(every, axis=0, return_counts=True)
    return {(int(a), int(b)): int(n) for (a, b), n in zip(found, counts, strict=True)}


@pytest.fixture(scope="module")
def arrays(made_flame):
    head = made_flame
    return HeadArrays(
        tag="flame2020",
        topology="open",
        template=head.vertices.astype(np.float32),
        shape_dirs=np.zeros((5023, 3, 1), np.float32),
        expression_dirs=np.zeros((5023, 3, 1), np.float32),
        pose_dirs=np.zeros((36, 15069), np.float32),
        joint_regressor=head.joints.astype(np.float32),
        weights=head.weights.astype(np.float32),
        parents=(-1, 0, 1, 1, 1),
        faces=head.faces,
        uvs=head.uvs.astype(np.float32),
        uv_faces=head.faces,
        regions={"lips": head.masks["lips"]},
    )


def test_the_made_up_head_has_the_holes_of_a_head(arrays, made_flame):
    assert arrays.faces.shape == (9976, 3) and len(np.unique(arrays.faces)) == 5023
    loops = boundary_loops(arrays.faces)
    assert [len(loop) for loop in loops] == [32, 14, 10, 10]
    assert set(loops[0]) == set(made_flame.mouth)
    directed = edges(arrays.faces)
    assert all((int(a), int(b)) in directed for loop in loops for a, b in zip(loop, np.roll(loop, -1), strict=True))
    assert set(directed.values()) == {1}


def test_a_closed_mesh_has_no_loops(tiny_arrays):
    outward = tiny_arrays.faces.copy()
    corner = tiny_arrays.template[outward]
    flip = (np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]) * corner.mean(1)).sum(1) < 0
    outward[flip] = outward[flip][:, ::-1]
    assert boundary_loops(outward) == []
    assert [len(loop) for loop in boundary_loops(outward[1:])] == [3]


@pytest.mark.parametrize("masks", [True, False])
def test_the_mouth_is_found_among_eyes_and_neck_with_masks_and_without(arrays, made_flame, masks):
    head = arrays if masks else dataclasses.replace(arrays, regions={})
    assert set(mouth_loop(head)) == set(made_flame.mouth)


def test_a_head_whose_lips_do_not_part_has_no_mouth(arrays):
    stiff = np.zeros_like(arrays.weights)
    stiff[:, 1] = 1
    with pytest.raises(DataError, match=r"flame2020 has no mouth opening: none of its 4 boundary loops"):
        mouth_loop(dataclasses.replace(arrays, regions={}, weights=stiff))


def test_the_cap_closes_the_mouth_and_nothing_else(arrays):
    closed = cap_mouth(arrays)
    assert closed.topology == "mouth_closed" and closed.faces.shape == closed.uv_faces.shape == (10006, 3)
    assert np.array_equal(closed.faces[:9976], arrays.faces)
    assert [len(loop) for loop in boundary_loops(closed.faces)] == [14, 10, 10]
    assert set(edges(closed.faces).values()) == {1}, "the cap continues the orientation of the surface"
    assert closed.notes == ("mouth cap of 30 faces built over the lip boundary",)


def test_the_cap_joins_upper_and_lower_lip_and_faces_forwards(arrays, made_flame):
    cap = cap_mouth(arrays).faces[9976:]
    upper = set(made_flame.mouth[:16].tolist())
    rows = [sum(int(v) in upper for v in face) for face in cap]
    assert set(rows) == {1, 2}
    corner = made_flame.vertices[cap]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert (normal[:, 2] > 0).all()


def test_the_cap_keeps_to_the_texture_of_the_lips(arrays):
    closed = cap_mouth(arrays)
    np.testing.assert_array_equal(closed.uv_faces[9976:], closed.faces[9976:])
    without = cap_mouth(dataclasses.replace(arrays, uvs=None, uv_faces=None))
    assert without.uv_faces is None and len(without.faces) == 10006


def test_a_strip_between_uneven_halves_has_two_triangles_less_than_corners():
    # A square whose lower side has three more corners than the upper.
    points = np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [-0.7, -1, 0], [0, -1, 0], [0.3, -1, 0], [0.7, -1, 0]])
    faces = strip_between(np.arange(7), points)
    assert len(faces) == 5
    assert {(b, a) for a, b in zip(range(7), [*range(1, 7), 0], strict=True)} <= set(edges(faces))


def test_texture_faces_follow_another_order_and_starting_vertex():
    faces = np.array([[0, 1, 2], [2, 1, 3]])
    other = np.array([[3, 2, 1], [9, 8, 7], [1, 2, 0]])
    texture = np.array([[13, 12, 11], [0, 0, 0], [21, 22, 20]])
    np.testing.assert_array_equal(align_uv_faces(faces, other, texture), [[20, 21, 22], [12, 11, 13]])
    assert align_uv_faces(np.array([[0, 1, 9]]), other, texture) is None
