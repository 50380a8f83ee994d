"""Checks of the views that a prior made; each fault is one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from headbench.harness.errors import BenchError
from headbench.harness.head import project
from headbench.harness.names import name_fault, quoted
from headbench.harness.view_prior import EXPRESSIONS, PseudoView

__all__ = ["MATTE_SHARES", "check_views"]

MATTE_SHARES = (0.05, 0.80)
"""Least and largest share of a view that its matte may cover."""
_HELP = "docs/completion.md says what a view is"
_SMALLEST = 16
"""Least side of a view in pixels."""


def check_views(views: Sequence[PseudoView], vertices: Tensor, prior: str) -> None:
    """Refuse views that cannot be trained on.

    Args:
        views: what the prior made.
        vertices: (V, 3) the head in the pose that they show, metres.
        prior: its name, for messages.

    Raises:
        BenchError: there is no view, or one has another size than the first, values that are not finite or outside
            [0, 1], a matte that covers too little or too much, or a camera that does not look at the head.
    """
    where = f"view prior {prior}"
    if not views:
        raise BenchError(f"{where}: expected at least 1 view, found none.")
    repeated = sorted(name for name, count in Counter(view.name for view in views).items() if count > 1)
    if repeated:
        raise BenchError(f"{where}: expected each name once, found {quoted(repeated[0])} again.")
    first = views[0].camera
    centre = vertices.mean(0)[None, None].cpu()
    for view in views:
        fault = name_fault(view.name) or _fault(view, (first.width, first.height), centre)
        if fault:
            raise BenchError(f"{where}: view {quoted(view.name)}: {fault}.", help=_HELP)


def _fault(view: PseudoView, size: tuple[int, int], centre: Tensor) -> str:
    """What is wrong with one view, empty where nothing is.

    Args:
        view: the view.
        size: width and height of the first view.
        centre: (1, 1, 3) of the head, metres.
    """
    camera = view.camera
    width, height = camera.width, camera.height
    if (width, height) != size:
        return f"expected {size[0]} x {size[1]} pixels as the first view has, found {width} x {height}"
    if min(width, height) < _SMALLEST:
        return f"expected at least {_SMALLEST} pixels a side, found {width} x {height}"
    for name, channels in (("image", 3), ("matte", 1), ("confidence", 1)):
        values: Tensor = getattr(view, name)
        if tuple(values.shape) != (channels, height, width):
            return f"{name}: expected shape {(channels, height, width)}, found {tuple(values.shape)}"
        if not bool(torch.isfinite(values).all()):
            return f"{name}: expected finite numbers, found NaN or infinity"
        if float(values.min()) < 0 or float(values.max()) > 1:
            return f"{name}: expected values from 0 to 1, found {float(values.min()):.3g} to {float(values.max()):.3g}"
    share, (least, most) = float(view.matte.mean()), MATTE_SHARES
    if not least <= share <= most:
        return f"expected a matte over {least:.0%} to {most:.0%} of the view, found {share:.1%}"
    if view.expression not in EXPRESSIONS:
        return f"expected the expression {' or '.join(EXPRESSIONS)}, found {quoted(view.expression)}"
    return _look_fault(view, centre)


def _look_fault(view: PseudoView, centre: Tensor) -> str:
    camera = view.camera.to("cpu")
    if not bool(torch.isfinite(camera.w2c).all() and torch.isfinite(camera.K).all()):
        return "expected a camera of finite numbers, found NaN or infinity"
    pixel, depth = (part[0, 0] for part in project(centre, camera))
    if float(depth) <= 0:
        return f"expected a camera that looks at the head, found the head {-float(depth):.2f} m behind it"
    x, y = pixel.tolist()
    if not (0 <= x <= camera.width and 0 <= y <= camera.height):
        return (
            f"expected a camera that looks at the head, found the head's centre at pixel ({x:.0f}, {y:.0f}) of "
            f"{camera.width} x {camera.height}"
        )
    return ""
