"""The Gaussian table changes rows of every column together, and refuses edits that would leave it uneven."""

import pytest
import torch

from headbench.harness.train.table import GaussianTable
from headbench.harness.types import Edit


def table() -> GaussianTable:
    return GaussianTable(
        {"xyz": torch.arange(12.0).reshape(4, 3), "opacity": torch.tensor([0.1, 0.2, 0.3, 0.4])},
        buffers={"face": torch.tensor([7, 8, 9, 10])},
        statistics={"grad": torch.zeros(4)},
    )


def test_an_edit_replaces_then_keeps_then_appends() -> None:
    rows = table()
    rows["grad"].copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    origin = rows.apply_edit(
        Edit(
            replace={"opacity": torch.tensor([1.0, 2.0, 3.0, 4.0])},
            keep=torch.tensor([True, False, True, True]),
            append={"xyz": torch.full((1, 3), -1.0), "opacity": torch.tensor([9.0]), "face": torch.tensor([5])},
        )
    )
    assert origin["kept"].tolist() == [0, 2, 3]
    assert rows["opacity"].tolist() == [1.0, 3.0, 4.0, 9.0]
    assert rows["xyz"].tolist() == [[0, 1, 2], [6, 7, 8], [9, 10, 11], [-1, -1, -1]]
    assert rows["face"].tolist() == [7, 9, 10, 5]
    assert rows["grad"].tolist() == [1.0, 3.0, 4.0, 0.0], "a new row's statistics start at zero"
    assert len(rows) == 4


def test_statistics_are_zeroed_on_request_and_are_not_saved() -> None:
    rows = table()
    rows["grad"].fill_(5.0)
    rows.apply_edit(Edit(zero_statistics=("grad",)))
    assert rows["grad"].tolist() == [0.0] * 4
    assert set(rows.state_dict()) == {"xyz", "opacity", "face"}


def test_a_checkpoint_of_another_size_fits_after_resize() -> None:
    large, small = table(), table()
    some = {"xyz": torch.ones(3, 3), "opacity": torch.ones(3), "face": torch.ones(3, dtype=torch.int64)}
    large.apply_edit(Edit(append=some))
    small.resize(7)
    small.load_state_dict(large.state_dict())
    assert torch.equal(small["xyz"], large["xyz"])
    assert torch.equal(small["face"], large["face"])
    assert len(small["grad"]) == 7


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit(replace={"colour": torch.zeros(4)}), "colour"),
        (Edit(zero_statistics=("xyz",)), "xyz"),
        (Edit(append={"xyz": torch.zeros(1, 3)}), "lacks columns"),
        (Edit(append={"xyz": torch.zeros(1, 2), "opacity": torch.zeros(1), "face": torch.zeros(1)}), "rows of"),
        (Edit(append={"xyz": torch.zeros(1, 3), "opacity": torch.zeros(2), "face": torch.zeros(1)}), "number of rows"),
        (Edit(keep=torch.tensor([True])), "expected"),
        (Edit(replace={"opacity": torch.zeros(3)}), "opacity"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused_and_changes_nothing(edit: Edit, message: str) -> None:
    rows = table()
    before = {k: v.clone() for k, v in rows.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        rows.apply_edit(edit)
    assert all(torch.equal(before[k], v) for k, v in rows.state_dict().items())


def test_columns_must_agree_in_rows_and_names() -> None:
    with pytest.raises(ValueError, match="number of rows"):
        GaussianTable({"a": torch.zeros(3)}, {"b": torch.zeros(4)})
    with pytest.raises(ValueError, match="twice"):
        GaussianTable({"a": torch.zeros(3)}, {"a": torch.zeros(3)})
