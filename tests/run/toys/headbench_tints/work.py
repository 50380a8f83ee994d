"""The metric and the executor."""

from headbench.harness.execution import Executor, worker_command
from headbench.harness.run.child import Child, end_all
from headbench.metrics import Metric


class Redness(Metric):
    def frame(self, render, truth):
        return 100 * render[:, 0].mean(dim=(1, 2))


class Backwards(Executor):
    slots = 1000

    def __init__(self, options):
        super().__init__(options)
        self.queue, self.children = [], {}

    def submit(self, cells):
        self.queue += [folder for folder, _ in cells]
        return [{"folder": str(folder)} for folder, _ in cells]

    def attach(self, handle):
        return False

    def poll(self, handles):
        ends = {name: child.poll() for name, child in self.children.items()}
        if self.queue and None not in ends.values():
            folder = self.queue.pop()
            self.children[str(folder)] = Child(worker_command(folder), folder)
        return [ends.get(handle["folder"]) for handle in handles]

    def cancel(self, handles):
        self.queue.clear()
        end_all(list(self.children.values()))
