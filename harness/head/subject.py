"""Head model of one person: the identity is folded in once, so that a frame costs only expression and pose."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from headbench.harness.errors import DataError
from headbench.harness.head.linear import Corrections, LinearHead, MeshBuffers
from headbench.harness.kernels import kernels
from headbench.harness.rotations import axis_angle_to_matrix
from headbench.harness.types import HeadParams, Identity

__all__ = ["SubjectHead"]

_FLAME_TEETH, _OPEN_TEETH = 120, 742
"""Vertices that the topology `teeth` appends to FLAME and to the open head.

A tracker's static offset with them fits the other topologies once they are cut off."""


_FEATURES = 36
"""Number of pose features of a head with five joints."""
_TYPES = ({torch.float32}, {torch.float64})
"""Number types of all tensors that kernels pose a head with."""


class _Turns(NamedTuple):
    """Results of the joint rotations alone: pose features, global rotations, and their change from the parent's."""

    feature: Tensor
    """(B, P) entries of R - I of all joints but the root."""
    turned: Tensor
    """(B, J, 3, 3) global rotation of each joint."""
    change: Tensor
    """(B, J, 3, 3) global rotation of a joint's parent minus the joint's own."""


class _Pose(NamedTuple):
    """Rotations for skinning, shared by the meshes with and without corrections."""

    feature: Tensor
    """(B, P) entries of R - I of all joints but the root."""
    blended: Tensor
    """(B, V, 3, 3) skinning rotation of each vertex."""
    change: Tensor
    """(B, J, 3, 3) global rotation of a joint's parent minus the joint's own."""


def _refuse_beyond(values: Tensor, size: int, what: str, tag: str) -> None:
    """Raise DataError where coefficients beyond those that a model has are not zero.

    Args:
        values: (..., n) coefficients.
        size: number of coefficients that the model has.
        what: name of the coefficients, for the message.
        tag: of the head model, for the message.
    """
    if bool((values[..., size:] != 0).any()):
        raise DataError(
            f"{what} has {values.shape[-1]} coefficients, {tag} takes {size} and the ones beyond are not zero: "
            "they belong to another head model."
        )


def _static_offset(offset: Tensor, vertices: int, tag: str) -> Tensor:
    """Fit a tracker's static offset (V', 3) to a mesh of V vertices, by appending zeros for teeth or dropping them."""
    missing = vertices - offset.shape[0]
    teeth = _OPEN_TEETH if tag.startswith("openhead") else _FLAME_TEETH
    if missing in (0, -teeth):
        return offset[:vertices]
    if missing == teeth:
        return torch.cat((offset, offset.new_zeros(missing, 3)))
    raise DataError(f"The static offset has {offset.shape[0]} vertices, {tag} has {vertices}.")


class SubjectHead(MeshBuffers):
    """Head model with one person's identity folded in; `HeadModel.bind` makes it.

    Nothing in `vertices` and `pair` waits for the device. Arrays are shared with the model, but `.to()` and `.double()`
    change this head only.

    Args:
        head: the head model.
        identity: of the subject, with the head's tag.
        expression_size: keep only the first expression directions; None keeps all.
        eyelids: whether tracked eyelids move the mesh.

    Raises:
        DataError: another head's identity, or coefficients beyond the model's that are not zero.

    Example:
        >>> subject_head = head.bind(identity)
        >>> subject_head.vertices(frame.params).shape == (1, len(head.template), 3)
        True
    """

    base: Tensor
    """(V, 3) metres, template with identity and static offset."""
    expression_dirs: Tensor
    """(3V, E) expression directions, index (3 v + axis, coefficient)."""
    base_joints: Tensor
    """(3J,) joints of the neutral expression, index 3 j + axis."""
    joint_dirs: Tensor
    """(3J, E) motion of the joints per unit of expression."""
    ancestors: Tensor
    """(J, J) ancestry of joints: row j is 1 at j and at every joint above it."""
    chained_weights: Tensor
    """(V, J) sum of a joint's own weight and those of all joints below it."""
    unit: Tensor
    """(3, 3) identity matrix."""

    def __init__(
        self, head: LinearHead, identity: Identity, expression_size: int | None = None, eyelids: bool = True
    ) -> None:
        super().__init__()
        self.tag, self.topology, self.notes = head.tag, head.topology, head.notes
        self.parents, self.expression_names = head.parents, head.expression_names
        self._check_tag(identity.head)
        for name, buffer in head.named_buffers(recurse=False):
            if name not in ("template", "shape_dirs", "expression_dirs"):
                self._buffer(name, buffer)
        for name in ("uvs", "uv_faces", "eyelid_dirs"):
            if getattr(head, name) is None or (name == "eyelid_dirs" and not eyelids):
                self._buffer(name, None)
        like = head.template
        shape = identity.shape.to(like)
        if shape.shape[0] != 1:
            raise DataError(f"An identity has one row of shape coefficients, found {tuple(shape.shape)}.")
        sizes = head.sizes
        _refuse_beyond(shape, sizes[0], "The identity's shape", self.tag)
        used = min(shape.shape[1], sizes[0])
        base = like + head.shape_dirs[..., :used] @ shape[0, :used]
        if identity.static_offset is not None:
            base = base + _static_offset(identity.static_offset.to(like)[0], len(like), f"{self.tag} {self.topology}")
        width = sizes[1] if expression_size is None else min(expression_size, sizes[1])
        directions = head.expression_dirs[..., :width]
        self._buffer("base", base)
        self._buffer("expression_dirs", directions.reshape(-1, width))
        self._buffer("base_joints", (head.joint_regressor @ base).flatten())
        self._buffer("joint_dirs", torch.einsum("jv,vce->jce", head.joint_regressor, directions).flatten(0, 1))
        self._buffer("ancestors", self._ancestors().to(like))
        self._buffer("chained_weights", head.weights @ self.ancestors)
        self._buffer("unit", torch.eye(3, dtype=like.dtype, device=like.device))

    def _ancestors(self) -> Tensor:
        """Return the ancestry of joints (J, J): row j is 1 at j and at every joint above it."""
        rows = torch.eye(len(self.parents))
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                rows[joint] += rows[parent]
        return rows

    def _check_tag(self, tag: str) -> None:
        """Raise DataError where parameters are of another head model."""
        if tag != self.tag:
            raise DataError(
                f"Parameters of head model {tag!r} cannot drive {self.tag!r}: their coefficients mean other shapes."
            )

    @property
    def expression_size(self) -> int:
        """Number E of expression coefficients that move this head."""
        return self.expression_dirs.shape[1]

    def vertices(self, params: HeadParams, corrections: Corrections | None = None) -> Tensor:
        """Return posed vertices (B, V, 3) in metres, in the world.

        Args:
            params: of this head's tag. Missing expression coefficients are zero. Those beyond E must be zero.
            corrections: offsets of template, expression and pose directions.

        Raises:
            DataError: another head's parameters, or expression coefficients beyond E that are not zero. Off the CPU,
                where a check would wait for the device, the vertices of a frame with such coefficients are NaN instead.
        """
        self._check_tag(params.head)
        fused = self._fused(params, corrections, pair=False)
        if fused is not None:
            return fused[0]
        pose = self._pose(params)
        shaped, joints = self._shaped(params.expression)
        correctives = self.pose_dirs
        if corrections is not None:
            offset = self._offset(params.expression, corrections)
            if offset is not None:
                shaped, joints = shaped + offset, joints + self.joint_regressor @ offset
            if corrections.pose is not None:
                correctives = correctives + corrections.pose
        posed = shaped + (pose.feature @ correctives).unflatten(1, (-1, 3))
        return self._place(self._skin(posed, joints, pose), params)

    def pair(self, params: HeadParams, corrections: Corrections) -> tuple[Tensor, Tensor]:
        """Return posed vertices with and without corrections, (B, V, 3) each; the shared work is done once.

        Args:
            params: expression and pose of B frames.
            corrections: learned offsets.

        Raises:
            DataError: as for `vertices`.
        """
        self._check_tag(params.head)
        fused = self._fused(params, corrections, pair=True)
        if fused is not None and fused[1] is not None:
            return fused[0], fused[1]
        pose = self._pose(params)
        shaped, joints = self._shaped(params.expression)
        posed = shaped + (pose.feature @ self.pose_dirs).unflatten(1, (-1, 3))
        plain = self._place(self._skin(posed, joints, pose), params)
        offset = self._offset(params.expression, corrections)
        if offset is not None:
            posed, joints = posed + offset, joints + self.joint_regressor @ offset
        if corrections.pose is not None:
            posed = posed + (pose.feature @ corrections.pose).unflatten(1, (-1, 3))
        return self._place(self._skin(posed, joints, pose), params), plain

    def bones(self, params: HeadParams) -> tuple[Tensor, Tensor]:
        """Return pose features (B, P) and skinning transforms of the joints (B, J, 3, 4), before `to_world`.

        A point skinned by weights w (J,) moves to the weighted sum of R x + t over joints; `vertices` does so with the
        head's own weights, after adding expression and pose directions.

        Raises:
            DataError: as for `vertices`.
        """
        self._check_tag(params.head)
        module = self._kernels(params)
        free = (params.expression, params.root, params.neck, params.jaw, params.eye_left, params.eye_right)
        types = {t.dtype for t in (*free, self.base)}
        if module is not None and types in _TYPES and not any(t.requires_grad for t in free):
            feature, turned, steps = module.fused_joints(self, params)
            return feature, torch.cat((turned, (self.ancestors @ steps).unsqueeze(-1)), -1)
        turns = self._turns(params)
        _, joints = self._shaped(params.expression)
        steps = (turns.change @ joints.unsqueeze(-1)).squeeze(-1)
        return turns.feature, torch.cat((turns.turned, (self.ancestors @ steps).unsqueeze(-1)), -1)

    def to_world(self, points: Tensor, params: HeadParams) -> Tensor:
        """Move skinned points (B, N, 3) by the translation and the global similarity of `params`."""
        points = points + params.translation.unsqueeze(1)
        similarity = params.similarity
        if similarity is not None:
            points = similarity.scale[:, None, None] * (points @ similarity.R.transpose(1, 2)) + similarity.t.unsqueeze(
                1
            )
        return points

    def _fused(
        self, params: HeadParams, corrections: Corrections | None, pair: bool
    ) -> tuple[Tensor, Tensor | None] | None:
        """Pose the head by kernels; None where plain torch has to.

        They have gradients of the parameters where nothing is corrected, or else of the corrections.

        Args:
            params: expression and pose of B frames.
            corrections: offsets of template and directions, if any.
            pair: whether vertices without corrections are wanted, too.
        """
        module = self._kernels(params)
        if module is None:
            return None
        corrections = corrections or Corrections()
        turns = (params.root, params.neck, params.jaw, params.eye_left, params.eye_right)
        free = [params.expression, params.translation, *turns]
        moved = [t for t in (corrections.template, corrections.expression, corrections.pose) if t is not None]
        fixed = [self.base, self.expression_dirs, self.pose_dirs, self.weights, self.joint_regressor]
        fixed += [] if params.eyelids is None else [params.eyelids]
        similarity = params.similarity
        fixed += [] if similarity is None else [similarity.scale, similarity.R, similarity.t]
        both = bool(moved) and any(t.requires_grad for t in free)
        types = {t.dtype for t in (*free, *moved, *fixed)}
        if both or any(t.requires_grad for t in fixed) or types not in _TYPES:
            return None
        found: tuple[Tensor, Tensor | None] = module.fused_vertices(self, params, corrections, pair)
        return found

    def _kernels(self, params: HeadParams) -> Any:
        """Return the module of kernels where they can pose this head, as far as its joints decide; else None.

        Raises:
            DataError: on a CPU: expression coefficients beyond E that are not zero.
        """
        module = kernels("skinning", self.base.device)
        fits = self.parents == (-1, 0, 1, 1, 1) and len(self.pose_dirs) == _FEATURES and len(params.root) > 0
        if module is None or not fits:
            return None
        if params.expression.device.type == "cpu" and params.expression.shape[1] > self.expression_size:
            _refuse_beyond(params.expression, self.expression_size, "The expression", self.tag)
        return module

    def _shaped(self, expression: Tensor) -> tuple[Tensor, Tensor]:
        """Return vertices (B, V, 3) before pose of expressions (B, E), and the joints (B, J, 3) regressed from them."""
        width = min(expression.shape[1], self.expression_size)
        used = expression[:, :width]
        shaped = self.base + (used @ self.expression_dirs[:, :width].T).unflatten(1, (-1, 3))
        joints = (self.base_joints + used @ self.joint_dirs[:, :width].T).unflatten(1, (-1, 3))
        if expression.shape[1] > self.expression_size:
            if expression.device.type == "cpu" and not torch.compiler.is_compiling():
                _refuse_beyond(expression, self.expression_size, "The expression", self.tag)
            else:
                strange = (expression[:, self.expression_size :] != 0).any(1)[:, None, None]
                shaped = shaped.masked_fill(strange, float("nan"))
        return shaped, joints

    def _offset(self, expression: Tensor, corrections: Corrections) -> Tensor | None:
        """Return the offset that corrections add to vertices before pose, (B, V, 3) or (V, 3); None for none."""
        if corrections.expression is None:
            return corrections.template
        width = min(expression.shape[1], corrections.expression.shape[2])
        moved = expression[:, :width] @ corrections.expression.flatten(0, 1)[:, :width].T
        offset = moved.unflatten(1, (-1, 3))
        return offset if corrections.template is None else offset + corrections.template

    def _turns(self, params: HeadParams) -> _Turns:
        """Chain the joint rotations from the root, and derive the pose features."""
        rotations = axis_angle_to_matrix(
            torch.stack((params.root, params.neck, params.jaw, params.eye_left, params.eye_right), 1)
        )
        local = rotations.unbind(1)
        whole = [local[0]]
        above = [self.unit.expand_as(local[0])]
        for joint, parent in enumerate(self.parents[1:], start=1):
            above.append(whole[parent])
            whole.append(whole[parent] @ local[joint])
        turned = torch.stack(whole, 1)
        return _Turns((rotations[:, 1:] - self.unit).flatten(1), turned, torch.stack(above, 1) - turned)

    def _pose(self, params: HeadParams) -> _Pose:
        """Blend the joints' rotations by the skinning weights."""
        turns = self._turns(params)
        blended = (self.weights @ turns.turned.flatten(2)).unflatten(2, (3, 3))
        return _Pose(turns.feature, blended, turns.change)

    def _skin(self, posed: Tensor, joints: Tensor, pose: _Pose) -> Tensor:
        """Pose vertices (B, V, 3) by linear blend skinning about joints (B, J, 3).

        A joint's skinning translation is that of its parent plus (R_parent - R) times its position, so the sum along
        the chain is a constant matrix, folded into `chained_weights`.
        """
        steps = (pose.change @ joints.unsqueeze(-1)).squeeze(-1)
        return (pose.blended @ posed.unsqueeze(-1)).squeeze(-1) + self.chained_weights @ steps

    def _place(self, vertices: Tensor, params: HeadParams) -> Tensor:
        """Apply eyelids, translation and the global similarity to skinned vertices (B, V, 3)."""
        if params.eyelids is not None and self.eyelid_dirs is not None:
            vertices = vertices + (params.eyelids @ self.eyelid_dirs.flatten(1)).unflatten(1, (-1, 3))
        return self.to_world(vertices, params)
