"""Head models (FLAME from the user's files, the built-in open head) and operations on their meshes for methods."""

from __future__ import annotations

from headbench.harness.head.arrays import JOINTS, TOPOLOGIES, HeadArrays
from headbench.harness.head.frames import FaceFrames, face_frames, points_on_faces
from headbench.harness.head.landmarks import FaceLandmarks, load_landmarks
from headbench.harness.head.linear import Corrections
from headbench.harness.head.load import TAGS, load_head
from headbench.harness.head.model import HeadModel
from headbench.harness.head.nearest import nearest_rows
from headbench.harness.head.projection import project
from headbench.harness.head.subject import SubjectHead
from headbench.harness.head.uv import uv_raster
from headbench.harness.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_quat,
    quat_multiply,
    quat_normalise,
    quat_to_axis_angle,
    quat_to_matrix,
    rotation_6d_to_matrix,
)

__all__ = [
    "JOINTS",
    "TAGS",
    "TOPOLOGIES",
    "Corrections",
    "FaceFrames",
    "FaceLandmarks",
    "HeadArrays",
    "HeadModel",
    "SubjectHead",
    "axis_angle_to_matrix",
    "face_frames",
    "load_head",
    "load_landmarks",
    "matrix_to_axis_angle",
    "matrix_to_quat",
    "nearest_rows",
    "points_on_faces",
    "project",
    "quat_multiply",
    "quat_normalise",
    "quat_to_axis_angle",
    "quat_to_matrix",
    "rotation_6d_to_matrix",
    "uv_raster",
]
