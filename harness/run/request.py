"""Request to `bench run`: what to train and score, from the command line or a YAML file."""

from __future__ import annotations

import math
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from headbench.harness.errors import BenchError
from headbench.harness.reading import parse_yaml, read_text
from headbench.harness.run.asked import NONE, asked_subjects, split_datasets, split_names
from headbench.harness.run.budget import budget_of
from headbench.harness.validation import validate

__all__ = ["RunRequest", "read_request", "request_values", "seconds", "size_in_bytes", "whole_path", "write_request"]


LONGEST_LABEL = 64
_LABEL = re.compile(rf"[A-Za-z0-9_+][A-Za-z0-9_.+]{{0,{LONGEST_LABEL - 1}}}")
_MORE = {"s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def seconds(value: Any) -> Any:
    """Convert a time such as 90, 90s, 30m or 2h to seconds; what is neither a number nor a text stays.

    Raises:
        ValueError: `value` is no time, or not positive and finite.
    """
    if isinstance(value, str):
        factor = _MORE.get(value[-1:], 0.0)
        try:
            value = float(value[:-1]) * factor if factor else float(value)
        except ValueError:
            raise ValueError(f"{value!r} is no time; write 90, 90s, 30m or 2h") from None
    if isinstance(value, int | float) and not 0 < value < math.inf:
        raise ValueError(f"expected a time of more than 0 s, found {value:g} s")
    return value


def size_in_bytes(value: Any) -> Any:
    """Convert a size such as 16GB, 500MB or a number to bytes; what is neither a number nor a text stays.

    Raises:
        ValueError: `value` is no size, or below 1 byte or 2^63 bytes and more.
    """
    if isinstance(value, str):
        found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(B|kB|MB|GB|TB)?\s*", value)
        if found is None:
            raise ValueError(f"{value!r} is no size; write 16GB, 500MB or a number of bytes")
        value = round(float(found[1]) * _BYTES[found[2] or "B"])
    if isinstance(value, bool) or (isinstance(value, int | float) and not 1 <= value < 2**63):
        raise ValueError(f"expected a size of at least 1 byte, found {value}")
    return value


def _named(names: list[Any]) -> list[Any]:
    if not names:
        raise ValueError("expected at least one name")
    return names


def _once(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


Names = Annotated[list[str], BeforeValidator(split_names), AfterValidator(_named), AfterValidator(_once)]
"""List of at least one name; a name that is asked for twice counts once."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class RunRequest(BaseModel):
    """Request of what to train and score; a YAML file for `bench run FILE.yaml` has these keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    methods: Names = ["all"]
    """Names of methods, or all for the registered ones (baselines included)."""
    datasets: Annotated[list[str], BeforeValidator(split_datasets), AfterValidator(_named), AfterValidator(_once)] = [
        "all"
    ]
    """Datasets, NAME or NAME[subject,subject]; in subjects * and ? match, and a backslash before , [ ] * ? makes it
    part of a name."""
    data_root: Path
    """Folder that holds <dataset>/<subject>; or a dataset's own folder, or one subject's."""
    preset: Names = ["official"]
    seeds: Annotated[list[Seed], BeforeValidator(split_names), AfterValidator(_named)] = [0]
    """Seeds of the trainings, all different."""
    settings: list[str] = Field(default=[], alias="set")
    """Changed options: METHOD.OPTION=VALUE, DATASET.OPTION=VALUE or STAGE.OPTION=VALUE."""
    stages: Names = ["train"]
    """Stage instances to render and score, such as train and train/bake:decoder; their parents are made, too."""
    label: str = ""
    """Name of the variant; empty: a hash of the settings names it."""
    protocol: Names = ["headbench@1"]
    """Protocols, each NAME@VERSION or the path of its file; none alone renders and scores nothing."""
    device: str = "auto"
    rasterizer: str = "auto"
    limit: int | None = Field(default=None, ge=1)
    """Maximum number of training frames, and of test frames, per subject, for a quick look; None: all."""
    out: Path | None = None
    timeout: Annotated[float | None, BeforeValidator(seconds)] = None
    """Seconds that a cell may take; or 90s, 30m, 2h; None: any time."""
    memory: Annotated[int | None, BeforeValidator(size_in_bytes)] = None
    """Bytes of host memory that a cell needs; or 500MB, 16GB. An executor may reserve it; no cell is limited to it."""
    fail_on_error: int | None = Field(default=None, ge=1)
    """Number of failed cells after which no other begins; None: all cells are tried."""
    checkpoint_every: int | None = Field(default=None, ge=1)
    """Training steps between checkpoints; a kill loses at most that many. None: 1,000, and more where writing them
    would take over 2 % of the time."""
    threads: int | None = Field(default=None, ge=1, le=4096)
    """CPU threads per cell; None: as many as the machine gives where the run is planned, shared by its workers."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """Number of cells that run at once."""
    gpus: Annotated[list[Annotated[int, Field(ge=0)]] | None, BeforeValidator(split_names)] = None
    """Indices of the GPUs to use, one cell on each at a time."""
    executor: str = "local"
    """Name of the executor that runs the cells."""
    executor_set: list[str] = []
    """Options of the executor, each OPTION=VALUE."""
    deterministic: bool = False
    tensorboard: bool = False
    budget: str | None = None
    """What every method may spend on training: 30min, 2h, images=20000 or updates=5000. None: what its preset says."""
    marks: int | None = Field(default=None, ge=1, le=100)
    """Number of equal parts of the budget at whose ends the portrait is scored as well. None: only at the end."""

    @model_validator(mode="after")
    def _marks_of_a_budget(self) -> Self:
        if self.marks is not None and self.budget is None:
            raise ValueError("marks are equal parts of a budget, and none is given: add --budget")
        return self

    @field_validator("budget")
    @classmethod
    def _known_budget(cls, text: str | None) -> str | None:
        if text is not None:
            budget_of(text)
        return text

    @field_validator("datasets")
    @classmethod
    def _known_form(cls, names: list[str]) -> list[str]:
        for name in names:
            asked_subjects(name)
        return names

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            twice = next(seed for seed in seeds if seeds.count(seed) > 1)
            raise ValueError(f"seed {twice} is named twice; a mean over seeds needs different ones")
        return seeds

    @field_validator("label")
    @classmethod
    def _safe_in_a_path(cls, label: str) -> str:
        if label and not _LABEL.fullmatch(label):
            raise ValueError(f"expected at most {LONGEST_LABEL} letters, digits, _, + and dots, no dot first")
        return label

    @field_validator("protocol")
    @classmethod
    def _none_stands_alone(cls, names: list[str]) -> list[str]:
        if NONE in names and len(names) > 1:
            raise ValueError("none scores nothing, so it goes with no other protocol")
        return names

    def protocols(self) -> list[str]:
        """Protocols to score by; empty where the request says none."""
        return [] if self.protocol == [NONE] else list(self.protocol)

    def folder(self) -> Path:
        """Folder of the run: `out`, or runs/<label or preset>, so that the same command finds it again."""
        return self.out if self.out is not None else Path("runs") / (self.label or "-".join(self.preset))


def read_request(source: Path | None, given: dict[str, Any]) -> RunRequest:
    """Request from a YAML file, if any, with what the command line gave on top.

    Args:
        source: YAML file, or the name of one of the built-in requests (configs/runs), such as demo; None: none, the
            command line alone.
        given: keys of RunRequest that were given on the command line.

    Raises:
        BenchError: `source` is no file or holds no mapping, or the request has
            an unknown key (with a suggestion) or a value that does not fit.
    """
    values: dict[str, Any] = {}
    if source is not None:
        text, where = _text(source)
        values = parse_yaml(text, Path(where))
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            found = "keys that are no text" if isinstance(values, dict) else type(values).__name__
            raise BenchError(f"{where} must hold a mapping of options, found {found}.", help="bench run --help")
    else:
        where = "bench run"
    values |= given
    if "data_root" not in values:
        raise BenchError(f"{where}: data_root is missing: where the datasets lie.", help="bench run --data-root FOLDER")
    request: RunRequest = validate(RunRequest, values, where)
    return request


def write_request(request: RunRequest, run: Path) -> None:
    """Write a request as ``run.yaml`` into its run's folder; `bench run RUN/run.yaml` asks for it again.

    Args:
        request: what was asked for.
        run: folder of the run.
    """
    from headbench.harness.files import atomic_path

    values = request_values(request, run)
    with atomic_path(run / "run.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def request_values(request: RunRequest, run: Path) -> dict[str, Any]:
    """Keys and values of a request as ``run.yaml`` has them, with whole paths: they mean the same from any folder.

    Args:
        request: what was asked for.
        run: folder of the run.
    """
    values = request.model_dump(mode="json", by_alias=True, exclude_none=True)
    values["out"], values["data_root"] = str(run.resolve()), str(request.data_root.resolve())
    values["protocol"] = [whole_path(name).replace(",", "\\,") for name in request.protocol]
    return values


def whole_path(protocol: str) -> str:
    """Text of a protocol that means the same in any working folder: the absolute path of a file, or a name."""
    return str(Path(protocol).resolve()) if protocol.endswith(".yaml") else protocol


def _text(source: Path) -> tuple[str, str]:
    """Text of a request's file, or of the built-in request of that name, and what messages call it."""
    if source.exists() or source.is_symlink():
        return read_text(source), str(source)
    stem = source.name.removesuffix(".yaml")
    folder = resources.files("headbench.configs").joinpath("runs")
    known = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir()) if folder.is_dir() else []
    if stem in known and len(source.parts) == 1:
        with resources.as_file(folder.joinpath(f"{stem}.yaml")) as path:
            return read_text(path), path.name
    if source.exists() or source.is_symlink():
        return read_text(source), str(source)  # says what it is instead of a file
    raise BenchError(f"{source} is no file, and no request of that name is built in ({', '.join(known) or 'none'}).")
