"""Program that holds a Ray cluster of two node processes on loopback until its standard input ends.

Its argument is a folder with a short name. It prints the cluster's address; ``kill`` on standard input kills the node
that is not the head, ``add`` starts another one, ``jobs`` prints how many drivers there have been.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

_NODE: dict[str, Any] = {
    "node_ip_address": "127.0.0.1", "num_cpus": 1, "num_gpus": 0, "include_dashboard": False,
    "object_store_memory": 80 * 2**20, "memory": 2 * 10**9,
}  # fmt: skip


def _patiently(start: Callable[[], Any]) -> Any:
    """Result of a call, made up to three times: on a busy machine a node needs longer than Ray's own 30 s."""
    for _ in range(2):
        try:
            return start()
        except Exception as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
    return start()


def _started() -> tuple[Any, Any]:
    """A cluster, and its node that is not the head."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        cluster.add_node(**_NODE)
        return cluster, cluster.add_node(**_NODE)
    except BaseException:
        cluster.shutdown()
        raise


def main() -> None:
    os.environ["RAY_TMPDIR"] = sys.argv[1]
    # A node that was killed is found out in 2 s, not in 20.
    os.environ |= {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4"}
    cluster, other = _patiently(_started)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(other, allow_graceful=False)
        elif line.strip() == "add":
            other = _patiently(lambda: cluster.add_node(**_NODE))
        print(len(cluster.global_state.job_table()), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
