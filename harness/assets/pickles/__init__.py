"""Reading of foreign pickles without running anything that they name.

A pickle is a program. Here its operations are noted down as records of names, calls and states (`machine`), without
making or touching an object of numpy, scipy, chumpy or torch. Afterwards plain values are made of the records (`walk`),
each by what its name stands for (`containers`, `numbers`, `matrices`, `chumpies`, `tensors`), once sizes, kinds and
bounds have been checked. Neither chumpy nor an old scipy is needed.
"""

from __future__ import annotations

from headbench.harness.assets.pickles.files import GROUPS, restricted_load, restricted_npy, torch_load

__all__ = ["GROUPS", "restricted_load", "restricted_npy", "torch_load"]
