"""Every built-in method passes the conformance suite of strangers, tiny and with the choices of its other presets."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headbench.harness.cli.list import by_status
from headbench.harness.head import HeadModel
from headbench.harness.plugins import MethodSpec, registry
from headbench.harness.types import Subject
from headbench.methods.plugin import register_methods
from headbench.testing import METHOD_CHECKS, check_method
from headbench.testing.samples import sampled_subjects

SPECS: list[MethodSpec] = []
register_methods(SPECS.append)
TRAINED = [spec for spec in SPECS if not spec.baseline]
SAME_READER = ("pointavatar", "4dface", "emotalk3d")
"""IMAvatar's reader under other names: one method tells that they work."""
PRESETS = [
    pytest.param(spec, which, id=f"{spec.name}-{which}")
    for spec in TRAINED
    for which in spec.presets
    if which not in ("tiny", "demo") and (spec.name, which) != ("FateAvatar", "fateavatar")
]
"""But those that are the same file."""
QUICK = ("NearestFrame", "FlashAvatar", "MonoGaussianAvatar")
"""Methods whose whole suite takes a few seconds; those of the others take up to 14."""
EACH = [pytest.param(s, id=s.name, marks=() if s.name in QUICK else pytest.mark.slow) for s in SPECS]
GROWN = {
    "FateAvatar": " to ",
    "GaussianAvatars": " to ",
    "MonoGaussianAvatar": "50 to 120 Gaussians",
    "SplattingAvatar": "300 to ",
}
"""What becomes of the Gaussians of methods that edit; MonoGaussianAvatar follows its schedule of growth."""


@pytest.fixture(scope="module")
def flame(flame_heads: Callable[[str, str], HeadModel]) -> list[HeadModel]:
    """Synthetic FLAME heads of both years, each topology among them, with eyelids."""
    wanted = (("flame2020", "open"), ("flame2020", "teeth"), ("flame2023", "mouth_closed"), ("flame2023", "teeth"))
    return [flame_heads(*each) for each in wanted]


@pytest.fixture(scope="module")
def layouts() -> dict[str, Subject]:
    return dict(sampled_subjects())


@pytest.mark.parametrize("spec", EACH)
def test_a_built_in_method_conforms(spec: MethodSpec, flame: list[HeadModel], layouts: dict[str, Subject]) -> None:
    layouts = {name: subject for name, subject in layouts.items() if name not in SAME_READER}
    outcomes = {outcome.check: outcome for outcome in check_method(spec, heads=flame, layouts=layouts)}
    assert list(outcomes) == list(METHOD_CHECKS)
    assert GROWN.get(spec.name, "") in outcomes["edit"].note, "the tiny preset grows or prunes"
    if not spec.baseline:
        assert outcomes["recorded"].note == "", "every method permits recording"
        assert all(f"{head.tag} {head.topology}" in outcomes["heads"].note for head in flame)


@pytest.mark.slow
def test_a_method_trains_on_layouts_that_share_a_reader(layouts: dict[str, Subject]) -> None:
    (spec,) = (spec for spec in SPECS if spec.name == "FateAvatar")
    same = {name: layouts[name] for name in SAME_READER}
    (outcome,) = check_method(spec, only=("layouts",), layouts=same)
    assert all(name in outcome.note for name in SAME_READER), outcome.note


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "which"), PRESETS)
def test_a_preset_in_small_is_resumed_bit_equal_and_learns_in_every_group(spec: MethodSpec, which: str) -> None:
    edit, *_ = check_method(spec, which, only=("edit", "gradient", "resume", "load"))
    assert GROWN.get(spec.name, "") in edit.note


def test_every_built_in_method_claims_the_datasets_it_is_tried_on_but_the_one_nobody_has() -> None:
    names = list(sampled_subjects())
    for spec in SPECS:
        assert spec.checked == {name: "synthetic data" for name in names if name != "emotalk3d"}
        assert by_status(spec, list(registry().datasets().values()))["not tried"] == ["emotalk3d"]
