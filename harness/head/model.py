"""Head model: from identity, expression and pose to posed vertices."""

from __future__ import annotations

from torch import Tensor

from headbench.harness.head.linear import Corrections, LinearHead
from headbench.harness.head.subject import SubjectHead
from headbench.harness.types import HeadParams, Identity

__all__ = ["HeadModel"]


class HeadModel(LinearHead):
    """Linear head model with joints in the order root, neck, jaw, left eye, right eye. Metres, y up, face to +z.

    Vertices are v = template + shape dirs . shape + static offset + expression dirs . expression; joints are regressed
    from that v; pose correctives are added; linear blend skinning; eyelids; translation; the global similarity.

    Example:
        >>> head = load_head("openhead")
        >>> vertices = head(frame.params, identity)
        >>> vertices.shape == (1, len(head.template), 3)
        True
    """

    def bind(self, identity: Identity, expression_size: int | None = None, eyelids: bool = True) -> SubjectHead:
        """Return a head model of one person: this one with the identity folded in.

        Args:
            identity: of a subject tracked with this head model; a static offset of fewer vertices leaves the last ones
                (teeth) where they are.
            expression_size: keep only the first expression directions; None keeps all.
            eyelids: whether tracked eyelids move the mesh; FLAME layers without lid blendshapes ignore them.

        Raises:
            DataError: another head's identity, or coefficients beyond the model's that are not zero.
        """
        return SubjectHead(self, identity, expression_size, eyelids)

    def forward(self, params: HeadParams, identity: Identity, corrections: Corrections | None = None) -> Tensor:
        """Return posed vertices (B, V, 3) in metres, differentiable in all arguments; for many frames, `bind` first.

        Args:
            params: expression and pose of B frames.
            identity: of the subject.
            corrections: learned offsets of template, expression and pose directions.

        Raises:
            DataError: as for `bind` and `SubjectHead.vertices`.
        """
        return self.bind(identity).vertices(params, corrections)
