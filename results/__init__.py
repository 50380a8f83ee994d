"""Results of a run as data: what its files hold, tidy tables of it, and the statistics of comparisons.

Importing this package imports neither torch nor pandas; `load` imports pandas when it is called.
"""

from headbench.results.read import Result, Run, read_run
from headbench.results.scored import rerun, rescore

__all__ = ["Result", "Run", "read_run", "rerun", "rescore"]
