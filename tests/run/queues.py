"""A distribution with an executor whose program nobody has."""

from headbench.harness.plugins import ExecutorSpec, hookimpl


@hookimpl
def register_executors(register):
    register(ExecutorSpec("far", "headbench_reverse.executor:Reverse", needs=frozenset({"a-queue-that-is-not-there"})))
