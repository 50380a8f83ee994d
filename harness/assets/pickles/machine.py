"""Stack machine of pickles that records the objects which a pickle asks for instead of making them.

Every protocol from 0 to 5 is understood. Names are compared with a list; a call becomes a `Made`, its states and items
are kept beside it. No object of numpy, scipy or torch exists here, so that none can be changed or called.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from headbench.harness.assets.pickles.opcodes import Stream
from headbench.harness.assets.pickles.records import Group, Made, Name, Pairs, Persistent, Refused

__all__ = ["Machine"]

OPERATIONS = 2_000_000
"""Limit of the operations of a pickle; FLAME's models have some 200, trackers' frames as many."""
_PROTOCOL = 5
"""Highest protocol of pickles that is read."""


class Machine:
    """Interpreter of one pickle that makes records, not objects.

    Args:
        stream: bytes of the pickle; the cursor is behind it afterwards.
        known: names that may occur.
        refuse: makes the error for a name that is not known.
    """

    def __init__(self, stream: Stream, known: Container[Name], refuse: Callable[[Name], Refused]) -> None:
        self._stream = stream
        self._known = known
        self._refuse = refuse
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self.persistent: list[Persistent] = []
        """References to things outside the pickle, in its order."""

    def run(self) -> Any:
        """Interpret the pickle and return its value in records.

        Raises:
            Refused: the pickle is damaged, too long, holds a name that is not known or an operation that is not read.
        """
        operation, actions = self._stream.operation, _ACTIONS
        for _ in range(OPERATIONS):
            code, argument = operation()
            if code == _STOP:
                if self._below or len(self._stack) != 1:
                    raise Refused("that is damaged: it does not end with one value")
                return self._stack[0]
            action = actions.get(code)
            if action is None:
                raise Refused(f"that is damaged or none at all: {bytes([code])!r} is no operation that is read")
            action(self, argument)
        raise Refused(f"of more than {OPERATIONS:,} operations")

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Remove and return the topmost value of the stack.

        Raises:
            Refused: the stack is empty.
        """
        if not self._stack:
            raise Refused("that is damaged: it uses a value that is not there")
        return self._stack.pop()

    def top(self) -> Any:
        """Return the topmost value of the stack, which stays."""
        self.push(value := self.pop())
        return value

    def mark(self) -> None:
        """Begin a group of values on the stack."""
        self._below.append(self._stack)
        self._stack = []

    def group(self) -> list[Any]:
        """Remove and return the values of the stack since the last mark.

        Raises:
            Refused: there is no mark.
        """
        if not self._below:
            raise Refused("that is damaged: it ends a group that it did not begin")
        values = self._stack
        self._stack = self._below.pop()
        return values

    def keep(self, index: int | None) -> None:
        """Remember the topmost value of the stack under a number, by default the next one."""
        self._memo[len(self._memo) if index is None else index] = self.top()

    def recall(self, index: int) -> None:
        """Put the value that is remembered under a number on the stack."""
        if index not in self._memo:
            raise Refused("that is damaged: it recalls a value that it did not keep")
        self.push(self._memo[index])

    def name(self, module: Any, name: Any) -> Name:
        """Return a class or function that the pickle names.

        Raises:
            Refused: module or name is no text, or they are not known.
        """
        if not isinstance(module, str) or not isinstance(name, str):
            raise Refused("that is damaged: a name in it is no text")
        named = Name(module, name)
        if named not in self._known:
            raise self._refuse(named)
        return named

    def make(self, of: Any, arguments: Any) -> None:
        """Put the record of a call of `of` with `arguments` on the stack."""
        if not isinstance(of, Name) or not isinstance(arguments, tuple):
            raise Refused("that calls what is no function")
        self.push(Made(of, arguments))

    def outside(self, id: Any) -> None:
        """Put a reference to something outside the pickle on the stack."""
        self.persistent.append(Persistent(id))
        self.push(self.persistent[-1])


def _protocol(machine: Machine, number: int) -> None:
    """Check the number of the protocol."""
    if number > _PROTOCOL:
        raise Refused(f"of protocol {number}; up to {_PROTOCOL} are read")


def _stack_name(machine: Machine, _: Any) -> None:
    """Replace module and name on the stack by the name that they give."""
    name, module = machine.pop(), machine.pop()
    machine.push(machine.name(module, name))


def _tuple(count: int) -> Callable[[Machine, Any], None]:
    """Return the action that replaces the topmost `count` values by a tuple of them."""

    def action(machine: Machine, _: Any) -> None:
        machine.push(tuple(reversed([machine.pop() for _ in range(count)])))

    return action


def _reduce(machine: Machine, _: Any) -> None:
    """Replace a name and a tuple of arguments on the stack by the record of a call."""
    arguments, of = machine.pop(), machine.pop()
    machine.make(of, arguments)


def _new_with_keywords(machine: Machine, _: Any) -> None:
    """Record a call with keywords, of which there must be none."""
    keywords = machine.pop()
    if not isinstance(keywords, Pairs) or keywords.pairs:
        raise Refused("that calls something with keywords")
    _reduce(machine, None)


def _object(machine: Machine, _: Any) -> None:
    """Replace the group of a name and its arguments by the record of a call."""
    values = machine.group()
    machine.make(values[0] if values else None, tuple(values[1:]))


def _state(machine: Machine, _: Any) -> None:
    """Add the topmost value to the states of the call below it."""
    state, made = machine.pop(), machine.top()
    if not isinstance(made, Made):
        raise Refused("that changes what it did not make")
    made.states.append(state)


def _add_items(machine: Machine, items: list[Any]) -> None:
    """Append items to the topmost list."""
    target = machine.top()
    if not isinstance(target, list):
        raise Refused("that appends to what is no list")
    target += items


def _add_pairs(machine: Machine, values: list[Any]) -> None:
    """Add keys and values, in turn, to the topmost dictionary or call."""
    target = machine.top()
    if not isinstance(target, Pairs | Made) or len(values) % 2:
        raise Refused("that sets keys of what is no dictionary")
    target.pairs += zip(values[::2], values[1::2], strict=True)


def _add_members(machine: Machine, items: list[Any]) -> None:
    """Add items to the topmost set."""
    target = machine.top()
    if not isinstance(target, Group) or target.frozen:
        raise Refused("that adds to what is no set")
    target.items += items


def _one(machine: Machine, _: Any) -> None:
    """Append the topmost value to the list below it."""
    item = machine.pop()
    _add_items(machine, [item])


def _one_pair(machine: Machine, _: Any) -> None:
    """Add the topmost key and value to the dictionary below them."""
    value, key = machine.pop(), machine.pop()
    _add_pairs(machine, [key, value])


def _dictionary(machine: Machine, values: list[Any]) -> None:
    """Put a dictionary of keys and values, given in turn, on the stack."""
    machine.push(Pairs())
    _add_pairs(machine, values)


_STOP = ord(".")
"""Operation that ends a pickle."""
_Action = Callable[[Machine, Any], object]
"""Function that an operation performs, given its argument."""
_ACTIONS: dict[int, _Action] = {
    **dict.fromkeys((*b"IJKMLFGSTUVXCB", 0x8A, 0x8B, 0x8C, 0x8D, 0x8E), Machine.push),
    0x80: _protocol,
    0x95: lambda m, _: None,
    ord("N"): lambda m, _: m.push(None),
    0x88: lambda m, _: m.push(True),
    0x89: lambda m, _: m.push(False),
    ord("("): lambda m, _: m.mark(),
    ord("0"): lambda m, _: m.pop() if m._stack else m.group(),
    ord("1"): lambda m, _: m.group(),
    ord("2"): lambda m, _: m.push(m.top()),
    **dict.fromkeys(b"pqr", Machine.keep),
    0x94: Machine.keep,
    **dict.fromkeys(b"ghj", Machine.recall),
    ord("]"): lambda m, _: m.push([]),
    ord("l"): lambda m, _: m.push(m.group()),
    ord("a"): _one,
    ord("e"): lambda m, _: _add_items(m, m.group()),
    ord(")"): lambda m, _: m.push(()),
    ord("t"): lambda m, _: m.push(tuple(m.group())),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    ord("}"): lambda m, _: m.push(Pairs()),
    ord("d"): lambda m, _: _dictionary(m, m.group()),
    ord("s"): _one_pair,
    ord("u"): lambda m, _: _add_pairs(m, m.group()),
    0x8F: lambda m, _: m.push(Group([], False)),
    0x90: lambda m, _: _add_members(m, m.group()),
    0x91: lambda m, _: m.push(Group(m.group(), True)),
    ord("c"): lambda m, names: m.push(m.name(*names)),
    0x93: _stack_name,
    ord("R"): _reduce,
    0x81: _reduce,
    0x92: _new_with_keywords,
    ord("o"): _object,
    ord("i"): lambda m, names: m.make(m.name(*names), tuple(m.group())),
    ord("b"): _state,
    0x96: lambda m, content: m.make(m.name("builtins", "bytearray"), (content,)),
    ord("P"): Machine.outside,
    ord("Q"): lambda m, _: m.outside(m.pop()),
}
