"""What a person asks of `bench run`, on the command line or in a YAML file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from headbench.harness.errors import BenchError
from headbench.harness.reading import parse_yaml, read_text
from headbench.harness.run.config import validate

__all__ = ["RunRequest", "read_request", "split_names", "write_request"]


def split_names(value: Any) -> Any:
    """``a,b[c,d]`` as ["a", "b[c,d]"]; lists stay, their members are split too."""
    if isinstance(value, str):
        parts, depth = [""], 0
        for letter in value:
            depth += {"[": 1, "]": -1}.get(letter, 0)
            if letter == "," and depth == 0:
                parts.append("")
            else:
                parts[-1] += letter
        return [part.strip() for part in parts if part.strip()]
    if isinstance(value, list | tuple):
        return [name for part in value for name in (split_names(part) if isinstance(part, str) else [part])]
    return [value]


Names = Annotated[list[str], BeforeValidator(split_names)]


class RunRequest(BaseModel):
    """What to train and score. A YAML file for `bench run FILE.yaml` has these keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    methods: Names = Field(default=["all"], min_length=1)
    """Names, or all registered ones (baselines included)."""
    datasets: Names = Field(default=["all"], min_length=1)
    """NAME or NAME[subject,subject]; * and ? match in subjects."""
    data_root: Path
    """Holds <dataset>/<subject>; or a dataset's own folder, or one subject's."""
    preset: Names = Field(default=["official"], min_length=1)
    seeds: Annotated[list[int], BeforeValidator(split_names)] = Field(default=[0], min_length=1)
    settings: list[str] = Field(default=[], alias="set")
    """METHOD.OPTION=VALUE or DATASET.OPTION=VALUE."""
    label: str = Field(default="", pattern=r"^[A-Za-z0-9_.+]*$")
    """Names the variant; without it a hash of what was set does."""
    protocol: Names = Field(default=["headbench@1"], min_length=1)
    device: str = "auto"
    rasterizer: str = "auto"
    limit: int | None = Field(default=None, ge=1)
    """At most so many training frames and so many test frames a subject, for a quick look."""
    out: Path | None = None
    timeout: float | None = Field(default=None, gt=0)
    """Seconds a cell may take."""
    fail_on_error: int | None = Field(default=None, ge=1)
    """Stop after so many failed cells."""
    checkpoint_every: int | None = Field(default=None, ge=1)
    """Training steps between checkpoints; a kill loses at most so many. None: 1,000, and more where writing them would
    take over 2 % of the time."""
    deterministic: bool = False
    tensorboard: bool = False

    def folder(self) -> Path:
        """Where the run lies: `out`, or runs/<label or preset>, so that the same command finds it again."""
        return self.out if self.out is not None else Path("runs") / (self.label or "-".join(self.preset))


def read_request(source: Path | None, given: dict[str, Any]) -> RunRequest:
    """The request of a YAML file with what the command line gave on top.

    Args:
        source: a file, or the name of one of the built-in requests (configs/runs), such as demo.
        given: keys of RunRequest that were given on the command line.

    Raises:
        BenchError: no file, no mapping, an unknown key (with a suggestion) or a value that does not fit.
    """
    values: dict[str, Any] = {}
    if source is not None:
        text, where = _text(source)
        values = parse_yaml(text, Path(where))
        if not isinstance(values, dict):
            raise BenchError(f"{where} must hold a mapping, found {type(values).__name__}.", help="bench run --help")
    else:
        where = "bench run"
    values |= given
    if "data_root" not in values:
        raise BenchError(
            f"{where}: data_root is missing: where the datasets lie.", help="bench run --data-root FOLDER …"
        )
    request: RunRequest = validate(RunRequest, values, where)
    return request


def write_request(request: RunRequest, run: Path) -> None:
    """Keep what was asked as ``run.yaml``; `bench run RUN/run.yaml` asks for it again."""
    from headbench.harness.files import atomic_path

    values = request.model_dump(mode="json", by_alias=True, exclude_none=True)
    values["out"], values["data_root"] = str(run), str(request.data_root)
    with atomic_path(run / "run.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _text(source: Path) -> tuple[str, str]:
    if source.is_file():
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
