"""FlashAvatar's forward pass, schedules, gradients and checkpoints, against NumPy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from headbench.harness.head import HeadModel, axis_angle_to_matrix, load_head, quat_to_matrix
from headbench.harness.splat import make_rasterizer
from headbench.harness.train.optimizer import AvatarOptimizer
from headbench.harness.types import Camera, Clock, Event, HeadParams, Identity, Similarity, TrainView
from headbench.methods.flashavatar import FlashAvatar
from headbench.methods.flashavatar.network import codes

FIELDS = ("expression", "root", "neck", "jaw", "eye_left", "eye_right", "translation")


def at(step: int, total: int = 150_000) -> Clock:
    return Clock(step, 1, 600, total)


def shake(avatar: FlashAvatar, seed: int = 0) -> None:
    """Random values in every parameter; sizes stay those of small Gaussians."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in avatar.named_parameters():
            noise = torch.randn(parameter.shape, generator=rng, dtype=parameter.dtype)
            parameter.add_(noise * (0.1 if name.startswith("network") else 0.5))


def turned(params: HeadParams) -> HeadParams:
    """The same, on a head that is moved and half as large again."""
    R = quat_to_matrix(torch.tensor([[0.8, 0.3, -0.4, 0.2]], dtype=params.jaw.dtype))
    t = torch.tensor([[0.1, 0.2, 0.3]], dtype=params.jaw.dtype)
    return replace(params, similarity=Similarity(torch.tensor([1.5], dtype=params.jaw.dtype), R, t))


def reference(avatar: FlashAvatar, params: HeadParams) -> dict[str, np.ndarray]:
    """Means, rotations and scales of a frame, one Gaussian at a time, as the authors' code composes them."""
    config = avatar.config
    vertices = avatar.head.vertices(params)[0].detach().double().numpy()
    told = codes(params, avatar.head.expression_size, config)[0].detach().double().numpy()
    layers = [
        (w.detach().double().numpy(), b.detach().double().numpy())
        for w, b in zip(avatar.network.weights, avatar.network.biases, strict=True)
    ]
    table = {n: avatar.table[n].detach().double().numpy() for n in ("bary", "anchor", "scaling", "rotation")}
    head, size = np.eye(3), 1.0
    if config.offset_frame == "head":
        head = (axis_angle_to_matrix(params.root) @ axis_angle_to_matrix(params.neck))[0].double().numpy()
        if params.similarity is not None:
            head = params.similarity.R[0].double().numpy() @ head
            size = float(params.similarity.scale)
    means, turns, scales = [], [], []
    for i, face in enumerate(avatar.table["face_index"].tolist()):
        x = table["anchor"][i]
        parts = [x]
        for power in range(config.octaves):
            parts += [np.sin(2**power * x), np.cos(2**power * x)]
        value = np.concatenate([*parts, told])
        for weight, bias in layers[:-1]:
            value = np.maximum(weight @ value + bias, 0)
        out = np.tanh(layers[-1][0] @ value + layers[-1][1])
        surface = table["bary"][i] @ vertices[avatar.head.faces[face].numpy()]
        means.append(surface + size * config.offset_bound * head @ out[:3])
        (w, x1, y1, z1), (a, b, c, d) = table["rotation"][i], np.array([np.exp(out[3]), *out[4:7]])
        product = [
            w * a - x1 * b - y1 * c - z1 * d,
            w * b + x1 * a + y1 * d - z1 * c,
            w * c - x1 * d + y1 * a + z1 * b,
            w * d + x1 * c - y1 * b + z1 * a,
        ]
        turns.append(head @ quat_to_matrix(torch.tensor(product)).numpy())
        coefficient = np.exp(out[7:])
        base = table["scaling"][i]
        scale = np.exp(base * coefficient) if config.scale_change == "exponent" else np.exp(base) * coefficient
        scales.append(size * scale)
    return {"means": np.array(means), "turns": np.array(turns), "scales": np.array(scales)}


@pytest.mark.parametrize("which", ["official", "fateavatar", "fixed", "demo"])
def test_drive_is_the_published_map(flash: Any, tiny_params: Callable[[int], HeadParams], which: str) -> None:
    avatar = flash(which)
    shake(avatar)
    params = turned(tiny_params(4))
    posed = avatar.drive(params)
    expected = reference(avatar, params)
    g = posed.gaussians
    np.testing.assert_allclose(g.means[0].detach().numpy(), expected["means"], atol=3e-6)
    np.testing.assert_allclose(g.scales[0].detach().numpy(), expected["scales"], rtol=1e-4)
    np.testing.assert_allclose(quat_to_matrix(g.quats[0].detach()).numpy(), expected["turns"], atol=2e-5)
    torch.testing.assert_close(g.opacities, avatar.table["opacity"].sigmoid())
    torch.testing.assert_close(posed.vertices, posed.plain)
    assert (g.colours.shape[1], g.sh_degree) == ((16 if which in ("official", "fixed") else 1), 0)


def with_outputs(avatar: FlashAvatar, values: list[float]) -> None:
    """Make the network say tanh-1 of these for every Gaussian, and let every Gaussian be 3 mm."""
    with torch.no_grad():
        avatar.network.weights[-1].zero_()
        avatar.network.biases[-1].copy_(torch.tensor(values).atanh())
        avatar.table["scaling"].fill_(float(np.log(0.003)))


def test_the_official_coefficient_is_an_exponent_of_the_size(
    flash: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    for coefficient, millimetres in ((1.1, 1.7), (0.9, 5.4)):
        for which in ("official", "fateavatar"):
            avatar = flash(which)
            with_outputs(avatar, [0.0] * 7 + [float(np.log(coefficient))] * 3)
            scales = avatar.drive(tiny_params(1)).gaussians.scales * 1000
            torch.testing.assert_close(scales, torch.full_like(scales, millimetres), atol=0.05, rtol=0)
        avatar = flash("fixed")
        with_outputs(avatar, [0.0] * 7 + [float(np.log(coefficient))] * 3)
        scales = avatar.drive(tiny_params(1)).gaussians.scales
        torch.testing.assert_close(scales, torch.full_like(scales, 0.003 * coefficient))


def test_the_network_s_ranges_are_a_metre_and_a_factor_e(flash: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    for sign, exponential in ((0.9999999, 2.718), (-0.9999999, 0.368)):
        avatar = flash()
        with_outputs(avatar, [sign] * 10)
        posed = avatar.drive(tiny_params(1))
        with_outputs(avatar, [0.0] * 10)
        moved = posed.gaussians.means - avatar.drive(tiny_params(1)).gaussians.means
        torch.testing.assert_close(moved, torch.full_like(moved, sign), atol=1e-5, rtol=0)
        expected = torch.tensor([exponential, sign, sign, sign]).expand_as(posed.gaussians.quats)
        torch.testing.assert_close(posed.gaussians.quats, expected, atol=1e-3, rtol=0)
        if sign < 0:
            largest = posed.gaussians.scales
            torch.testing.assert_close(largest, torch.full_like(largest, 0.12), atol=0.005, rtol=0)
        bounded = flash("fixed")
        with_outputs(bounded, [sign] * 10)
        surface = reference_surface(bounded, tiny_params(0))
        offset = bounded.drive(tiny_params(0)).gaussians.means[0] - surface
        torch.testing.assert_close(offset, torch.full_like(offset, 0.1 * sign), atol=1e-5, rtol=0)


def reference_surface(avatar: FlashAvatar, params: HeadParams) -> torch.Tensor:
    corners = avatar.head.vertices(params)[0][avatar.head.faces[avatar.table["face_index"]]]
    return (corners * avatar.table["bary"][:, :, None]).sum(1)


def test_a_repaired_offset_turns_with_the_head_and_the_original_one_does_not(
    flash: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    params = tiny_params(2)
    moved = turned(params)
    assert moved.similarity is not None
    R, t = moved.similarity.R, moved.similarity.t
    for which, carried in (("fixed", True), ("official", False)):
        avatar = flash(which)
        shake(avatar)
        before, after = avatar.drive(params).gaussians, avatar.drive(moved).gaussians
        expected = 1.5 * before.means @ R.mT + t
        assert torch.allclose(after.means, expected, atol=1e-5) == carried
        if carried:
            torch.testing.assert_close(after.scales, 1.5 * before.scales, rtol=1e-4, atol=0)
            torch.testing.assert_close(quat_to_matrix(after.quats), R @ quat_to_matrix(before.quats), atol=1e-5, rtol=0)
        else:
            offset = before.means - reference_surface(avatar, params)
            torch.testing.assert_close(after.means - reference_surface(avatar, moved), offset, atol=1e-5, rtol=0)


def test_root_and_neck_turn_a_repaired_offset_too(flash: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    avatar = flash("fixed")
    with_outputs(avatar, [0.5, 0.0, 0.0, *[0.0] * 7])
    params = replace(tiny_params(0), root=torch.tensor([[0.0, 0.5, 0.0]]), neck=torch.tensor([[0.0, 0.3, 0.0]]))
    offset = avatar.drive(params).gaussians.means[0] - reference_surface(avatar, params)
    expected = 0.05 * torch.tensor([np.cos(0.8), 0.0, -np.sin(0.8)], dtype=torch.float32)
    torch.testing.assert_close(offset, expected.expand_as(offset), atol=1e-5, rtol=0)


def test_eyelids_move_the_official_avatar_and_not_the_port(
    flash: Any, tiny_head: HeadModel, tiny_params: Callable[[int], HeadParams]
) -> None:
    rng = torch.Generator().manual_seed(0)
    tiny_head.eyelid_dirs = 0.01 * torch.randn(2, 42, 3, generator=rng)
    shut = replace(tiny_params(1), eyelids=torch.tensor([[1.0, 0.4]]))
    port = flash("fateavatar")
    torch.testing.assert_close(port.drive(shut).gaussians.means, port.drive(tiny_params(1)).gaussians.means)
    official = flash()
    drives = official.drive(shut), official.drive(tiny_params(1))
    lids = 1.0 * tiny_head.eyelid_dirs[0] + 0.4 * tiny_head.eyelid_dirs[1]
    torch.testing.assert_close(drives[0].vertices - drives[1].vertices, lids[None], atol=1e-6, rtol=0)
    assert not torch.equal(
        official.network(official.encoded, codes(shut, 4, official.config)),
        official.network(official.encoded, codes(tiny_params(1), 4, official.config)),
    )


def test_a_batch_is_its_frames_one_by_one(flash: Any, tiny_params: Callable[[int], HeadParams]) -> None:
    for which in ("official", "fixed"):
        avatar = flash(which)
        shake(avatar)
        both = avatar.drive(HeadParams.join([turned(tiny_params(1)), turned(tiny_params(2))])).gaussians
        for k in range(2):
            one = avatar.drive(turned(tiny_params(k + 1))).gaussians
            for name in ("means", "quats", "scales"):
                torch.testing.assert_close(getattr(both, name)[k], getattr(one, name)[0])


@pytest.mark.parametrize("which", ["official", "fateavatar", "fixed"])
def test_gradients_of_the_whole_avatar_are_right_in_double(
    flash: Any, tiny_params: Callable[[int], HeadParams], which: str
) -> None:
    avatar = flash(which, uv_size=6, hidden=8, layers=2, octaves=3, detach_codes=False).double()
    shake(avatar)
    params = tiny_params(3)
    params = turned(replace(params, **{n: getattr(params, n).double() for n in FIELDS}))
    parameters = dict(avatar.named_parameters())
    names = sorted(parameters)
    count = avatar.count()
    assert count > 10
    wanted = torch.randn(count, 59, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    def output(expression: torch.Tensor, jaw: torch.Tensor, root: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        moved = replace(params, expression=expression, jaw=jaw, root=root)
        state = dict(zip(names, values, strict=True))
        g = torch.func.functional_call(avatar, state, (moved,)).gaussians
        # In units that make each part weigh alike: centimetres, and logarithms of sizes.
        parts = [100 * g.means[0], g.quats[0], g.scales[0].log(), g.opacities[:, None], g.colours.flatten(1)]
        whole = torch.cat(parts, 1)
        return (whole * wanted[:, : whole.shape[1]]).sum()

    avatar.forward = avatar.drive  # type: ignore[method-assign]  # what functional_call calls
    inputs = [getattr(params, n).clone().requires_grad_() for n in ("expression", "jaw", "root")]
    inputs += [parameters[n].detach().clone().requires_grad_() for n in names]
    assert torch.autograd.gradcheck(output, inputs, fast_mode=True, atol=1e-5)


def drawn_degrees(avatar: FlashAvatar, steps: int) -> list[int]:
    """The degree that each of the first steps renders with."""
    found = []
    for step in range(1, steps + 1):
        found.append(avatar.degree.now)
        assert avatar.edit(Event.AFTER_STEP, None, at(step)) is None
    return found


def test_the_degree_rises_with_steps_500_1000_and_1500_and_never_in_the_port(
    flash: Any, tiny_params: Callable[[int], HeadParams]
) -> None:
    avatar = flash()
    found = drawn_degrees(avatar, 2000)
    assert [found[s - 1] for s in (1, 499, 500, 999, 1000, 1499, 1500, 2000)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert avatar.drive(tiny_params(1)).gaussians.sh_degree == 3
    port = flash("fateavatar")
    assert set(drawn_degrees(port, 2000)) == {0}
    assert "rest" not in port.table.names(), "the port's higher bands never get a gradient"


def test_rates_and_eps_are_the_published_ones(flash: Any) -> None:
    def groups(which: str) -> dict[str, tuple[float, float, tuple[float, float]]]:
        return {g.name: (g.lr, g.eps, g.betas) for g in flash(which).param_groups()}

    rates = {"dc": 2.5e-3, "rest": 1.25e-4, "opacity": 5e-2, "scaling": 5e-3, "rotation": 1e-3}
    betas = (0.9, 0.999)
    assert groups("official") == {
        **{name: (rate, 1e-15, betas) for name, rate in rates.items()},
        "network": (1e-4, 1e-8, betas),
    }
    del rates["rest"]
    assert groups("fateavatar") == {
        **{name: (rate, 1e-8, betas) for name, rate in rates.items()},
        "network": (1e-4, 1e-8, betas),
    }


def test_rates_are_constant(flash: Any) -> None:
    for which in ("official", "fateavatar", "fixed"):
        avatar = flash(which)
        optimizer = AvatarOptimizer(avatar, "FlashAvatar")

        def stepped(step: int, avatar: FlashAvatar = avatar, optimizer: AvatarOptimizer = optimizer) -> list[float]:
            before = [p.detach().clone() for p in avatar.parameters()]
            for parameter in avatar.parameters():
                parameter.grad = torch.ones_like(parameter)
            optimizer.step(at(step, total=10))
            return [float((p.detach() - old).abs().max()) for p, old in zip(avatar.parameters(), before, strict=True)]

        rates = [group.lr for group in optimizer.groups]
        for step in (1, 9, 10):
            assert sorted({round(value, 4) for value in stepped(step)}) == pytest.approx(
                sorted({round(rate, 4) for rate in rates}), rel=0.02
            )


def test_recording_is_keyed_by_degree_and_the_start_of_lpips(flash: Any) -> None:
    avatar = flash(weights={"lpips": 0.0})
    assert avatar.capture_key(at(14_000)) == avatar.capture_key(at(16_000))
    avatar._losses.config = avatar.config.model_copy(update={"weights": type(avatar.config.weights)()})
    assert avatar.capture_key(at(1)) == avatar.capture_key(at(15_000)) is not None
    assert avatar.capture_key(at(15_000)) != avatar.capture_key(at(15_001))
    assert avatar.capture_key(at(15_001)) == avatar.capture_key(at(150_000))
    before = avatar.capture_key(at(500))
    avatar.edit(Event.AFTER_STEP, None, at(499))
    assert avatar.capture_key(at(500)) != before


def test_nothing_is_added_or_removed(flash: Any, splat_of: Any) -> None:
    avatar = flash()
    n = avatar.count()
    rendering = splat_of(torch.ones(1, n), torch.ones(1, n, 2))
    for event in Event:
        assert avatar.edit(event, rendering, at(3000)) is None
    assert avatar.table.statistic_names() == ()


@pytest.mark.parametrize("which", ["official", "fateavatar", "fixed", "demo"])
def test_a_checkpoint_renders_the_same_whatever_its_size(
    flash: Any,
    tiny_head: HeadModel,
    tiny_identity: Identity,
    tiny_params: Callable[[int], HeadParams],
    tiny_camera: Camera,
    which: str,
) -> None:
    avatar = flash(which, offset_bound=0.02)  # in view, with a network of random weights
    shake(avatar)
    avatar.edit(Event.AFTER_STEP, None, at(1100))
    state = avatar.state_dict()
    assert not [name for name in state if name.startswith("head.")], "no head data in a checkpoint"
    other = FlashAvatar.create(tiny_head, tiny_identity, None, avatar.config)
    assert other.count() == 1
    other.resize_for({name: value.shape for name, value in state.items()})
    other.load_state_dict(state)
    assert other.count() == avatar.count()
    assert other.degree.now == min(2, avatar.config.sh_degree)
    torch.testing.assert_close(other.encoded, avatar.encoded, rtol=0, atol=0)
    draw, white = make_rasterizer("torch"), torch.ones(1, 3)
    pictures = [a.render(tiny_params(2), tiny_camera, white, draw) for a in (avatar, other)]
    assert torch.equal(*pictures)
    assert pictures[0].std() > 0.01


@pytest.mark.parametrize(
    "topology", ["mouth_closed", *(pytest.param(name, marks=pytest.mark.slow) for name in ("open", "teeth"))]
)
def test_a_flame_head_is_driven_in_every_topology(
    flame_home: Any, tiny_camera: Camera, tiny_train: TrainView, preset: Any, topology: str
) -> None:
    head = load_head("flame2020", topology)
    zero, expression = torch.zeros(1, 3), torch.full((1, 100), 0.2)
    params = HeadParams("flame2020", expression, zero, zero, torch.tensor([[0.2, 0.0, 0.0]]), zero, zero, zero)
    identity = Identity("flame2020", torch.zeros(1, 300), expression, torch.ones(1, 100), params, tiny_camera, "made")
    train = replace(tiny_train, frames=tuple(replace(f, params=params) for f in tiny_train.frames))
    config = preset("FlashAvatar", "fixed", head_topology=topology, uv_size=64, weights={"lpips": 0.0})
    avatar = FlashAvatar.create(head, identity, train, config)
    assert len(head.template) == (5143 if topology == "teeth" else 5023)
    g = avatar.drive(params).gaussians
    assert g.means.shape == (1, avatar.count(), 3)
    assert bool(torch.isfinite(g.means).all())
    torch.testing.assert_close(g.means[0], reference_surface(avatar, params))
