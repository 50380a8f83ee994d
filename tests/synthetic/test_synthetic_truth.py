"""The truth beside a synthetic subject, and that a failure leaves nothing behind."""

from __future__ import annotations

import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from headbench.datasets.synthetic import write_synthetic
from headbench.datasets.synthetic.linear import blend, cross, dot, unit
from headbench.harness.head import load_head
from headbench.harness.types import HeadParams, Identity


def test_the_orbits_cameras_see_the_neutral_head_where_its_pictures_show_it(written) -> None:
    head = load_head("openhead", "teeth")
    zeros = torch.zeros(1, 3)
    neutral = HeadParams("openhead", torch.zeros(1, head.sizes[1]), zeros, zeros, zeros, zeros, zeros, zeros)
    shape = torch.tensor(written.numbers("shape", 0)[: head.sizes[0]], dtype=torch.float32)[None]
    unmoved = 0 * neutral.expression
    vertices = head(neutral, Identity("openhead", shape, unmoved, unmoved, neutral, None))[0].numpy()
    cameras = written.json("truth/orbit/cameras.json")
    for name, camera in cameras.items():
        w2c, K = np.array(camera["w2c"]), np.array(camera["K"])
        seen = (vertices @ w2c[:3, :3].T + w2c[:3, 3]) @ K.T
        assert (seen[:, 2] > 0).all()
        column, row = np.floor(seen[:, :2] / seen[:, 2:]).astype(int).T
        alpha = written.image(f"truth/orbit/{name}.png")[..., 3]
        # No ray of a pixel need meet a vertex on the silhouette, but one of its neighbour does.
        assert binary_dilation(alpha > 0, np.ones((3, 3)))[row, column].all(), name
        # The head fills its box: cameras a few pixels off would leave it.
        covered = np.argwhere(alpha > 127)
        assert np.abs(covered.max(0)[0] - row.max()) <= 2
    # The first view is frontal: it sees more of the eyes' surroundings than the one from behind.
    front, back = (written.image(f"truth/orbit/{name}.png")[..., :3].astype(float) for name in ("00000", "00006"))
    assert np.abs(front - back[:, ::-1]).mean() > 5


@pytest.mark.slow
def test_a_failure_leaves_nothing_half_written(tmp_path, monkeypatch) -> None:
    # Forks have imported what workers need; that such as are started anew can do the work, the same seed shows.
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(f"{write_synthetic.__module__}.multiprocessing", SimpleNamespace(get_context=lambda how: fork))

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        # Reported between frames: the first subject is not whole yet.
        write_synthetic(tmp_path / "D", "insta", 1, 4, 24, 0, stop, workers=2)
    assert list((tmp_path / "D" / "insta").iterdir()) == []


def test_sums_over_short_rows_are_numpys() -> None:
    rng = np.random.default_rng(0)
    a, b, bary = rng.normal(size=(3, 50, 3))
    corner = rng.integers(0, 50, size=(50, 3))
    assert np.array_equal(dot(a, b), (a * b).sum(1))
    assert np.array_equal(cross(a, b), np.cross(a, b))
    np.testing.assert_allclose(unit(a), a / np.linalg.norm(a, axis=1, keepdims=True), rtol=1e-15)
    assert np.array_equal(unit(np.zeros((1, 3)), 1e-9), np.zeros((1, 3)))
    assert np.array_equal(blend(a, corner, bary), (a[corner] * bary[:, :, None]).sum(1))
    assert np.array_equal(blend(a[:, 0], corner, bary), (a[:, 0][corner] * bary).sum(1))
