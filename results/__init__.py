"""Results of a run as data: what its files hold, tidy tables of it, and the statistics of comparisons.

Importing this package imports neither torch nor pandas; `load` imports pandas when it is called.
"""

from headbench.results.changes import Change, Comparison
from headbench.results.load import WRITTEN_AS, Results, changes_frame, load
from headbench.results.marks import Mark, marks_of
from headbench.results.pairs import compare_runs
from headbench.results.published import Published, published
from headbench.results.read import Entry, Place, Result, Run, read_run
from headbench.results.schema import SCHEMA
from headbench.results.scored import rerun, rescore

__all__ = [
    "SCHEMA",
    "WRITTEN_AS",
    "Published",
    "published",
    "Change",
    "Comparison",
    "Entry",
    "Mark",
    "Place",
    "Result",
    "Results",
    "Run",
    "changes_frame",
    "compare_runs",
    "load",
    "marks_of",
    "read_run",
    "rerun",
    "rescore",
]
