"""Building of plain containers from pickles: sets, bytes, complex numbers and ordered dictionaries."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from headbench.harness.assets.pickles.records import Group, Made, Name, Refused
from headbench.harness.assets.pickles.walk import Names, Walk

__all__ = ["CONTAINERS"]


def _ordered(walk: Walk, made: Made) -> OrderedDict[Any, Any]:
    """Build an ordered dictionary, whose pairs Python 2 gives as lists; attributes such as `_metadata` are left out."""
    (given,) = made.arguments or ([],)
    if not isinstance(given, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in given):
        raise _strange(made)
    return OrderedDict(walk.pairs([*((pair[0], pair[1]) for pair in given), *made.pairs]))


def _set(walk: Walk, made: Made) -> Any:
    """Build a set or frozen set."""
    (items,) = made.arguments or ([],)
    if not isinstance(items, list | tuple):
        raise _strange(made)
    return walk.plain(Group(list(items), made.of.name == "frozenset"))


def _encoded(walk: Walk, made: Made) -> bytes:
    """Build bytes, which protocols below 3 write as text to be encoded in latin-1."""
    text, *encoding = made.arguments
    if not isinstance(text, str) or encoding not in (["latin1"], ["latin-1"]):
        raise _strange(made)
    walk.count(len(text))
    return text.encode("latin-1")


def _bytes(walk: Walk, made: Made) -> bytes:
    """Build empty bytes, which protocols below 3 write as a call without arguments."""
    if made.arguments:
        raise _strange(made)
    return b""


def _bytearray(walk: Walk, made: Made) -> bytearray:
    """Build a bytearray from bytes or latin-1 text; a number, which would make as many zeros, is refused."""
    content, *encoding = made.arguments or (b"",)
    if isinstance(content, str) and encoding in (["latin1"], ["latin-1"]):
        content = content.encode("latin-1")
    elif encoding or isinstance(content, int | str):
        raise _strange(made)
    value = bytearray(walk.raw(content))
    walk.count(len(value))
    return value


def _complex(walk: Walk, made: Made) -> complex:
    """Build a complex number from its two parts."""
    parts = made.arguments
    if len(parts) != 2 or not all(isinstance(part, float) for part in parts):
        raise _strange(made)
    return complex(*parts)


def _rebuilt(walk: Walk, made: Made) -> Any:
    """Build an object as protocols below 2 store it: by its class, the class' base and the base's state."""
    cls, base, state = made.arguments if len(made.arguments) == 3 else (None, None, None)
    if not isinstance(cls, Name) or base not in _BASES or state is not None:
        raise _strange(made)
    instance = Made(cls)
    instance.states, instance.pairs = made.states, made.pairs
    return walk.plain(instance)


def _strange(made: Made) -> Refused:
    """Return the refusal of a call with arguments that are not read."""
    return Refused(f"that calls {made.of} in a way that is not read")


_BASES = tuple(Name(module, "object") for module in ("builtins", "__builtin__"))
_MODULES = ("builtins", "__builtin__")
CONTAINERS: Names = {
    Name("collections", "OrderedDict"): _ordered,
    Name("_codecs", "encode"): _encoded,
    **dict.fromkeys(_BASES),
    **{Name(module, "_reconstructor"): _rebuilt for module in ("copyreg", "copy_reg")},
    **{Name(module, name): _set for module in _MODULES for name in ("set", "frozenset")},
    **{Name(module, "bytes"): _bytes for module in _MODULES},
    **{Name(module, "bytearray"): _bytearray for module in _MODULES},
    **{Name(module, "complex"): _complex for module in _MODULES},
}
