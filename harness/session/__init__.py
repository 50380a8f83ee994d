"""Sessions: trained avatars opened for rendering, also from several threads; `open_checkpoint` gives one."""

from headbench.harness.session.find import find_checkpoint
from headbench.harness.session.renderer import Renderer, View
from headbench.harness.session.session import Session, open_checkpoint
from headbench.harness.session.views import driven_views, orbit_views

__all__ = ["Renderer", "Session", "View", "driven_views", "find_checkpoint", "open_checkpoint", "orbit_views"]
