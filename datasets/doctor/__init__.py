"""What `bench data check` does beyond a reader's own checks: it looks whether the tracked head lies on the images."""

from headbench.datasets.doctor.examine import Examination, examine
from headbench.datasets.doctor.fixes import fix_lines
from headbench.datasets.doctor.sheet import draw_sheet
from headbench.datasets.doctor.summary import summary_lines

__all__ = ["Examination", "draw_sheet", "examine", "fix_lines", "summary_lines"]
