"""Stage ``edit``: a stack of edits of a baked avatar's maps."""

from headbench.stages.edit.canvas import Canvas
from headbench.stages.edit.paint import apply, check
from headbench.stages.edit.stack import NAME, Stack, read_stack
from headbench.stages.edit.stage import EditConfig, EditStage, canvas_of

__all__ = ["NAME", "Canvas", "EditConfig", "EditStage", "Stack", "apply", "canvas_of", "check", "read_stack"]
