"""Numbers of papers: as data, and beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headbench.harness.errors import BenchError
from headbench.metrics import load_protocol
from headbench.reports import build_table, to_latex, to_markdown
from headbench.results import published
from headbench.results.published import read_published

SUMS = (801.62, 27.1407, 2.2201)
ROWS = {"FlashAvatar", "SplattingAvatar", "MonoGaussianAvatar", "GaussianAvatars", "FATE", "FATE baked"}


def test_fates_table_is_data_and_its_overall_column_is_the_mean_of_its_sets() -> None:
    table = [row for row in published() if "FATE" in row.source]
    assert {row.method for row in table} == ROWS and all(row.kind == "primary" for row in table)
    overall = {row.method: row.values for row in table if row.subjects == 20}
    # The printed overall value of FATE baked is not the mean of its sets, so it is not here.
    assert set(overall) == ROWS - {"FATE baked"}
    for method, values in overall.items():
        sets = [row for row in table if row.method == method and row.subjects != 20]
        assert sum(row.subjects for row in sets) == 20
        for key, digits in (("psnr", 0.0101), ("ssim", 0.001), ("lpips/alex", 0.000101)):
            mean = sum(row.subjects * row.values[key] for row in sets) / 20
            assert values[key] == pytest.approx(mean, abs=digits), (method, key)
    # Sums of all printed numbers, as they were compared one by one: a slip in any of them changes one.
    sums = [sum(row.values[key] for row in table) for key in ("psnr", "ssim", "lpips/alex")]
    assert sums == [pytest.approx(total, abs=1e-9) for total in SUMS] and len(table) == 29
    assert all(load_protocol(row.protocol) for row in published() if row.protocol)
    secondary = [row for row in published() if row.kind == "secondary"]
    assert secondary and all(row.citation().startswith("secondary: ") for row in secondary)


def test_published_numbers_stand_beside_ours_on_request_and_are_marked_where_they_do_not_compare(run: Any) -> None:
    assert all(row.kind != "published" for row in build_table(run.path).rows)
    table = build_table(run.path, published=True)
    rows = [row for row in table.rows if row.kind == "published"]
    fate = next(row for row in rows if row.method == "FATE")
    assert [value.mean for value in fate.values[:3]] == [27.52, 0.9416, 0.0603] and fate.values[3].mean is None
    assert fate.differs and not any(value.rank or value.mark for row in rows for value in row.values)
    note = table.notes[fate.notes[0] - 1]
    assert "Table 1" in note and "scored as fateavatar@1, mean over 10 subjects" in note
    assert "this table is by headbench@1 over 2, so the numbers do not compare" in note
    assert "| published | FATE<sup>" in to_markdown(table) and "*27.52*" in to_markdown(table)
    assert r"\benchpublished{27.52}" in to_latex(table)


def test_the_same_protocol_and_number_of_subjects_is_not_marked(new_run: Any) -> None:
    folder = new_run(protocols=("fateavatar@1",))
    for number in range(10):
        folder.result("A", f"s{number}", psnr=[27.0], protocol="fateavatar@1")
    table = build_table(folder.path, published=True)
    assert [row.differs for row in table.rows if row.method in ("FATE", "HRAvatar")] == [False, True]
    assert "*27.52*" not in to_markdown(table) and "*30.36*" in to_markdown(table)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("source: x\n", "table: field required"),
        ("source: x\ntable: y\nkind: maybe\nnote: ''\nsets: []\nmetrics: []\nrows: []\n", "kind: "),
        (
            "source: x\ntable: y\nkind: primary\nnote: ''\nsets: []\nmetrics: [psnr]\nrows: [{method: A, INSTA: []}]\n",
            "A has a value for 'INSTA', which is none of its sets",
        ),
    ],
)
def test_a_file_of_published_numbers_that_does_not_fit_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "paper.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError) as caught:
        read_published(path)
    assert sentence in str(caught.value) and str(path) in str(caught.value)
