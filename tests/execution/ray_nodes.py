"""Program that holds a Ray cluster of two node processes on loopback until its standard input ends.

Its argument is a folder with a short name. It prints the cluster's address; ``kill`` on standard input kills the node
that is not the head, ``add`` starts another one, ``jobs`` prints how many drivers there have been.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def main() -> None:
    os.environ["RAY_TMPDIR"] = sys.argv[1]
    # A node that was killed is found out in 2 s, not in 20.
    os.environ |= {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4"}
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    one: dict[str, Any] = {
        "node_ip_address": "127.0.0.1", "num_cpus": 1, "num_gpus": 0, "include_dashboard": False,
        "object_store_memory": 80 * 2**20, "memory": 2 * 10**9,
    }  # fmt: skip
    cluster.add_node(**one)
    other = cluster.add_node(**one)
    print(cluster.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(other, allow_graceful=False)
        elif line.strip() == "add":
            other = cluster.add_node(**one)
        print(len(cluster.global_state.job_table()), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
