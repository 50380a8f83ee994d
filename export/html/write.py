"""Writer of format html."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headbench.export.html.assemble import Words, assembled
from headbench.export.html.bodies import BUDGET, Body, body_of
from headbench.export.html.licences import terms_of
from headbench.export.html.recording import distinct
from headbench.export.poses import Poses
from headbench.export.source import Source
from headbench.harness.files import atomic_path
from headbench.harness.plugins import registry

__all__ = ["write"]


def write(source: Source, poses: Poses, out: Path) -> list[str]:
    """Write the page with the poses as its recorded clip (see `Writer`)."""
    body = body_of(source, distinct(poses.members))
    camera = body.frames[0].camera
    about: dict[str, Any] = {
        "kind": body.kind,
        "frames": [pose.name for pose in body.frames],
        "fps": body.fps,
        "width": camera.width,
        "height": camera.height,
        "count": body.count,
        "controls": [],
        "presets": [],
        **body.about,
    }
    page = assembled(_words(source, body), about, body.packer.packed())
    with atomic_path(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    large = [f"the page has {len(page) / 1e6:.1f} MB."] if len(page) > BUDGET else []
    return [*body.notes, *large]


def _words(source: Source, body: Body) -> Words:
    """Texts of the page about its avatar: title, subject, method, licences and citations."""
    loaded = source.session.loaded
    about, found = loaded.about, registry().methods().get(loaded.about.get("method", ""))
    method, subject = about.get("method", ""), about.get("subject", "")
    terms = terms_of(loaded.identity.head)
    facts = [
        ("Subject", f"{subject}, dataset {about.get('dataset', '')}"),
        ("Method", method if found is None else f"{method}. Licence of the original: {found.licence or 'not named'}"),
        ("Citation of the method", "" if found is None else found.citation),
        ("Head model", f"{terms.name}. Licence: {terms.licence}"),
        ("Citation of the head model", terms.citation),
        ("Made by", "headbench, whose rasterizer's kernel draws here"),
    ]
    facts += [("Note", note[0].upper() + note[1:]) for note in body.notes]
    summary = f"{body.count:,} Gaussians; {body.summary}."
    return Words(f"{subject}, {method}", summary, [(name, text) for name, text in facts if text])
