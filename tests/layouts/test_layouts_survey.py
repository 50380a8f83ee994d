"""Each layout is surveyed once: what a check finds and what a run reads come from the same pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from headbench.datasets.common.reader import SurveyReader
from headbench.datasets.common.survey import Survey, known
from headbench.harness.errors import DataError
from headbench.harness.plugins import registry

from .conftest import LAYOUTS


def _counted(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[SurveyReader, list[Survey]]:
    reader, surveys = registry().load_dataset(name), []
    assert isinstance(reader, SurveyReader)
    survey = reader.survey

    def counting(folder: Path, options: object, findings: object) -> Survey:
        surveys.append(survey(folder, options, findings))
        return surveys[-1]

    monkeypatch.setattr(reader, "survey", counting)
    return reader, surveys


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_check_and_a_run_each_take_one_survey(name, layouts, monkeypatch):
    reader, surveys = _counted(name, monkeypatch)
    problems = reader.check(layouts[name], {})
    subject = reader.read(layouts[name], {})
    assert len(surveys) == 2 and all(found.sound for found in surveys)
    assert not [problem for problem in problems if problem.severity == "error"]
    train, test = surveys[1].split()
    assert [frame.id for frame in subject.train] == list(train) and [frame.id for frame in subject.test] == list(test)
    assert subject.fingerprint == surveys[0].fingerprint() and subject.variant == f"{name}/{surveys[0].variant()}"


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_check_and_a_run_tell_the_same_errors_of_an_empty_folder(name, tmp_path, monkeypatch):
    reader, surveys = _counted(name, monkeypatch)
    told = [problem.message for problem in reader.check(tmp_path, {}) if problem.severity == "error"]
    with pytest.raises(DataError):
        reader.read(tmp_path, {})
    assert not any(found.whole for found in surveys)
    assert told and told == [problem.message for problem in surveys[1].findings.errors()]


def test_a_part_that_is_missing_is_not_taken_for_one():
    with pytest.raises(ValueError, match="not whole"):
        known(None)
