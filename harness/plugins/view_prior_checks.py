"""Checks of registered view priors: the spec at registration, and the class when it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headbench.harness.errors import PluginError
from headbench.harness.plugins.checks import HELP, checked_class
from headbench.harness.plugins.loading import load_target
from headbench.harness.plugins.specs import SOURCES, ViewPriorSpec

if TYPE_CHECKING:
    from headbench.harness.view_prior import ViewPrior

__all__ = ["view_prior_class", "view_prior_faults"]


def view_prior_faults(spec: ViewPriorSpec) -> list[str]:
    """Faults of a view prior's spec besides its name and target."""
    return [] if spec.source in SOURCES else [f"source must be '', 'file' or 'folder', got {spec.source!r}"]


def view_prior_class(spec: ViewPriorSpec, plugin: str) -> type[ViewPrior]:
    """Load the class of a view prior, and check it against the interface.

    Args:
        spec: the registered spec.
        plugin: name of the plugin that registered it, for messages.

    Raises:
        PluginError: the class cannot be imported, is no ViewPrior, leaves a part of it out, or its options are no
            Section.
    """
    loaded: Any = checked_class("view prior", spec, plugin, "headbench.harness.view_prior:ViewPrior")
    section: Any = load_target("headbench.harness.avatar:Section")
    config_type: Any = getattr(loaded, "config_type", None)
    if not isinstance(config_type, type) or not issubclass(config_type, section):
        where = f"{plugin}: view prior {spec.name}: {spec.target}.config_type"
        raise PluginError(f"{where} must be a class derived from headbench.harness.avatar.Section", help=HELP)
    found: type[ViewPrior] = loaded
    return found
