"""`bench profile`: measure what a training step of each method costs on this machine, part by part."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from headbench.harness.cli.options import Place
from headbench.harness.console import say

if TYPE_CHECKING:
    from headbench.harness.train.kernel_count import KernelCount

__all__ = ["profile"]

_ORDER = ("data", "drive", "raster", "losses", "backward", "optimizer", "edits", "total")


@click.command()
@click.option("--methods", default="all", show_default=True, help="Names with commas between, or all trained ones.")
@click.option("--dataset", default="insta", show_default=True, help="Dataset of the subject.")
@click.option("--data-root", type=Place(), required=True, help="Holds <dataset>/<subject>.")
@click.option("--subject", help="Subject; the first one without it.")
@click.option("--preset", help="Preset; a method without it uses its default.")
@click.option("--set", "settings", multiple=True, metavar="METHOD.OPTION=VALUE", help="Change a method's option.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:K.")
@click.option("--rasterizer", default="auto", show_default=True, help="auto, gsplat, cuda, numba or torch.")
@click.option("--warmup", default=50, show_default=True, type=click.IntRange(min=1), help="Steps before counting.")
@click.option("--steps", default=200, show_default=True, type=click.IntRange(min=2), help="Counted steps per round.")
@click.option("--record/--no-record", default=True, show_default=True, help="Replay steps as CUDA graphs on a GPU.")
@click.option("--json", "target", type=Place(), help="Write the figures to this file, too.")
def profile(
    methods: str,
    dataset: str,
    data_root: Path,
    subject: str | None,
    preset: str | None,
    settings: tuple[str, ...],
    device: str,
    rasterizer: str,
    warmup: int,
    steps: int,
    record: bool,
    target: Path | None,
) -> None:
    """Measure training steps: rate, peak memory, the median milliseconds of each part, and on a GPU the kernels.

    Data are on the device and decoded before the clock starts; checkpoints, previews and logs are left out.
    """
    from headbench.harness.avatar import Avatar
    from headbench.harness.errors import BenchError, DataError, did_you_mean
    from headbench.harness.files import writable, write_json
    from headbench.harness.options import Execution
    from headbench.harness.plugins import registry
    from headbench.harness.plugins.checks import check_preset, preset_values
    from headbench.harness.run.asked import split_names
    from headbench.harness.run.config import apply_settings, parse_setting
    from headbench.harness.train.step_cost import measure_step_cost

    if target is not None:
        writable(target)
    known = registry()
    if preset is not None:
        check_preset(preset, known.methods().values())
    reader = known.load_dataset(dataset)
    folders = reader.subjects(data_root)
    if subject is not None and subject not in folders:
        raise DataError(did_you_mean("subject", subject, folders))
    person = reader.read(folders[subject or next(iter(folders))], {})
    wanted = list(known.methods()) if methods.lower() == "all" else split_names(methods)
    if not wanted:
        raise BenchError("--methods names nothing.", help="bench list methods")
    rows = []
    for name in wanted:
        spec = known.method(name)
        kind = known.load_method(spec.name)
        if not issubclass(kind, Avatar):
            continue
        chosen = preset if preset is not None and preset in spec.presets else spec.default_preset
        own = [s for s in map(parse_setting, settings) if s.owner.lower() == spec.name.lower()]
        config = apply_settings(kind, preset_values(spec, chosen), own)
        found = measure_step_cost(
            spec.name,
            kind,
            config,
            person,
            Execution(device=device, rasterizer=rasterizer, record=record),
            warmup,
            steps,
        )
        rows.append({"method": spec.name, "preset": chosen, **dataclasses.asdict(found)})
        say(_line(rows[-1]))
        if found.kernels is not None:
            say(_kernel_line(found.kernels))
    if target is not None:
        write_json(target, json.loads(json.dumps(rows)))


def _kernel_line(count: KernelCount) -> str:
    longest = ", ".join(f"{name[:60]} {milliseconds:.3f}" for name, milliseconds in count.longest[:5])
    return (
        f"  {count.kernels:.0f} kernels per step, {count.short:.0%} of them below 3 µs; busy {count.busy_ms:.2f} ms, "
        f"floor (those of 3 µs and more) {count.floor_ms:.2f} ms; longest, ms: {longest}"
    )


def _line(row: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {row['parts'][name]:.2f}" for name in _ORDER if name in row["parts"])
    how = "two graphs" if row["replayed"] else "recorded" if row["recorded"] else "plain"
    rates = f"{row['rate']:.1f} it/s, {row['rate'] * row['images']:,.1f} images/s"
    return (
        f"{row['method']} ({row['preset']}, {how}): {rates}, {row['gaussians']:,} Gaussians, "
        f"{row['peak_memory_bytes'] / 2**20:,.0f} MiB peak, {row['device']}; ms: {parts}"
    )
