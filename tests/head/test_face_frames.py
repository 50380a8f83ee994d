import pytest
import torch

from headbench.harness.head import axis_angle_to_matrix, face_frames, points_on_faces, project, quat_to_matrix
from headbench.harness.types import Camera

FACE = torch.tensor([[0, 1, 2]])


@pytest.fixture
def posed(tiny):
    return tiny.template[None] + 0.1 * torch.randn(3, 12, 3, dtype=torch.float64, generator=torch.manual_seed(3))


def test_frame_of_the_triangle_that_the_sheet_works_out():
    frames = face_frames(torch.tensor([[[0.0, 0, 0], [2, 0, 0], [0, 1, 0]]]), FACE)
    expected = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # columns a0 = x, a1 = z, a2 = -y
    torch.testing.assert_close(frames.R[0, 0], expected)
    assert torch.linalg.det(frames.R[0, 0]).item() == pytest.approx(1)
    torch.testing.assert_close(frames.size, torch.tensor([[1.5]]))
    torch.testing.assert_close(frames.centroid[0, 0], torch.tensor([2 / 3, 1 / 3, 0]))
    torch.testing.assert_close(frames.raw_normal[0, 0], torch.tensor([0.0, 0, 2]))


def test_frames_are_rotations_with_the_normal_as_second_axis(posed, tiny):
    frames = face_frames(posed, tiny.faces)
    eye = torch.eye(3, dtype=torch.float64).expand_as(frames.R)
    torch.testing.assert_close(frames.R @ frames.R.transpose(-1, -2), eye)
    torch.testing.assert_close(torch.linalg.det(frames.R), torch.ones(3, 20, dtype=torch.float64))
    unit = frames.raw_normal / frames.raw_normal.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(frames.R[..., 1], unit)
    third = posed[:, tiny.faces[:, 2]] - posed[:, tiny.faces[:, 0]]
    assert ((frames.R[..., 2] * third).sum(-1) < 0).all()
    torch.testing.assert_close(quat_to_matrix(frames.quats()), frames.R)


def test_moving_the_mesh_rigidly_moves_frames_and_keeps_sizes(posed, tiny):
    turn, shift = axis_angle_to_matrix(torch.tensor([0.3, -1.0, 0.7], dtype=torch.float64)), posed.new_tensor([1, 2, 3])
    before, after = face_frames(posed, tiny.faces), face_frames(posed @ turn.T + shift, tiny.faces)
    torch.testing.assert_close(after.R, turn @ before.R)
    torch.testing.assert_close(after.centroid, before.centroid @ turn.T + shift)
    torch.testing.assert_close(after.size, before.size)


def test_scaling_the_mesh_scales_sizes_and_keeps_frames(posed, tiny):
    before, after = face_frames(posed, tiny.faces), face_frames(2.5 * posed, tiny.faces)
    torch.testing.assert_close(after.size, 2.5 * before.size)
    torch.testing.assert_close(after.raw_normal, 2.5**2 * before.raw_normal)
    torch.testing.assert_close(after.R, before.R)


def test_size_is_the_mean_of_base_and_height(posed, tiny):
    frames = face_frames(posed, tiny.faces)
    base = (posed[:, tiny.faces[:, 1]] - posed[:, tiny.faces[:, 0]]).norm(dim=-1)
    height = frames.raw_normal.norm(dim=-1) / base
    torch.testing.assert_close(frames.size, (base + height) / 2)


def test_frames_agree_with_roma_quaternions(posed, tiny, roma):
    frames = face_frames(posed, tiny.faces)
    expected = roma.rotmat_to_unitquat(frames.R)[..., [3, 0, 1, 2]]
    torch.testing.assert_close((frames.quats() * expected).sum(-1).abs(), torch.ones(3, 20, dtype=torch.float64))


def test_gradients_of_everything_match_finite_differences(posed, tiny):
    def everything(vertices):
        frames = face_frames(vertices, tiny.faces[:4])
        return frames.R, frames.size, frames.centroid, frames.raw_normal, frames.quats()

    assert torch.autograd.gradcheck(everything, posed[:1].clone().requires_grad_())


def test_a_degenerate_triangle_gives_finite_values_and_gradients():
    vertices = torch.zeros(1, 3, 3, requires_grad=True)
    frames = face_frames(vertices, FACE)
    total = frames.R.sum() + frames.size.sum() + frames.quats().sum()
    total.backward()
    assert torch.isfinite(total) and torch.isfinite(vertices.grad).all()


def test_points_ride_on_their_faces(posed, tiny):
    index, bary = torch.tensor([3, 3, 7]), torch.tensor([[1.0, 0, 0], [0, 0, 1], [0.2, 0.3, 0.5]], dtype=torch.float64)
    points = points_on_faces(posed, tiny.faces, index, bary)
    torch.testing.assert_close(points[:, 0], posed[:, tiny.faces[3, 0]])
    torch.testing.assert_close(points[:, 1], posed[:, tiny.faces[3, 2]])
    a, b, c = (posed[:, i] for i in tiny.faces[7])
    torch.testing.assert_close(points[:, 2], 0.2 * a + 0.3 * b + 0.5 * c)


def test_points_are_projected_with_pixel_centres_at_a_half():
    w2c = torch.eye(4)[None].clone()
    w2c[0, 2, 3] = 2
    camera = Camera(w2c, torch.tensor([[[100.0, 0, 30], [0, 50, 20], [0, 0, 1]]]), 64, 48)
    pixels, depth = project(torch.tensor([[[0.0, 0, 0], [1, -1, 2]]]), camera)
    torch.testing.assert_close(pixels, torch.tensor([[[30.0, 20], [55, 7.5]]]))
    torch.testing.assert_close(depth, torch.tensor([[2.0, 4]]))


def test_one_camera_serves_a_batch_of_meshes(posed):
    w2c = torch.eye(4, dtype=torch.float64)[None].repeat(3, 1, 1)
    w2c[:, 2, 3] = 9
    K = torch.tensor([[[100.0, 0, 30], [0, 50, 20], [0, 0, 1]]], dtype=torch.float64)
    one, _ = project(posed, Camera(w2c[:1], K, 64, 48))
    each, _ = project(posed, Camera(w2c, K.repeat(3, 1, 1), 64, 48))
    torch.testing.assert_close(one, each)
