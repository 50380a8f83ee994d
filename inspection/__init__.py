"""Inspection of a subject by `bench data check`, beyond its reader's checks: does the mesh lie on the head?"""

from headbench.inspection.examine import Examination, examine
from headbench.inspection.fixes import fix_lines
from headbench.inspection.sheet import draw_sheet
from headbench.inspection.summary import summary_lines

__all__ = ["Examination", "draw_sheet", "examine", "fix_lines", "summary_lines"]
