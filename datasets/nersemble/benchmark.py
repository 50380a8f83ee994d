"""Facts that the benchmark's organisers fixed: people, sequences, cameras, and the videos of a submission."""

from __future__ import annotations

__all__ = [
    "CRF",
    "FPS",
    "PARTICIPANTS",
    "PROXY",
    "QUOTA",
    "SEQUENCES",
    "SERIALS",
    "SIZE",
    "SUBMISSION_TRACKING",
    "TASK",
    "TEST_SEQUENCES",
    "TITLE",
    "TRACKINGS",
    "TRAIN_SEQUENCES",
    "TRAIN_SERIAL",
]

TASK = "mono_flame_avatar"
"""Name of the task, and of its folder."""
TITLE = "NeRSemble benchmark v2 (2026), mono FLAME avatar"
"""Name of the benchmark and the task, for people."""
PARTICIPANTS = ("393", "404", "461", "477", "486")
TRAIN_SEQUENCES = (
    "EXP-1-head",
    "EXP-2-eyes",
    "EXP-3-cheeks+nose",
    "EXP-4-lips",
    "EXP-5-mouth",
    "EXP-8-jaw-1",
    "EXP-9-jaw-2",
    "EMO-2-surprise+fear",
    "EMO-3-angry+sad",
    "EMO-4-disgust+happy",
    "SEN-01-cramp_small_danger",
    "SEN-02-same_phrase_thirty_times",
    "SEN-03-pluck_bright_rose",
    "SEN-04-two_plus_seven",
    "SEN-05-glow_eyes_sweet_girl",
    "SEN-06-problems_wise_chief",
    "SEN-07-fond_note_fried",
    "SEN-08-clothes_and_lodging",
)
TEST_SEQUENCES = ("FREE", "EMO-1-shout+laugh", "SEN-09-frown_events_bad", "SEN-10-port_strong_smokey")
"""Sequences whose images the organisers keep; their tracking and cameras are published."""
SEQUENCES = frozenset(TRAIN_SEQUENCES + TEST_SEQUENCES)
PROXY = ("EXP-9-jaw-2", "EMO-4-disgust+happy", "SEN-07-fond_note_fried", "SEN-08-clothes_and_lodging")
"""Training sequences that are held out to score locally.

Their kinds are those of the test sequences, and each has a sibling that is trained on."""
TRAIN_SERIAL = "222200037"
"""Serial number of the one camera whose images are published."""
SERIALS = (TRAIN_SERIAL, "222200046", "220700191", "222200039")
"""Cameras of a submission: the training camera, then left, centre and right, of which no image is published."""
TRACKINGS = {"v2": "flame2023_tracking_v2", "v1": "flame2023_tracking"}
"""Version of the tracking -> stem of its files, the current version first; test sequences have no other."""
SUBMISSION_TRACKING = TRACKINGS["v2"]
"""Tracking that submissions are rendered with."""
SIZE = 512
"""Side of the images in pixels."""
FPS = 24.3
"""Frames per second of the videos."""
CRF = 14
"""Constant rate factor of x264 in the organisers' own writer."""
QUOTA = 10
"""Submissions to this task that each user is granted."""
