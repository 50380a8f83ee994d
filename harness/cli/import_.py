"""`bench import`: take a checkpoint that a method's published code wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from headbench.harness.cli.options import Place
from headbench.harness.console import say
from headbench.harness.errors import BenchError, did_you_mean
from headbench.harness.importing import importer_for
from headbench.harness.names import one_line
from headbench.harness.reading import Unreadable

if TYPE_CHECKING:
    from headbench.harness.avatar import MethodConfig
    from headbench.harness.importing import Importer
    from headbench.harness.plugins import MethodSpec, Registry

__all__ = ["import_"]

NOTE = "headbench.json"
"""File beside exported pairs that names their head model."""


@click.command(name="import")
@click.argument("file", type=Place(exists=True))
@click.option("--out", required=True, type=Place(), help="Folder of the checkpoint; with --data folder of the run.")
@click.option("--method", help="Method that it is of; without it, as the ending says: .ply, .pth.")
@click.option("--parameters", type=Place(exists=True), help="flame_param.npz; the one beside a .ply without it.")
@click.option("--head", default="", help="Head model; that of the published code without it.")
@click.option("--preset", default="official", show_default=True, help="Options that it was trained with.")
@click.option(
    "--set", "settings", multiple=True, metavar="METHOD.OPTION=VALUE", help="Change an option it was trained with."
)
@click.option(
    "--data", type=Place(exists=True), help="Folder of its subject, whose test frames are rendered and scored."
)
@click.option("--dataset", help="Layout of --data, such as vhap; vhap[306] where it holds more subjects.")
@click.option("--protocol", multiple=True, help="Protocol to score by, such as headbench@1.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:K; with --data.")
@click.option("--rasterizer", default="auto", show_default=True, help="auto, gsplat, numba or torch; with --data.")
def import_(
    file: Path,
    out: Path,
    method: str | None,
    parameters: Path | None,
    head: str,
    preset: str,
    settings: tuple[str, ...],
    data: Path | None,
    dataset: str | None,
    protocol: tuple[str, ...],
    device: str,
    rasterizer: str,
) -> None:
    """Take FILE, a checkpoint that the published code of a method wrote, as a checkpoint that renders and scores.

    GaussianAvatars: point_cloud.ply (or its folder) with flame_param.npz beside it. FateAvatar: a .pth, of which only
    tensors are read. With --data and --dataset a run is made whose cell has the stage `import` instead of `train`.
    """
    from headbench.harness.plugins import registry

    if (data is None) != (dataset is None):
        raise click.UsageError("--data and --dataset go together: the folder of a subject and its layout.")
    known = registry()
    if file.is_dir():
        file = _in_folder(file, known, method)
    spec, importer, decided = _recognised(file, known, method)
    if parameters is None and importer.parameters and (file.parent / importer.parameters).is_file():
        parameters = file.parent / importer.parameters
    if importer.parameters and parameters is None:
        raise BenchError(f"{file}: found no {importer.parameters} beside it.", help="--parameters FILE")
    head = head or _noted(file.parent) or importer.head
    _check_head(head)
    usual = _preset(known, spec, preset)
    # Only what differs from the preset, since changed options name a variant.
    changed = {name: value for name, value in decided.items() if getattr(usual, name) != value}
    options = [f"{spec.name.lower()}.{name}={_text(value)}" for name, value in changed.items()]
    options += settings
    if data is None:
        _alone(file, parameters, head, spec, importer, preset, options, out)
        return
    _run(file, parameters, head, spec, preset, options, out, data, str(dataset), protocol, device, rasterizer)


def _preset(known: Registry, spec: MethodSpec, preset: str) -> MethodConfig:
    """Configuration of a method's preset; its default where it has none of that name."""
    from headbench.harness.plugins.checks import check_preset, preset_values
    from headbench.harness.run.config import apply_settings

    check_preset(preset, [spec])
    name = preset if preset in spec.presets else spec.default_preset
    values = preset_values(spec, name, known.owner(spec))
    config: MethodConfig = apply_settings(known.load_method(spec.name), values, [])
    return config


def _in_folder(folder: Path, known: Registry, method: str | None) -> Path:
    """The one checkpoint in a folder.

    Raises:
        BenchError: there is none, or several.
    """
    endings = sorted({ending for _, importer in _importers(known, method) for ending in importer.suffixes})
    found = sorted(path for path in folder.iterdir() if path.suffix in endings)
    if len(found) != 1:
        listed = ", ".join(one_line(path.name) for path in found[:4]) or "none"
        raise BenchError(
            f"{folder}: expected one file that ends in {' or '.join(endings)}, found {listed}.", help="name the file"
        )
    return found[0]


def _importers(known: Registry, method: str | None) -> list[tuple[MethodSpec, Importer]]:
    """Importers of one method, or of all, each with its method."""
    specs = [known.method(method)] if method else [spec for spec in known.methods().values() if spec.importers]
    return [(spec, importer) for spec in specs for importer in known.load_importers(spec.name)]


def _recognised(file: Path, known: Registry, method: str | None) -> tuple[MethodSpec, Importer, Mapping[str, Any]]:
    """Method whose published code wrote a file, its importer, and the options that the file decides.

    Raises:
        BenchError: no method's checkpoints end so, or the file is damaged or of none of them.
    """
    pairs = _importers(known, method)
    importer_for([importer for _, importer in pairs], file)
    faults = []
    for spec, importer in pairs:
        if file.suffix.lower() in importer.suffixes:
            try:
                return spec, importer, importer.settings(file)
            except Unreadable as error:
                faults.append(error)
    raise faults[0]


def _check_head(tag: str) -> None:
    """Refuse a head model that there is not, or whose file is not registered, before anything is read.

    Raises:
        BenchError: the name is unknown.
        MissingAsset: its file is not registered; the message says how.
    """
    from headbench.harness.assets import asset
    from headbench.harness.head import TAGS

    if tag not in TAGS:
        raise BenchError(did_you_mean("head model", tag, TAGS), help="--head TAG")
    if tag != "openhead":
        asset(f"{tag}/model")


def _noted(folder: Path) -> str:
    """Head model that `bench export` noted beside the files; empty where it did not.

    Raises:
        BenchError: the note is damaged, or names no head model.
    """
    from headbench.harness.files import read_json
    from headbench.harness.head import TAGS

    path = folder / NOTE
    if not path.is_file():
        return ""
    tag = read_json(path).get("head")
    if not isinstance(tag, str) or tag not in TAGS:
        raise BenchError(f"{path}: {did_you_mean('head model', str(tag)[:60], TAGS)}", help="--head TAG")
    return tag


def _text(value: object) -> str:
    return json.dumps(value)


def _alone(
    file: Path,
    parameters: Path | None,
    head: str,
    spec: MethodSpec,
    importer: Importer,
    preset: str,
    options: list[str],
    out: Path,
) -> None:
    """Write the checkpoint of an import without a subject."""
    from headbench.harness.files import writable
    from headbench.harness.importing import Foreign
    from headbench.harness.plugins import registry
    from headbench.harness.plugins.checks import preset_values
    from headbench.harness.run.config import apply_settings, parse_setting
    from headbench.harness.run.entries import check_owners

    writable(out, folder=True)
    if out.is_dir() and any(out.iterdir()):
        raise BenchError(f"{out}: expected an empty folder or none, found one that holds files.", "name another place")
    known = registry()
    name = preset if preset in spec.presets else spec.default_preset
    changed = [parse_setting(text) for text in options]
    check_owners(changed, [spec], [], [], known)
    portrait_type = known.load_method(spec.name)
    config = apply_settings(portrait_type, preset_values(spec, name, known.owner(spec)), changed)
    from headbench.harness.train.import_stage import import_alone

    about = {"method": spec.name, "preset": name, "variant": "", "dataset": "", "subject": one_line(file.stem)}
    notes = import_alone(importer, Foreign(file, parameters, config, head, None), portrait_type, about, out)
    for note in notes:
        say(f"note: {one_line(note)}")
    say(f"{out}: {spec.name} from {file}")


def _run(
    file: Path,
    parameters: Path | None,
    head: str,
    spec: MethodSpec,
    preset: str,
    options: list[str],
    out: Path,
    data: Path,
    dataset: str,
    protocol: tuple[str, ...],
    device: str,
    rasterizer: str,
) -> None:
    """Make a run whose one cell imports, renders and scores, as `bench run --stages import` does."""
    from headbench.harness.cli.run import run

    stage: dict[str, Any] = {"file": file.absolute(), "parameters": parameters and parameters.absolute(), "head": head}
    options = [*options, *(f"import.{name}={_text(str(value))}" for name, value in stage.items() if value)]
    arguments = ["--methods", spec.name, "--datasets", dataset, "--data-root", str(data), "--preset", preset]
    arguments += ["--stages", "import", "--out", str(out), "--device", device, "--rasterizer", rasterizer]
    arguments += [part for text in options for part in ("--set", text)]
    arguments += [part for name in protocol for part in ("--protocol", name)]
    code = run.main(arguments, standalone_mode=False)
    if code:
        raise Exit(code)
