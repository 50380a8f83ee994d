"""What `bench data check` does beyond a reader's own checks: it looks whether the tracked head lies on the images."""

from headbench.inspection.examine import Examination, examine
from headbench.inspection.fixes import fix_lines
from headbench.inspection.sheet import draw_sheet
from headbench.inspection.summary import summary_lines

__all__ = ["Examination", "draw_sheet", "examine", "fix_lines", "summary_lines"]
