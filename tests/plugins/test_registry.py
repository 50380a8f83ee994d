"""Plugins register, are found, and when broken are named without harm to others."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from isolation import Plug

from headbench.harness.errors import PluginError
from headbench.harness.plugins import DatasetSpec, MethodSpec, MetricSpec, Registry, Source, Variant, hookimpl
from headbench.harness.plugins.checks import preset_data


def spec(name: str = "Toy", **more: object) -> MethodSpec:
    values: dict[str, object] = {
        "name": name,
        "target": "toy_code:Toy",
        "presets": {"demo": "toy_code:demo.yaml"},
        "default_preset": "demo",
    }
    return MethodSpec(**(values | more))  # type: ignore[arg-type]


def plugin(*specs: object, hook: str = "register_methods") -> types.ModuleType:
    module = types.ModuleType("inline")

    def implementation(register):  # type: ignore[no-untyped-def]
        for one in specs:
            register(one)

    setattr(module, hook, hookimpl(implementation))
    return module


def source(name: str, module: object) -> Source:
    return Source(name, lambda: module)


def test_methods_and_datasets_are_listed_in_the_order_of_registration() -> None:
    both = plugin(spec("B"), spec("A"))
    both.register_datasets = hookimpl(lambda register: register(DatasetSpec("faces", "toy_code:Faces")))  # type: ignore[attr-defined]
    made = Registry([source("both", both)])
    assert list(made.methods()) == ["B", "A"]
    assert list(made.datasets()) == ["faces"]
    assert made.problems() == []
    kinds = ("methods", "datasets", "metrics", "protocols", "stages", "view-priors", "executors", "table-formats")
    everything: dict[str, list[str]] = {key: [] for key in kinds} | {"methods": ["B", "A"], "datasets": ["faces"]}
    assert made.plugins()[0].brought == everything
    assert made.owner(made.method("a")) == "both" and made.origin(made.dataset("faces")) == "built in"


def test_names_are_found_without_regard_to_case_and_unknown_ones_get_a_suggestion() -> None:
    made = Registry([source("p", plugin(spec("FateAvatar"), spec("GaussianAvatars")))])
    assert made.method("fateavatar").name == "FateAvatar"
    with pytest.raises(PluginError, match=r"Unknown method 'fateavater'.*Did you mean 'FateAvatar'"):
        made.method("fateavater")
    with pytest.raises(PluginError, match="Unknown dataset 'x'"):
        made.load_dataset("x")


@pytest.mark.parametrize("error", [ImportError("no cuda"), SystemExit(3), AssertionError(), RecursionError("deep")])
def test_a_plugin_that_fails_to_load_is_a_problem_that_names_it_and_others_stay(error: BaseException) -> None:
    def load() -> object:
        raise error

    made = Registry([Source("broken", load, "broken-dist 1.0"), source("good", plugin(spec()))])
    assert list(made.methods()) == ["Toy"]
    (problem,) = made.problems()
    assert (
        problem.where.place == "broken"
        and type(error).__name__ in problem.message
        and "broken-dist 1.0" in problem.help
    )


def test_the_users_interrupt_is_not_swallowed() -> None:
    def load() -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Registry([Source("slow", load)])


def test_a_hook_that_raises_is_a_problem_and_what_it_registered_before_stays() -> None:
    module = types.ModuleType("halfway")

    def register_methods(register):  # type: ignore[no-untyped-def]
        register(spec("First"))
        raise ValueError("second is missing")

    module.register_methods = hookimpl(register_methods)  # type: ignore[attr-defined]
    made = Registry([source("halfway", module), source("good", plugin(spec("Good")))])
    assert set(made.methods()) == {"First", "Good"}
    assert [p.where.place for p in made.problems()] == ["halfway"]
    assert "second is missing" in made.problems()[0].message


def test_a_misspelt_hook_is_a_problem_with_a_suggestion() -> None:
    made = Registry([source("typo", plugin(spec(), hook="register_method"))])
    (problem,) = made.problems()
    assert problem.where.place == "typo"
    assert "Unknown hook 'register_method'" in problem.message and "'register_methods'" in problem.message


def test_a_hook_with_an_argument_that_does_not_exist_is_a_problem() -> None:
    module = types.ModuleType("args")
    module.register_methods = hookimpl(lambda registrar: None)  # type: ignore[attr-defined]
    made = Registry([source("args", module), source("good", plugin(spec()))])
    assert list(made.methods()) == ["Toy"]
    assert [p.where.place for p in made.problems()] == ["args"] and "registrar" in made.problems()[0].message


def test_a_name_taken_by_another_plugin_is_refused_and_both_are_named() -> None:
    made = Registry([source("one", plugin(spec("Toy"))), source("two", plugin(spec("TOY")))])
    assert list(made.methods()) == ["Toy"]
    (problem,) = made.problems()
    assert problem.where.place == "two" and "'TOY' is taken by Toy of plugin one" in problem.message


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": "Toy"}, "registered dict"),
        (spec("has space"), "must be letters"),
        (spec(target="toy_code.Toy"), "package.module:Class"),
        (spec(presets={}), "must map preset names"),
        (spec(presets={"demo": "demo.yaml"}), "package:path"),
        (spec(presets={"../demo": "toy_code:demo.yaml"}, default_preset="../demo"), "found a path"),
        (spec(default_preset="dmeo"), "Did you mean 'demo'"),
        (spec(needs={"mouth"}), "frozenset"),
        (spec(checked={"insta": "synthetic dta"}), "Did you mean 'synthetic data'"),
        (spec(checked="insta"), "checked must map"),
        (DatasetSpec("x", "a:B"), "expected a MethodSpec"),
    ],
)
def test_a_wrong_spec_is_refused_with_the_fault(wrong: object, words: str) -> None:
    made = Registry([source("wrong", plugin(wrong))])
    assert made.methods() == {}
    assert made.problems()[0].where.place == "wrong" and words in made.problems()[0].message


def metric(name: str = "edges", **more: object) -> MetricSpec:
    return MetricSpec(**({"name": name, "target": "toy_code:Edges"} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (spec(), "expected a MetricSpec"),
        (metric("has/slash"), "must be letters"),
        (metric("fps"), "is taken by a column that every table has"),
        (metric("psnr_std"), "is taken by a column that every table has"),
        (metric(target="toy_code"), "package.module:Class"),
        (metric(scope="frames"), "Did you mean 'frame'"),
        (metric(better="hihger"), "Did you mean 'higher'"),
        (metric(digits=-1), "must be a number from 0 to 12"),
        (metric(digits=True), "must be a number from 0 to 12"),
        (metric(needs={"mouth"}), "frozenset"),
        (metric(variants=["a"]), "variants must map"),
        (metric(variants={"a/b": Variant("x")}), "variant 'a/b' must be letters"),
        (metric(variants={"a": "x"}), "must be a Variant"),
    ],
)
def test_a_wrong_spec_of_a_metric_is_refused_with_the_fault(wrong: object, words: str) -> None:
    made = Registry([source("wrong", plugin(wrong, hook="register_metrics"))])
    assert made.metrics() == {}
    assert made.problems()[0].where.place == "wrong" and words in made.problems()[0].message


def test_the_built_in_metrics_come_through_the_hook() -> None:
    from headbench.metrics import Metric
    from headbench.metrics import plugin as ours

    made = Registry([source("ours", ours)])
    beside = ["psnr-region", "flicker-difference", "sharpness"]
    assert list(made.metrics()) == ["psnr", "psnr-foreground", "ssim", "lpips", *beside] and made.problems() == []
    assert all(issubclass(made.load_metric(name), Metric) for name in made.metrics())
    assert made.check() == []


TOY_CODE = """
import torch
from headbench.harness.avatar import MethodConfig, Portrait
from headbench.harness.plugins import DatasetReader

class Toy(Portrait):
    config_type = MethodConfig
    @classmethod
    def create(cls, head, identity, train, config):
        return cls()
    def render(self, params, camera, background, rasterizer):
        return torch.zeros(1, 3, camera.height, camera.width)

class NoRender(Portrait):
    config_type = MethodConfig
    @classmethod
    def create(cls, head, identity, train, config):
        return cls()

class NoConfig(Toy):
    config_type = dict

class Plain:
    pass

class HalfReader(DatasetReader):
    def subjects(self, root):
        return {}

from headbench.metrics import Metric, MetricOptions

class Edges(Metric):
    def frame(self, render, truth):
        return render.mean(dim=(1, 2, 3))

class Loose(Edges):
    options_type = dict

class Half(Metric):
    def gather(self, state, render, truth):
        return state
"""


@pytest.fixture
def toy_code(tmp_path: Path, plug: Plug) -> None:
    (tmp_path / "toy_code.py").write_text(TOY_CODE)
    package = tmp_path / "toy_presets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "demo.yaml").write_text("train: {steps: 1}\n")
    (package / "wrong.yaml").write_text("train: {steps: 1}\nmax_pionts: 3\n")
    (package / "list.yaml").write_text("- a\n")
    (package / "data.yaml").write_text("train: {steps: 1}\ndata: [insta]\n")
    (package / "reads.yaml").write_text("train: {steps: 1}\ndata: {discs: {radius: 3}}\n")
    plug(tmp_path)


def good(**more: object) -> MethodSpec:
    return spec(**({"presets": {"demo": "toy_presets:demo.yaml"}} | more))  # type: ignore[arg-type]


@pytest.mark.usefixtures("toy_code")
def test_a_complete_method_loads_and_passes_the_deep_check() -> None:
    made = Registry([source("mine", plugin(good()))])
    assert made.load_method("toy").__name__ == "Toy"
    assert made.check() == []
    reads = good(presets={"demo": "toy_presets:reads.yaml"})
    assert Registry([source("mine", plugin(reads))]).check() == []
    assert preset_data(reads, "demo") == {"discs": {"radius": 3}} and preset_data(good(), "demo") == {}


@pytest.mark.usefixtures("toy_code")
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (good(target="toy_code:NoRender"), "lacks render"),
        (good(target="toy_code:NoConfig"), "config_type"),
        (good(target="toy_code:Plain"), "derived from headbench.harness.avatar.Portrait"),
        (good(target="toy_code:Absent"), "AttributeError"),
        (good(target="toy_nowhere:Toy"), "ModuleNotFoundError"),
        (good(presets={"demo": "toy_presets:absent.yaml"}), "absent.yaml"),
        (good(presets={"demo": "toy_presets:wrong.yaml"}), "max_pionts"),
        (good(presets={"demo": "toy_presets:list.yaml"}), "must be a mapping, got list"),
        (good(presets={"demo": "toy_presets:data.yaml"}), "data must map datasets to options of their readers"),
    ],
)
def test_a_method_that_lacks_a_part_is_an_error_naming_plugin_and_method(broken: MethodSpec, words: str) -> None:
    made = Registry([source("mine", plugin(broken))])
    with pytest.raises(PluginError, match="mine: method Toy") as caught:
        made.load_method("Toy")
    assert words in str(caught.value)
    (problem,) = made.check()
    assert problem.where.place == "mine" and words in problem.message


@pytest.mark.usefixtures("toy_code")
def test_a_reader_that_lacks_a_part_is_an_error_naming_plugin_and_dataset() -> None:
    module = types.ModuleType("data")
    module.register_datasets = hookimpl(lambda register: register(DatasetSpec("half", "toy_code:HalfReader")))  # type: ignore[attr-defined]
    made = Registry([source("data", module)])
    with pytest.raises(PluginError, match="data: dataset half: toy_code:HalfReader lacks check, read"):
        made.load_dataset("half")


@pytest.mark.usefixtures("toy_code")
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (metric(target="toy_code:Plain"), "must be a class derived from headbench.metrics.metric.Metric"),
        (metric(target="toy_code:Loose"), "options_type must be a class derived from headbench.metrics.MetricOptions"),
        (metric(scope="pair"), "lacks pair, which scope pair asks for"),
        (metric(target="toy_code:Half", scope="sequence"), "lacks sequence, which scope sequence asks for"),
        (metric(target="toy_code:Absent"), "AttributeError"),
    ],
)
def test_a_metric_that_lacks_a_part_is_an_error_naming_plugin_and_metric(broken: MetricSpec, words: str) -> None:
    made = Registry([source("mine", plugin(broken, hook="register_metrics"))])
    with pytest.raises(PluginError, match="mine: metric edges") as caught:
        made.load_metric("EDGES")
    assert words in str(caught.value)
    (problem,) = made.check()
    assert problem.where.place == "mine" and words in problem.message


@pytest.mark.usefixtures("toy_code")
def test_a_complete_metric_loads_and_passes_the_deep_check() -> None:
    made = Registry([source("mine", plugin(metric(), hook="register_metrics"))])
    assert made.load_metric("Edges").__name__ == "Edges" and made.check() == []
    with pytest.raises(PluginError, match=r"Unknown metric 'edgse'.*Did you mean 'edges'") as caught:
        made.metric("edgse")
    assert caught.value.help == "bench list metrics"


def listing(site: Path, code: str, **environment: str) -> str:
    env = os.environ | {"PYTHONPATH": str(site)} | environment
    out = subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=True)
    return out.stdout


def distribution(site: Path, name: str, entry_points: str) -> None:
    info = site / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(entry_points)


def test_entry_points_of_other_distributions_are_found_and_guarded_and_can_be_switched_off(tmp_path: Path) -> None:
    (tmp_path / "zoo_plugin.py").write_text(
        "from headbench.harness.plugins import MethodSpec, hookimpl\n"
        "@hookimpl\n"
        "def register_methods(register):\n"
        "    register(MethodSpec('Zebra', 'zoo:Zebra', {'a': 'zoo:a.yaml'}, 'a'))\n"
    )
    (tmp_path / "exits.py").write_text("raise SystemExit('go away')\n")
    distribution(tmp_path, "zoo", "[headbench]\nzoo = zoo_plugin\nexits = exits\nnonsense = not a module!\n")
    code = (
        "from headbench.harness.plugins import registry; import sys; r = registry()\n"
        "print('Zebra' in r.methods(), sorted(p.where.place for p in r.problems() if 'zoo 1.2' in p.help),"
        " 'torch' in sys.modules)"
    )
    assert listing(tmp_path, code).strip() == "True ['exits', 'nonsense'] False"
    assert listing(tmp_path, code, HEADBENCH_PLUGINS="0").strip() == "False [] False"
