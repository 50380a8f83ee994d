"""Submissions to a dataset's benchmark: a zip of videos of hidden views, its check, and a ledger. Never uploads.

What a benchmark wants comes from its dataset's plugin (`SubmissionTask`, `HiddenView`); nothing here names one.
"""

from headbench.submission.archive import Limits, write_zip
from headbench.submission.cells import Choice, choose, participants
from headbench.submission.check import check_zip, reference_of, views_of
from headbench.submission.checks import Reference
from headbench.submission.findings import errors
from headbench.submission.ledger import Entry, ledger_path, read_ledger, record_upload, uploads
from headbench.submission.make import Made, Order, make_submission, task_of
from headbench.submission.record import find_record, record_path

__all__ = [
    "Choice",
    "Entry",
    "Limits",
    "Made",
    "Order",
    "Reference",
    "check_zip",
    "choose",
    "errors",
    "find_record",
    "ledger_path",
    "make_submission",
    "participants",
    "read_ledger",
    "record_path",
    "record_upload",
    "reference_of",
    "task_of",
    "uploads",
    "views_of",
    "write_zip",
]
