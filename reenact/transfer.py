"""From one subject's performance to the parameters that drive another's avatar."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from headbench.harness.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from headbench.harness.types import Camera, HeadParams
from headbench.reenact.conversion import Conversion, convert, converter
from headbench.reenact.expression import fit_width, move_mean
from headbench.reenact.performance import Head, Performance, Reference
from headbench.reenact.placement import Placement, place

__all__ = ["Options", "Transferred", "transfer"]


@dataclass(frozen=True)
class Options:
    """Choices of a re-enactment; the defaults are what FateAvatar published."""

    expression: Literal["relative", "absolute"] = "relative"
    """relative: the driver's expression moved by the difference of the means; absolute: as it is."""
    pose: Literal["absolute", "relative", "source"] = "absolute"
    """absolute: the head stands before the camera as the driver's does; relative: the driver's motion since its first
    training frame, from where the source stood in its own; source: the head stands still as in the source's first
    training frame."""
    camera: Literal["driver", "source"] = "driver"
    """Whose intrinsics and image size are used."""
    eyes: Literal["driver", "source"] = "driver"
    """Whose gaze and eyelids are used; the source's are those of its first training frame."""
    smooth: int = 1
    """Width of the smoothing window in frames; 1 for none."""


@dataclass(frozen=True)
class Transferred:
    """Parameters and cameras that make an avatar do what a driver did."""

    params: HeadParams
    """T poses of the avatar's head model."""
    camera: Camera
    """T cameras."""
    driver_mean: Tensor
    """(1, E) mean expression of the driver in the avatar's coefficients."""
    mean: Tensor
    """(1, E) mean expression that the driver's training frames have once they are transferred."""
    notes: tuple[str, ...]
    """Sentences on what could not be carried over as it was."""
    conversion: Conversion | None = None
    """Conversion between head models; None where both have the same."""


def transfer(performance: Performance, driver: Head, source: Head, options: Options) -> Transferred:
    """Drive the head of an avatar by a performance.

    Args:
        performance: of the driver, smoothed already.
        driver: the driver's head.
        source: head of the avatar.
        options: what is taken from whom.

    Raises:
        BenchError: the two head models differ, and no converter between them is known.
        MissingAsset: a converter needs a head model that is not registered.
    """
    identity, notes = source.identity, []
    width = identity.mean_expression.shape[1]
    conversion, placement = None, performance.placement
    expression, mean = performance.params.expression, performance.mean
    if driver.bound.tag != source.bound.tag:
        found = converter(driver, source, width)
        expression, mean, placement, conversion = convert(found, expression, mean, placement)
        notes.append(conversion.sentence())
    mean, _ = fit_width(mean, width)
    expression, sentence = fit_width(expression, width)
    if options.expression == "relative":
        expression = move_mean(expression, identity.mean_expression, mean)
    params = _joints(replace(performance.params, head=identity.head, expression=expression), source, options)
    lids, said = _eyelids(params.eyelids, identity.first.eyelids, len(expression))
    params = replace(params, eyelids=lids)
    at_rest = source.joints(expression)
    placement, params = _pose(placement, at_rest, performance, source.reference(), params, options.pose)
    root, translation, similarity, w2c = place(
        placement, at_rest, source.form, _scale(performance, driver, source), identity.camera
    )
    params = replace(params, root=root, translation=translation, similarity=similarity)
    moved = identity.mean_expression if options.expression == "relative" else mean
    camera = _camera(performance.camera, identity.camera, w2c, options.camera)
    return Transferred(params, camera, mean, moved, tuple(filter(None, (*notes, sentence, said))), conversion)


def _scale(performance: Performance, driver: Head, source: Head) -> Tensor:
    """Scale of the similarity, (T,) or (1,): the driver's own where it is the source's person, else the source's.

    A scale changes pictures only of avatars whose Gaussians do not grow as the head does; they know their person's.
    """
    own, other = source.identity.first.similarity, performance.params.similarity
    if own is None:
        return torch.ones(1)
    same = driver.bound.tag == source.bound.tag and torch.equal(driver.identity.shape, source.identity.shape)
    return own.scale if other is None or not same else other.scale


def _joints(params: HeadParams, source: Head, options: Options) -> HeadParams:
    """Take gaze and lids of the source's first training frame where the options say so."""
    if options.eyes == "driver":
        return params
    first, count = source.identity.first, len(params.expression)
    lids = None if first.eyelids is None else first.eyelids.expand(count, -1)
    eyes = {name: getattr(first, name).expand(count, -1) for name in ("eye_left", "eye_right")}
    return replace(params, eyelids=lids, **eyes)


def _eyelids(given: Tensor | None, own: Tensor | None, count: int) -> tuple[Tensor | None, str]:
    """Give an avatar eyelids exactly where its tracker did.

    Args:
        given: (T, 2) of the driver, or None.
        own: (1, 2) of the avatar's first training frame, or None.
        count: number of frames T.

    Returns:
        (T, 2) or None, and a sentence where closed lids were lost or are missing; otherwise empty.
    """
    if own is None:
        lost = given is not None and bool((given != 0).any())
        return None, "eyelids left out: the source was tracked without them" if lost else ""
    if given is None:
        return own.new_zeros(count, 2), "eyelids stay open: the driver was tracked without them"
    return given, ""


def _pose(
    placement: Placement,
    at_rest: Tensor,
    performance: Performance,
    own: Reference,
    params: HeadParams,
    pose: str,
) -> tuple[Placement, HeadParams]:
    """Place the head before the camera.

    Args:
        placement: where the driver's head stands, in the source's coordinates at rest.
        at_rest: (T, 3) root joints of the source at rest.
        performance: the driver's.
        own: placement of the source's first training frame.
        params: T poses; the neck belongs to the pose.
        pose: absolute, relative or source.
    """
    count = len(at_rest)
    if pose == "absolute":
        return placement, params
    if pose == "source":
        turn, joint = own.turn.expand(count, 3, 3), own.joint.expand(count, 3)
        neck = own.neck.expand(count, 3)
    else:
        before = performance.reference
        turn = placement.turn @ torch.linalg.inv(before.turn) @ own.turn
        joint = own.joint + performance.joint - before.joint
        necks = [axis_angle_to_matrix(each) for each in (params.neck.double(), before.neck, own.neck)]
        neck = matrix_to_axis_angle(necks[0] @ necks[1].mT @ necks[2])
    offset = joint - (turn @ at_rest.unsqueeze(-1)).squeeze(-1)
    return Placement(turn, offset), replace(params, neck=neck.float())


def _camera(driver: Camera, source: Camera, w2c: Tensor, whose: str) -> Camera:
    """Cameras (T) at `w2c` (T, 4, 4) with the intrinsics and the size of the driver's (T) or the source's (B = 1)."""
    if whose == "driver":
        return replace(driver, w2c=w2c)
    return replace(source, w2c=w2c, K=source.K.expand(len(w2c), 3, 3))
