"""Which pictures of two folders belong together, by their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from headbench.harness.errors import BenchError
from headbench.metrics.folders import join_names, list_pictures

PLACES = ("renders", "truth")


@pytest.mark.parametrize(
    ("renders", "truth", "pairs", "by"),
    [
        (["00002", "00003"], ["00001", "00002", "00003"], {"00002": "00002", "00003": "00003"}, "name"),
        (["mean", "last"], ["last", "mean"], {"last": "last", "mean": "mean"}, "name"),
        (["1", "2", "10"], ["00001", "00002", "00010"], {"00001": "1", "00002": "2", "00010": "10"}, "number"),
        (
            ["r_512_7", "r_512_8"],
            ["cam3-08", "cam3-07", "cam3-09"],
            {"cam3-08": "r_512_8", "cam3-07": "r_512_7"},
            "number",
        ),
        (["x5"], ["4", "5"], {"5": "x5"}, "number"),
        (["2_a", "3_a"], ["3", "4"], {"3": "3_a"}, "number"),
    ],
)
def test_names_are_joined_by_equal_names_else_by_the_one_number_that_differs(
    renders: list[str], truth: list[str], pairs: dict[str, str], by: str
) -> None:
    joined = join_names(renders, truth, PLACES)
    assert (dict(joined.pairs), joined.by) == (pairs, by)
    assert list(joined.pairs) == [name for name in truth if name in pairs]  # the order of the truth is that of time
    assert {*joined.renders_alone} == {*renders} - {*pairs.values()}
    assert {*joined.truth_alone} == {*truth} - {*pairs}


@pytest.mark.parametrize(
    ("renders", "truth", "said"),
    [
        (["a", "2"], ["1", "2", "3"], "renders: 'a' has no frame number."),
        (
            ["1", "1_mask"],
            ["01", "02"],
            "renders: expected names that differ in one number alone, found '1' and '1_mask'.",
        ),
        (["1_1", "2_2"], ["01", "02"], "which number in '1_1' is that of the frame is ambiguous: 2 numbers differ"),
        (["3_7"], ["01", "02"], "which number in '3_7' is that of the frame is ambiguous: one name alone"),
        (["1", "01"], ["001", "002"], "renders: '1' and '01' are both frame 1."),
        (["1", "2"], ["x_3", "x_4"], "renders and truth have no frame number in common: 1, 2 against x_3, x_4."),
    ],
)
def test_names_that_could_mean_two_things_or_nothing_are_refused(
    renders: list[str], truth: list[str], said: str
) -> None:
    with pytest.raises(BenchError) as refused:
        join_names(renders, truth, PLACES)
    assert said in refused.value.args[0] and refused.value.help


def test_a_folder_is_listed_without_what_is_no_picture(tmp_path: Path) -> None:
    for name in ("2.png", "10.PNG", "3.jpg", ".hidden.png"):
        Image.new("RGB", (2, 2)).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "more").mkdir()
    listed = list_pictures(tmp_path)
    assert (list(listed.files), listed.ignored) == (["2", "3", "10"], ("more", "notes.txt"))  # as people count
    (tmp_path / "2.jpg").touch()
    with pytest.raises(BenchError, match=r"2\.jpg and 2\.png have one name"):
        list_pictures(tmp_path)
    with pytest.raises(BenchError, match=r"expected pictures .* found only notes\.txt|expected a folder"):
        list_pictures(tmp_path / "notes.txt")
    with pytest.raises(BenchError, match=r"expected pictures .*, found nothing"):
        list_pictures(tmp_path / "more")
