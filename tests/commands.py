"""Many command lines of `bench` in one process of their own: each as a user's, without an import of Python each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_MARK = b"\n--- end of a command line %d\n"
_LOOP = """
import json, os, sys, traceback
from headbench.harness.cli.main import main
for line in json.loads(sys.argv[1]):
    sys.argv, code = ["bench", *line], 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    for stream, value in ((1, ("torch" in sys.modules) + 2 * ("pandas" in sys.modules)), (2, code)):
        os.write(stream, b"\\n--- end of a command line %d\\n" % value)
"""


@dataclass(frozen=True)
class Printed:
    """What a command line printed on the streams of its process."""

    code: int
    out: bytes
    err: bytes
    torch: bool
    """Whether torch had been imported by then."""
    pandas: bool
    """Whether pandas had."""

    @property
    def text(self) -> str:
        """Both streams."""
        return (self.out + self.err).decode("utf-8", "backslashreplace")


def many(lines: Sequence[Sequence[object]], **environment: str) -> list[Printed]:
    """Run command lines one after another in one process with real streams.

    Args:
        lines: of each what follows `bench`.
        environment: added to this process's.
    """
    command = [sys.executable, "-P", "-c", _LOOP, json.dumps([list(map(str, line)) for line in lines])]
    done = subprocess.run(command, capture_output=True, env=os.environ | environment, check=False)
    assert done.returncode == 0, done.stderr
    outs, errs = _parts(done.stdout), _parts(done.stderr)
    assert len(outs) == len(errs) == len(lines), done
    pairs = zip(outs, errs, strict=True)
    return [Printed(code, out, err, bool(found & 1), bool(found & 2)) for (out, found), (err, code) in pairs]


def _parts(stream: bytes) -> list[tuple[bytes, int]]:
    """What each command line wrote, and the number after it."""
    begin, _, end = _MARK.partition(b"%d")
    found = []
    *parts, rest = stream.split(begin)
    for before, after in zip(parts, [*parts[1:], rest], strict=True):
        found.append((before, int(after.partition(end)[0])))
    return [(text if k == 0 else text.partition(end)[2], code) for k, (text, code) in enumerate(found)]
