"""What a metric is called, counted in, and whether more of it is better: data for every table. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["COLUMNS", "Column"]


@dataclass(frozen=True)
class Column:
    """A metric as a table shows it."""

    key: str
    """Field of a FrameScore."""
    label: str
    unit: str
    """"" where it has none."""
    digits: int
    """After the decimal point."""
    higher_is_better: bool
    latex: str
    meaning: str

    @property
    def arrow(self) -> str:
        """↑ where more is better, else ↓."""
        return "↑" if self.higher_is_better else "↓"

    def text(self, value: float) -> str:
        """The value with this metric's digits; inf as it is."""
        return f"{value:.{self.digits}f}"


_ALL = (
    Column("psnr", "PSNR", "dB", 2, True, r"PSNR$\uparrow$", "peak signal-to-noise ratio, mean over frames"),
    Column("ssim", "SSIM", "", 4, True, r"SSIM$\uparrow$", "structural similarity, 1 for equal images"),
    Column("lpips_alex", "LPIPS-alex", "", 4, False, r"LPIPS\textsubscript{A}$\downarrow$", "LPIPS v0.1, AlexNet"),
    Column("lpips_vgg", "LPIPS-vgg", "", 4, False, r"LPIPS\textsubscript{V}$\downarrow$", "LPIPS v0.1, VGG16"),
)

COLUMNS: Mapping[str, Column] = MappingProxyType({column.key: column for column in _ALL})
"""All metrics in the order of tables."""
