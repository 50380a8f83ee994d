"""Building of torch's tensors and parameters from pickles, in all the ways that torch has written them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headbench.harness.arrays import values_in
from headbench.harness.assets.pickles.records import Made, Name, Pairs, Refused
from headbench.harness.assets.pickles.storages import KINDS, STORAGES, Storage, View, view_of
from headbench.harness.assets.pickles.walk import Names, Walk

__all__ = ["tensor_names"]

_TENSORS = tuple(Name("torch._utils", f"_rebuild_tensor{version}") for version in ("", "_v2", "_v3"))
_PARAMETERS = tuple(Name("torch._utils", f"_rebuild_parameter{version}") for version in ("", "_with_state"))
_TYPED_TENSOR = Name("torch._tensor", "_rebuild_from_type_v2")
_CLASSES = (Name("torch", "Tensor"), Name("torch.nn.parameter", "Parameter"))
_KIND_NAMES = tuple(Name("torch", kind) for kind in KINDS)


def tensor_names(find: Callable[[Walk, Any], Storage], finish: Callable[[View], Any]) -> Names:
    """Return torch's names that may occur in a file, with the functions that build their values.

    Args:
        find: returns the storage that a record names.
        finish: makes the value of a checked view: `as_array` or `as_tensor`.
    """

    def tensor(walk: Walk, made: Made) -> Any:
        """Build a tensor from its storage, offset, shape and strides."""
        storage, *rest = made.arguments or (None,)
        version = made.of.name[-3:]
        if version == "_v3":
            kind = _kind_named(rest.pop(5) if len(rest) > 5 else None)
            if len(rest) not in (5, 6):
                raise Refused(f"that calls {made.of} in a way that is not read")
        elif len(rest) not in ((5, 6) if version == "_v2" else (3,)):
            raise Refused(f"that calls {made.of} in a way that is not read")
        else:
            kind = ""
        if len(rest) == 6 and rest[5] is not None and not (isinstance(rest[5], Pairs) and not rest[5].pairs):
            raise Refused("with a tensor that is stored conjugated or negated")
        view = view_of(find(walk, storage), kind, *map(walk.plain, rest[:3]))
        walk.count(view.numbers.itemsize * values_in(view.shape))
        return finish(view)

    def parameter(walk: Walk, made: Made) -> Any:
        """Build the tensor of a parameter; its gradient flag, hooks and attributes are left out."""
        data = made.arguments[0] if len(made.arguments) in (3, 4) else None
        if not isinstance(data, Made) or data.of not in (*_TENSORS, *_PARAMETERS, _TYPED_TENSOR):
            raise Refused(f"that calls {made.of} in a way that is not read")
        return walk.plain(data)

    def with_type(walk: Walk, made: Made) -> Any:
        """Build a tensor or parameter with attributes, which are left out."""
        function, cls, arguments, *_ = made.arguments if len(made.arguments) == 4 else (None,) * 3
        if function not in _TENSORS or cls not in _CLASSES or not isinstance(arguments, tuple):
            raise Refused(f"that calls {made.of} in a way that is not read")
        return walk.plain(Made(function, arguments))

    return {
        **dict.fromkeys(_TENSORS, tensor),
        **dict.fromkeys(_PARAMETERS, parameter),
        _TYPED_TENSOR: with_type,
        **dict.fromkeys((*_CLASSES, *STORAGES)),
        **{name: str(name) for name in _KIND_NAMES},
        Name("torch", "Size"): _size,
        Name("torch", "device"): _device,
    }


def _size(walk: Walk, made: Made) -> Any:
    """Build a torch.Size as a tuple."""
    (sides,) = made.arguments if len(made.arguments) == 1 else (None,)
    if not isinstance(sides, tuple):
        raise Refused(f"that calls {made.of} in a way that is not read")
    return walk.plain(sides)


def _device(walk: Walk, made: Made) -> str:
    """Build a torch.device as its name; nothing is put there."""
    return ":".join(str(walk.plain(part)) for part in made.arguments if isinstance(part, str | int))


def _kind_named(record: Any) -> str:
    """Return the data type that a record names."""
    if not isinstance(record, Name) or record not in _KIND_NAMES:
        raise Refused("with a tensor of a kind that is not read")
    return record.name
