"""Columns of the frames that `load` gives: names, types and units, which stay as they are within a schema version."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["CELLS", "CURVES", "DTYPES", "FRAMES", "SCHEMA", "Field"]

SCHEMA = 1
"""Version of the columns. It grows when a column is renamed, removed, or means something else; not for a new one."""

DTYPES = MappingProxyType(
    {
        "text": "string",
        "number": "float64",
        "count": "Int64",
        "flag": "boolean",
        "moment": "datetime64[ns, UTC]",
    }
)
"""Kind of a column -> its pandas dtype. Missing values are NA (NaN in numbers, NaT in moments)."""


@dataclass(frozen=True)
class Field:
    """One column of a frame."""

    name: str
    kind: str
    """text, number, count, flag or moment."""
    meaning: str
    unit: str = ""


_IDENTITY = (
    Field("run", "text", "name of the run's folder"),
    Field("method", "text", "method"),
    Field("preset", "text", "preset"),
    Field("variant", "text", "label or hash of what `--set` changed; empty for the unchanged preset"),
    Field("stage", "text", "stage instance, such as train or train/bake"),
    Field("dataset", "text", "dataset"),
    Field("subject", "text", "subject"),
    Field("seed", "count", "seed"),
    Field("baseline", "flag", "whether the method is a baseline"),
)
FRAMES = (
    *_IDENTITY,
    Field("protocol", "text", "protocol, name@version"),
    Field("protocol_hash", "text", "SHA-256 of the protocol; values of different hashes do not compare"),
    Field("metric", "text", "metric key, such as psnr or lpips/alex"),
    Field("scope", "text", "frame, or sequence for metrics that have one value per sequence"),
    Field("frame", "text", "frame id, or the sequence's name; what values are paired by"),
    Field("position", "count", "place of the frame in the score file, from 0"),
    Field(
        "value",
        "number",
        "the metric's value; inf where a metric has no limit, NaN where there is none",
        "the metric's",
    ),
    Field("absent", "text", "why there is no value; empty where there is one"),
    Field("better", "text", "higher, lower, or empty where neither is"),
)
"""Columns of `Results.frames`: a row per stage instance of a cell, protocol, metric and frame."""

CELLS = (
    *_IDENTITY,
    Field("cell", "text", "folder of the cell below the run's"),
    Field("state", "text", "done, failed, skipped, …: as `bench status` shows it"),
    Field("reason", "text", "why it is in that state"),
    Field("protocols", "text", "protocols that it is scored by, joined by spaces"),
    Field("notes", "text", "notes that tables show, joined by ` | `"),
    Field("steps", "count", "training steps taken"),
    Field("train_seconds", "number", "time in training steps, over all resumptions", "s"),
    Field("train_rate", "number", "training steps per second", "1/s"),
    Field("fps", "number", "frames per second, rendering one by one", "1/s"),
    Field("drive_ms", "number", "median time of posing a frame; empty where a picture is one replay", "ms"),
    Field("raster_ms", "number", "median time of rasterizing a frame", "ms"),
    Field("gaussians", "count", "Gaussians at the end of training"),
    Field("peak_memory_bytes", "count", "peak memory of the device in training; 0 on a CPU", "bytes"),
    Field("peak_host_memory_bytes", "count", "peak memory of the process that rendered", "bytes"),
    Field("width", "count", "width of the frames that speed was measured on", "pixels"),
    Field("height", "count", "their height", "pixels"),
    Field("device", "text", "device that trained"),
    Field("rasterizer", "text", "rasterizer that trained"),
    Field("attempts", "count", "how often the cell was begun"),
    Field("queued", "moment", "when it was planned", "UTC"),
    Field("started", "moment", "when its work last began", "UTC"),
    Field("finished", "moment", "when it ended", "UTC"),
    Field("config_hash", "text", "SHA-256 of the resolved configuration"),
    Field("data_hash", "text", "SHA-256 over the fingerprints of the data: equal where the data are"),
    Field("data_options", "text", "options of the dataset's reader, as JSON"),
    Field("commit", "text", "commit of the code"),
    Field("dirty", "flag", "whether tracked files of the code differed from the commit"),
    Field("headbench", "text", "version of headbench"),
    Field("torch", "text", "version of torch"),
    Field("processor", "text", "processor"),
    Field("gpus", "text", "names of the machine's GPUs, joined by commas"),
    Field("shared", "flag", "whether others used the device while speed was measured; then that is empty"),
)
"""Columns of `Results.cells`: a row per stage instance of a cell, whatever its state."""

CURVES = (
    *_IDENTITY,
    Field("step", "count", "training step of the log line or checkpoint"),
    Field("images", "number", "images that were drawn until then; NaN where they were not counted, as in log lines"),
    Field("seconds", "number", "time in training steps until then; of log lines by their rates, which is rougher", "s"),
    Field("what", "text", "`loss`, a term of it, `gaussians`; or a metric key, of the checkpoint's renders"),
    Field("value", "number", "its value", "that of `what`"),
    Field("protocol", "text", "protocol of a metric; empty for what training logged"),
    Field("mark", "count", "number of the checkpoint's mark, from 1: the end of that part of the budget"),
)
"""Columns of `Results.curves`: a row per logged step, or scored checkpoint, and value."""
