"""Options of dataset readers: what the command line and run files give, checked against what a reader knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from headbench.harness.errors import DataError, did_you_mean
from headbench.harness.validation import faults

__all__ = ["Listed", "ReaderOptions"]


def _joined(value: Any) -> str:
    """Make one text of a value: the items of a list with commas between, or the value itself."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


Listed = Annotated[str, BeforeValidator(_joined)]
"""A text of names separated by commas; a list or a number of YAML becomes one."""


class ReaderOptions(BaseModel):
    """Base class of every reader's options: each field has a default and a description, which is its help."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def help(cls) -> dict[str, str]:
        """Option -> its description, for lists of options."""
        return {name: field.description or "" for name, field in cls.model_fields.items()}

    @classmethod
    def parse(cls, options: Mapping[str, object], dataset: str) -> Self:
        """Make checked options from what a user gave.

        Args:
            options: option -> value.
            dataset: the dataset's name, for messages.

        Raises:
            DataError: an unknown option or value, with close matches.
        """
        unknown = next((name for name in options if name not in cls.model_fields), None)
        if unknown is not None:
            raise DataError(did_you_mean(f"option of the {dataset} reader", unknown, cls.model_fields))
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            raise DataError(cls._explanation(error, dataset)) from error

    @classmethod
    def _explanation(cls, error: ValidationError, dataset: str) -> str:
        """One sentence that says what is wrong with a value, for the user."""
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        choices = cls.choices().get(name)
        if choices:
            return did_you_mean(f"value of the {dataset} option {name}:", str(first["input"]), choices)
        return f"options of the {dataset} reader: " + "; ".join(faults(error, cls))

    @classmethod
    def choices(cls) -> dict[str, tuple[str, ...]]:
        """Option -> its values, for the options that take one of a few texts."""
        kinds = {name: field.annotation for name, field in cls.model_fields.items()}
        found = {name: getattr(kind, "__args__", ()) for name, kind in kinds.items()}
        return {name: args for name, args in found.items() if args and all(isinstance(a, str) for a in args)}
