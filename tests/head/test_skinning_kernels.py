"""Heads that kernels pose are the plain ones, in values and gradients; on a GPU, or in triton's interpreter."""

import os
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from headbench.harness.errors import DataError
from headbench.harness.head import Corrections, SubjectHead, load_head
from headbench.harness.kernels import SWITCH
from headbench.harness.train.setup import identity_of
from headbench.harness.types import HeadParams, Similarity
from headbench.testing.scene import made_subject

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
NEAR = {torch.float32: 2e-4, torch.float64: 1e-9}
FREE = ("expression", "translation", "root", "neck", "jaw", "eye_left", "eye_right")
B, STRIDE = 2, 113


@pytest.fixture(scope="module")
def whole() -> SubjectHead:
    head = load_head("openhead")
    return head.bind(identity_of(made_subject(head)))


@pytest.fixture(autouse=True)
def _few_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over parts are taken in several rounds, as those of a whole head are."""
    monkeypatch.setattr("headbench.harness.head.skinning_kernels._CHUNK", 2)


@pytest.fixture(params=NEAR, ids=str)
def head(whole: SubjectHead, request: pytest.FixtureRequest) -> SubjectHead:
    """A part of the open head, of a number of vertices that fills no block."""
    made = whole.__class__.__new__(whole.__class__)
    torch.nn.Module.__init__(made)
    made.__dict__.update({k: v for k, v in whole.__dict__.items() if not k.startswith("_")})
    keep = torch.arange(0, len(whole.base), STRIDE)
    rows = (keep[:, None] * 3 + torch.arange(3)).reshape(-1)
    cut = {"base": keep, "weights": keep, "chained_weights": keep, "expression_dirs": rows}
    for name, buffer in whole.named_buffers(recurse=False):
        value = buffer
        if name in cut:
            value = buffer[cut[name]]
        elif name == "pose_dirs":
            value = buffer[:, rows]
        elif name == "joint_regressor":
            value = buffer[:, keep] * STRIDE
        elif name == "eyelid_dirs":
            value = buffer[:, keep]
        value = value.to(DEVICE, request.param if value.is_floating_point() else value.dtype)
        made.register_buffer(name, value, persistent=False)
    assert len(made.base) % 16 and len(made.base) > 32
    return made


def posed(head: SubjectHead, spread: float, coefficients: int | None = None) -> HeadParams:
    rng = torch.Generator().manual_seed(3)
    width = head.expression_size if coefficients is None else coefficients

    def draw(*shape: int) -> Tensor:
        return (torch.randn(*shape, generator=rng, dtype=torch.float64) * spread).to(head.base)

    angles = {name: draw(B, 3) for name in FREE[1:]}
    angles["neck"][0] = 0
    angles["jaw"][0] *= 1e-3
    return HeadParams(head=head.tag, expression=draw(B, width), **angles)


def surroundings(head: SubjectHead, params: HeadParams) -> HeadParams:
    """Eyelids and a similarity besides."""
    rng = torch.Generator().manual_seed(4)
    turn = torch.linalg.qr(torch.randn(B, 3, 3, generator=rng, dtype=torch.float64))[0]
    shift, factor = torch.randn(B, 3, generator=rng), 1 + torch.rand(B, generator=rng)
    similarity = Similarity(scale=factor.to(head.base), R=turn.to(head.base), t=shift.to(head.base))
    return replace(params, eyelids=torch.rand(B, 2, generator=rng).to(head.base), similarity=similarity)


def corrections(head: SubjectHead, which: str, coefficients: int) -> Corrections:
    rng = torch.Generator().manual_seed(5)
    shapes = {"template": (len(head.base), 3), "expression": (len(head.base), 3, coefficients)}
    shapes["pose"] = (36, 3 * len(head.base))
    made = {name: 0.01 * torch.randn(*shapes[name], generator=rng, dtype=torch.float64) for name in which.split()}
    return Corrections(**{name: value.to(head.base).requires_grad_() for name, value in made.items()})


def slopes(values: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    rng = torch.Generator().manual_seed(6)
    weights = [torch.randn(v.shape, generator=rng, dtype=torch.float64).to(v) for v in values]
    total = sum((v * w).sum() for v, w in zip(values, weights, strict=True))
    return [*(v.detach() for v in values), *torch.autograd.grad(total, leaves)]


def assert_near(fused: list[Tensor], plain: list[Tensor], near: float) -> None:
    for number, (mine, theirs) in enumerate(zip(fused, plain, strict=True)):
        largest = theirs.abs().max().item()
        message = lambda text, number=number: f"{number}: {text}"  # noqa: E731
        torch.testing.assert_close(mine, theirs, rtol=near, atol=0.05 * near * largest, msg=message)


@pytest.mark.gpu
@pytest.mark.parametrize(("spread", "around"), [(0.01, False), (0.7, True)])
def test_poses_and_their_gradients(head: SubjectHead, spread: float, around: bool, monkeypatch) -> None:
    params = posed(head, spread)
    params = surroundings(head, params) if around else params
    found = {}
    for switch in ("0", "+skinning"):
        monkeypatch.setenv(SWITCH, switch)
        leaves = {name: getattr(params, name).clone().requires_grad_() for name in FREE}
        vertices = head.vertices(replace(params, **leaves))
        assert ("Vertices" in vertices.grad_fn.name()) == (switch != "0")
        found[switch] = slopes([vertices], list(leaves.values()))
    assert_near(found["+skinning"], found["0"], NEAR[head.base.dtype])


@pytest.mark.gpu
def test_a_head_that_keeps_the_first_coefficients(head: SubjectHead, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directions are a part of the model's, so that their rows do not follow each other in memory."""
    width = head.expression_size - 3
    head.expression_dirs, head.joint_dirs = head.expression_dirs[:, :width], head.joint_dirs[:, :width].contiguous()
    assert not head.expression_dirs.is_contiguous()
    params, found = posed(head, 0.5), {}
    for switch in ("0", "+skinning"):
        monkeypatch.setenv(SWITCH, switch)
        expression = params.expression.clone().requires_grad_()
        vertices = head.vertices(replace(params, expression=expression))
        assert ("Vertices" in vertices.grad_fn.name()) == (switch != "0")
        found[switch] = slopes([vertices], [expression])
    assert_near(found["+skinning"], found["0"], NEAR[head.base.dtype])


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("which", "pair", "given"),
    [("template", False, 7), ("expression", True, None), ("pose", False, 130), ("template expression pose", True, 7)],
)
def test_corrections_and_their_gradients(
    head: SubjectHead, which: str, pair: bool, given: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = surroundings(head, posed(head, 0.5, given))
    if given == 130:
        params.expression[:, head.expression_size :] = 0
    moved = corrections(head, which, head.expression_size)
    leaves = [t for t in (moved.template, moved.expression, moved.pose) if t is not None]
    found = {}
    for switch in ("0", "+skinning"):
        monkeypatch.setenv(SWITCH, switch)
        vertices, plain = head.pair(params, moved) if pair else (head.vertices(params, moved), params.root)
        assert ("Vertices" in vertices.grad_fn.name()) == (switch != "0") and not plain.requires_grad
        found[switch] = [plain, *slopes([vertices], leaves)]
    assert_near(found["+skinning"], found["0"], NEAR[head.base.dtype])


@pytest.mark.gpu
def test_what_the_kernels_have_no_gradient_for_is_left_to_torch(head: SubjectHead, monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "+skinning")
    params = surroundings(head, posed(head, 0.5))
    moved = corrections(head, "pose", 3)
    root = params.root.clone().requires_grad_()
    lids = params.eyelids.clone().requires_grad_()
    cases = [(replace(params, root=root), moved), (replace(params, eyelids=lids), None)]
    for given, corrected in cases:
        assert "Vertices" not in head.vertices(given, corrected).grad_fn.name()
    assert "Vertices" in head.vertices(replace(params, root=root)).grad_fn.name()


@pytest.mark.gpu
def test_coefficients_of_another_head_are_refused_or_show_as_nan(head: SubjectHead, monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "+skinning")
    params = posed(head, 0.5, head.expression_size + 2)
    params.expression[1:, head.expression_size :] = 0
    if DEVICE == "cpu":
        with pytest.raises(DataError, match="the ones beyond are not zero"):
            head.vertices(params)
        monkeypatch.setattr("headbench.harness.head.subject._refuse_beyond", lambda *_: None)
    vertices = head.vertices(params)
    assert bool(vertices[0].isnan().all()) and bool(vertices[1:].isfinite().all())


@pytest.mark.gpu
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_bones_are_those_of_torch(head: SubjectHead, spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    for params in (posed(head, spread), posed(head, spread, 3)):
        monkeypatch.setenv(SWITCH, "0")
        feature, bones = head.bones(params)
        monkeypatch.setenv(SWITCH, "+skinning")
        with monkeypatch.context() as patch:
            patch.setattr(SubjectHead, "_turns", None)
            mine = head.bones(params)
        near = NEAR[head.base.dtype]
        torch.testing.assert_close(mine[0], feature, rtol=near, atol=near)
        torch.testing.assert_close(mine[1], bones, rtol=near, atol=near)


@pytest.mark.gpu
def test_bones_of_parameters_that_want_gradients_are_left_to_torch(
    head: SubjectHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "+skinning")
    params = posed(head, 0.5)
    params = replace(params, jaw=params.jaw.clone().requires_grad_())
    head.bones(params)[1].square().sum().backward()
    assert float(params.jaw.grad.abs().min()) > 0
