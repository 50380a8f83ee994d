"""Words by which a library's error text is recognised in a message."""

from __future__ import annotations

import re

__all__ = ["FOREIGN"]

FOREIGN = re.compile(
    r"allow_pickle|weights_only|torch\.load|Traceback|codec|<_io|object is not|NoneType|Errno|zipfile|BadZip|"
    r"could not convert|invalid literal|inhomogeneous|Expecting|JSONDecode|unpickl|magic number|cannot identify|"
    r"PytorchStreamReader|UnicodeDecode|Error opening|InvalidData|avcodec|moov atom",
    re.IGNORECASE,
)
"""Words of Python, numpy, torch, PIL, zipfile and FFmpeg, which say nothing to the owner of data."""
