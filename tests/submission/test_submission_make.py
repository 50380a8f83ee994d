"""From trained cells to a zip."""

from __future__ import annotations

from headbench.harness.files import read_json, sha256_of


def test_a_zip_is_made_and_the_doctor_finds_nothing(made) -> None:
    assert [finding.line() for finding in made.findings] == []
    record = read_json(made.record)
    assert record["zip"]["sha256"] == sha256_of(made.zip)
