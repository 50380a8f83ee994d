"""Walking over triangles: the published steps, the closed mesh, borders, corners and shifts along an edge."""

import numpy as np
import pytest
import torch
import trimesh

from headbench.harness.head.walk import FaceNeighbours, face_neighbours, walk

TWO = torch.tensor([[0, 1, 2], [2, 1, 3]])
CENTRE = [1 / 3, 1 / 3, 1 / 3]


def go(faces, face, start, shift, **options):
    """(face, barycentrics) after one walk in float64."""
    f, b = walk(
        torch.tensor([face]),
        torch.tensor([start], dtype=torch.float64),
        torch.tensor([shift[:2]], dtype=torch.float64),
        face_neighbours(faces),
        **options,
    )
    return int(f[0]), b[0].tolist()


def released(faces, face, p, s, decay=0.9):
    """The released algorithm once more, one point at a time and recursive, in NumPy."""
    owner = {(t[j], t[(j + 1) % 3]): (k, j) for k, t in enumerate(faces.tolist()) for j in range(3)}
    p, s = np.array(p, float), np.array(s, float)

    def tidy(x):
        x = x.copy()
        while (x < 0).any():
            for i in range(3):
                if x[i] < 0:
                    following = np.clip(x[(i + 1) % 3] + x[i] / 2, 0, 1)
                    x[i], x[(i + 1) % 3], x[(i + 2) % 3] = 0, following, 1 - following
        return x

    def meet(p, s, j):
        if (abs(s) < 1e-7).any():
            return 0.0, 0.0, np.eye(3)[j]
        k = (j + 2) % 3
        t = -p[k] / s[k]
        x = p + t * s
        return x[(j + 1) % 3], t, x

    def cross(face, p, s, e):
        along, _, x = meet(p, s, e)
        if not 0 <= along <= 1:
            return face, p
        pair = faces[face, (e + 1) % 3].item(), faces[face, e].item()
        if pair not in owner:
            return face, x
        other, j = owner[pair]
        rest = p + s - x
        a, b = e, (e + 1) % 3
        start, shift = np.zeros(3), np.zeros(3)
        start[j], start[(j + 1) % 3] = x[b], x[a]
        start[(j + 2) % 3] = 1 - x[a] - x[b]
        shift[j], shift[(j + 1) % 3], shift[(j + 2) % 3] = -rest[a], -rest[b], rest[a] + rest[b]
        i = int(abs(start).argmin())
        following = np.clip(start[(i + 1) % 3] + start[i] / 2, 0, 1)
        start[i], start[(i + 1) % 3], start[(i + 2) % 3] = 0, following, 1 - following
        return step(other, start, decay * shift)

    def step(face, p, s):
        q = p + s
        if ((q >= -1e-3) & (q <= 1 + 1e-3)).all():
            return face, tidy(q)
        on_edge = abs(p) < 1e-5
        if not ((p >= -1e-3) & (p <= 1 + 1e-3)).all() and not on_edge.any():
            return step(face, tidy(p), 0.9 * (q - tidy(p)))
        for j in range(3):
            along, t, _ = meet(p, s, j)
            if 0 <= along <= 1 and 1e-5 < t <= 1:
                return cross(face, p, s, j)
        if on_edge.any():
            return cross(face, p, s, (int(on_edge.argmax()) + 1) % 3)
        return face, p

    return step(face, p, s)


@pytest.fixture(scope="module")
def ball():
    """A closed mesh: vertices (V, 3) and faces (F, 3)."""
    mesh = trimesh.creation.icosphere(subdivisions=2)
    return torch.tensor(np.array(mesh.vertices)), torch.tensor(np.array(mesh.faces), dtype=torch.int64)


def drawn(count, faces, spread, seed=0):
    rng = torch.Generator().manual_seed(seed)
    draws = torch.rand(count, 3, generator=rng, dtype=torch.float64)
    shift = spread * torch.randn(count, 2, generator=rng, dtype=torch.float64)
    return torch.randint(len(faces), (count,), generator=rng), draws / draws.sum(1, keepdim=True), shift


@pytest.mark.parametrize("rule", ["released", "continuous"])
def test_the_published_example_crosses_with_and_without_decay(rule):
    shift = (-0.6, 0.35, 0.25)
    face, end = go(TWO, 0, CENTRE, shift, rule=rule)
    assert (face, end) == (1, pytest.approx([0.3322, 0.4278, 0.2400], abs=5e-5))
    face, end = go(TWO, 0, CENTRE, shift, rule=rule, decay=1.0)
    assert (face, end) == (1, pytest.approx([0.3167, 0.4167, 0.2667], abs=5e-5))


@pytest.mark.parametrize("rule", ["released", "continuous"])
def test_at_a_border_the_walk_stops_on_the_edge(rule):
    assert go(TWO[:1], 0, CENTRE, (0.3, 0.3, -0.6), rule=rule) == (0, pytest.approx([0.5, 0.5, 0.0]))
    # Also after a crossing: through the shared edge, then out of the far side.
    face, end = go(TWO, 0, CENTRE, (-3.0, 1.4, 1.6), rule=rule)
    assert face == 1
    assert min(end) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("shift", [(0.0, 0.7), (0.7, 0.0), (0.7, -0.7)])
def test_a_shift_with_a_component_of_zero_is_lost_inside_a_face_unless_continuous(shift):
    start = [0.3, 0.4, 0.3]
    assert go(TWO[:1], 0, start, shift) == (0, start)
    face, end = go(TWO[:1], 0, start, shift, rule="continuous")
    assert (face, min(end)) == (0, pytest.approx(0, abs=1e-12))
    u, v = end[0] - start[0], end[1] - start[1]
    assert u * shift[1] == pytest.approx(v * shift[0]), "along the shift, as far as the border"
    assert abs(u) + abs(v) > 0.2


def test_on_an_edge_such_a_shift_starts_from_the_wrong_point_unless_continuous():
    # The shared edge is edge 0 of the first face and edge 0 of the second, in the other direction.
    faces = torch.tensor([[0, 1, 2], [1, 0, 3]])
    start, shift = [0.5, 0.5, 0.0], (0.0, 0.3)
    assert go(faces, 0, start, shift) == (1, pytest.approx([0.45, 0.28, 0.27]))
    assert go(faces, 0, start, shift, rule="continuous") == (1, pytest.approx([0.5, 0.23, 0.27]))
    assert go(faces[:1], 0, start, shift) == (0, [1.0, 0.0, 0.0]), "the released jump to the edge's start"
    assert go(faces[:1], 0, start, shift, rule="continuous") == (0, pytest.approx(start))


@pytest.mark.parametrize("rule", ["released", "continuous"])
def test_a_shift_of_exactly_zero_moves_nothing(ball, rule):
    faces = ball[1]
    face, bary, _ = drawn(200, faces, 0.0)
    bary[0], bary[1] = torch.tensor([1.0, 0, 0]), torch.tensor([0.25, 0.75, 0])
    found = walk(face, bary, torch.zeros(200, 2, dtype=torch.float64), face_neighbours(faces), rule=rule)
    assert torch.equal(found[0], face)
    assert torch.equal(found[1], bary)


@pytest.mark.parametrize("rule", ["released", "continuous"])
def test_moves_inside_a_face_change_only_the_coordinates(ball, rule):
    faces = ball[1]
    face, _, shift = drawn(300, faces, 0.05)
    bary = torch.full((300, 3), 1 / 3, dtype=torch.float64)
    found, moved = walk(face, bary, shift.clamp(-0.15, 0.15), face_neighbours(faces), rule=rule)
    assert torch.equal(found, face)
    torch.testing.assert_close(moved[:, :2], bary[:, :2] + shift.clamp(-0.15, 0.15))


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.9, 1.0])
def test_the_released_rule_is_the_recursive_algorithm_point_by_point(ball, decay):
    faces = ball[1]
    face, bary, shift = drawn(1500, faces, 0.6)
    bary[:100, 2] = 0  # on an edge
    bary[:100] /= bary[:100].sum(1, keepdim=True)
    found, ends = walk(face, bary, shift, face_neighbours(faces), decay=decay)
    crossed = 0
    for i in range(len(face)):
        s = [*shift[i].tolist(), -float(shift[i].sum())]
        k, expected = released(faces, int(face[i]), bary[i].tolist(), s, decay)
        assert int(found[i]) == k
        np.testing.assert_allclose(ends[i].numpy(), expected, atol=1e-9)
        crossed += k != int(face[i])
    assert crossed > 800


@pytest.mark.parametrize("start", ["corner", "edge", "outside", "inside"])
@pytest.mark.parametrize("mesh", ["closed", "torn"])
def test_the_released_rule_is_the_recursive_algorithm_at_corners_borders_and_along_edges(ball, mesh, start):
    """Half of the shifts have a component of exactly zero; the torn mesh has a border at every edge."""
    faces = ball[1] if mesh == "closed" else ball[1][::2]
    count = 90
    face, bary, shift = drawn(count, faces, 0.6, seed=4)
    number = torch.arange(count)
    if start == "corner":
        bary = torch.eye(3, dtype=torch.float64)[number % 3]
    elif start == "edge":
        bary[number, number % 3] = 0
        bary /= bary.sum(1, keepdim=True)
    elif start == "outside":
        bary[:, 0] -= 0.5
        bary[:, 1] += 0.5
    zero, third = (number % 2 == 0), number // 2 % 3
    shift[zero & (third == 0), 0] = 0
    shift[zero & (third == 1), 1] = 0
    along = zero & (third == 2)
    shift[along, 1] = -shift[along, 0]
    found, ends = walk(face, bary, shift, face_neighbours(faces))
    for i in range(count):
        s = [*shift[i].tolist(), -float(shift[i].sum())]
        k, expected = released(faces, int(face[i]), bary[i].tolist(), s)
        assert int(found[i]) == k
        np.testing.assert_allclose(ends[i].numpy(), expected, atol=1e-9)
    if mesh == "closed" and start != "outside":
        assert int((found != face).sum()) > 20


@pytest.mark.parametrize("rule", ["released", "continuous"])
def test_on_a_mesh_of_borders_every_walk_ends_on_its_way_out_and_a_zero_shift_stays(ball, rule):
    faces = ball[1][::2]
    neighbours = face_neighbours(faces)
    face, bary, shift = drawn(600, faces, 2.0, seed=5)
    bary[:60] = torch.eye(3, dtype=torch.float64).repeat(20, 1)
    _, ends = walk(face, bary, shift, neighbours, rule=rule)
    assert float(ends.min()) > -1e-12, "the released crossing is as exact as its intersection"
    torch.testing.assert_close(ends.sum(1), torch.ones(600, dtype=torch.float64))
    assert int((ends.abs() < 1e-12).any(1).sum()) > 300, "most end on a border"
    still = walk(face, bary, torch.zeros_like(shift), neighbours, rule=rule)
    assert torch.equal(still[0], face)
    assert torch.equal(still[1], bary)
    # Who stands on a border and pushes outwards stays where it is.
    rim = (neighbours.face[:, 0] < 0).nonzero()[:, 0]
    assert len(rim) > 50
    there = torch.tensor([[0.4, 0.6, 0.0]], dtype=torch.float64).expand(len(rim), 3)
    pushed = walk(rim, there, torch.tensor([[0.2, 0.1]]).double().expand(len(rim), 2), neighbours, rule=rule)
    assert torch.equal(pushed[0], rim)
    torch.testing.assert_close(pushed[1], there)


@pytest.mark.parametrize("rule", ["released", "continuous"])
def test_on_a_closed_mesh_walks_end_on_a_face_at_sane_coordinates(ball, rule):
    faces = ball[1]
    face, bary, shift = drawn(4000, faces, 3.0)
    found, ends = walk(face, bary.float(), shift.float(), face_neighbours(faces), rule=rule)
    assert int(found.min()) >= 0
    assert int(found.max()) < len(faces)
    assert float(ends.min()) >= 0
    torch.testing.assert_close(ends.sum(1), torch.ones(4000))


def test_a_continuous_walk_over_a_flat_grid_without_decay_is_a_straight_line():
    """On congruent parallelograms affine unfolding is exact, so the walk is plain addition in the plane."""
    n = 12
    y, x = np.mgrid[: n + 1, : n + 1]
    points = torch.tensor(np.stack([x.ravel() + 0.3 * y.ravel(), y.ravel()], 1), dtype=torch.float64)
    corner = torch.tensor([[r * (n + 1) + c for c in range(n)] for r in range(n)]).flatten()
    faces = torch.stack([corner, corner + 1, corner + n + 1], 1)
    faces = torch.cat([faces, torch.stack([corner + n + 2, corner + n + 1, corner + 1], 1)])
    rng = torch.Generator().manual_seed(1)
    middle = 5 * n + 6
    face = torch.tensor([middle, middle + n * n]).repeat(200)
    bary = torch.rand(400, 3, generator=rng, dtype=torch.float64)
    bary[:40, 2], bary[40:60, :2] = 0, 0  # on edges and corners
    bary /= bary.sum(1, keepdim=True)
    shift = 2.0 * torch.randn(400, 2, generator=rng, dtype=torch.float64).clamp(-1, 1)
    shift[60:100, 0] = 0
    found, ends = walk(face, bary, shift, face_neighbours(faces), rule="continuous", decay=1.0)
    s = torch.cat([shift, -shift.sum(1, keepdim=True)], 1)
    goal = ((bary + s)[:, :, None] * points[faces[face]]).sum(1)
    reached = (ends[:, :, None] * points[faces[found]]).sum(1)
    # Within the tolerance by which a coordinate may stay outside and is pulled in.
    assert float((reached - goal).norm(dim=1).max()) < 3e-3
    assert float((found != face).double().mean()) > 0.7


@pytest.mark.parametrize("rule", ["released", "continuous"])
def test_from_a_corner_a_walk_ends_and_the_continuous_one_turns_around_it(ball, rule):
    faces = ball[1]
    neighbours = face_neighbours(faces)
    bary = torch.eye(3, dtype=torch.float64).repeat(40, 1)
    face = torch.arange(120) % len(faces)
    # Straight away from the face, on the far side of the corner.
    shift = torch.cat([0.4 * bary - 0.2 * (1 - bary)])[:, :2]
    found, ends = walk(face, bary, shift, neighbours, rule=rule)
    assert float(ends.min()) >= 0
    if rule == "continuous":
        moved = (ends[:, :, None] * ball[0][faces[found]]).sum(1)
        corner = ball[0][faces[face, torch.arange(120) % 3]]
        assert bool((found != face).all())
        assert float((moved - corner).norm(dim=1).min()) > 1e-2


def test_a_start_outside_its_face_is_pulled_in_first():
    start = [-0.2, 0.7, 0.5]
    assert go(TWO[:1], 0, start, (0.3, -0.2))[1] == pytest.approx([0.1, 0.5, 0.4]), "its goal is inside: just go there"
    # Half of the missing 0.2 comes off the next coordinate; from (0, 0.6, 0.4) the way leads out of a border.
    assert go(TWO[:1], 0, start, (-0.1, 0.05))[1] == pytest.approx([0.0, 0.6, 0.4])
    # Nine tenths of the way from (0, 0.6, 0.4) to (1.2, -0.5, 0.3) meet the edge at 0.6 / 0.99 of it.
    path = 0.6 / 0.99
    assert go(TWO[:1], 0, start, (1.4, -1.2))[1] == pytest.approx([1.08 * path, 0.0, 0.4 - 0.09 * path])


def test_what_is_not_finite_stays_where_it_is(ball):
    faces = ball[1]
    face, bary, shift = drawn(3, faces, 0.2)
    shift[1, 0] = float("nan")
    shift[2, 1] = float("inf")
    found, ends = walk(face, bary, shift, face_neighbours(faces))
    assert torch.equal(found[1:], face[1:])
    assert torch.equal(ends[1:], bary[1:])
    assert not torch.equal(ends[0], bary[0])


def test_neighbours_are_those_of_libigl_and_trimesh_on_a_closed_mesh(ball):
    faces = ball[1]
    found = face_neighbours(faces)
    assert int(found.face.min()) >= 0
    for j in range(3):
        back = found.face[found.face[:, j], found.edge[:, j]]
        assert torch.equal(back, torch.arange(len(faces)))
    pairs = trimesh.graph.face_adjacency(faces.numpy())
    ours = {tuple(sorted((k, int(o)))) for k, row in enumerate(found.face) for o in row}
    assert ours == {tuple(sorted(pair)) for pair in pairs.tolist()}
    igl = pytest.importorskip("igl")
    theirs, edges = igl.triangle_triangle_adjacency(faces.numpy())[:2]
    np.testing.assert_array_equal(found.face.numpy(), theirs)
    np.testing.assert_array_equal(found.edge.numpy(), edges)


def test_borders_and_faces_of_the_other_winding_have_no_neighbour():
    found = face_neighbours(TWO)
    assert isinstance(found, FaceNeighbours)
    assert found.face.tolist() == [[-1, 1, -1], [0, -1, -1]]
    assert found.edge[0, 1] == 0
    assert int((face_neighbours(torch.tensor([[0, 1, 2], [1, 2, 3]])).face >= 0).sum()) == 0
    doubled = face_neighbours(torch.tensor([[0, 1, 2], [2, 1, 3], [2, 1, 4]]))
    assert doubled.face[0, 1] == 2, "of two that have the edge, the last"


def test_the_open_head_walks_too():
    from headbench.harness.head import load_head

    faces = load_head("openhead", "teeth").faces
    face, bary, shift = drawn(2000, faces, 0.5)
    found, ends = walk(face, bary.float(), shift.float(), face_neighbours(faces), rule="continuous")
    assert bool((found != face).any())
    assert float(ends.min()) >= 0
