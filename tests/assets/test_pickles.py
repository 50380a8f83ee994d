import os
import pickle
import sys
import types

import numpy as np
import pytest
import scipy.sparse
import torch

from headbench.harness.assets import restricted_load, torch_load
from headbench.harness.errors import DataError


@pytest.fixture
def chumpy(monkeypatch):
    """Classes that pickle under chumpy's names; the modules are gone again before anything is read."""
    made = {}
    for module, names in {
        "chumpy": [],
        "chumpy.ch": ["Ch"],
        "chumpy.reordering": ["Select"],
        "chumpy.ch_ops": ["add"],
    }.items():
        fake = types.ModuleType(module)
        for name in names:
            made[name] = type(name, (), {"__module__": module})
            setattr(fake, name, made[name])
        monkeypatch.setitem(sys.modules, module, fake)

    def save(path, build, protocol):
        path.write_bytes(pickle.dumps(build(made), protocol=protocol))
        for module in ("chumpy", "chumpy.ch", "chumpy.reordering", "chumpy.ch_ops"):
            monkeypatch.delitem(sys.modules, module)
        return path

    return save


def make(cls, **state):
    made = cls()
    made.__dict__.update(state)
    return made


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_come_back_equal_from_every_protocol(tmp_path, protocol):
    stored = {"a": np.arange(6.0).reshape(2, 3), "n": np.float32(3), "b": np.asfortranarray(np.eye(3)), "t": (1, "é")}
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(stored, protocol=protocol))
    read = restricted_load(path)
    np.testing.assert_array_equal(read["a"], stored["a"])
    np.testing.assert_array_equal(read["b"], stored["b"])
    assert read["n"] == 3 and read["t"] == (1, "é")


@pytest.mark.parametrize("kind", ["csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array", "coo_array"])
def test_sparse_matrices_come_back_equal(tmp_path, kind):
    dense = np.diag([1.0, 2.0, 3.0])[:2]
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"J": getattr(scipy.sparse, kind)(dense)}, protocol=2))
    np.testing.assert_array_equal(restricted_load(path, ("numpy", "scipy"))["J"].toarray(), dense)


def test_a_sparse_matrix_under_the_module_path_of_old_scipy_is_read(tmp_path):
    matrix = scipy.sparse.csc_matrix(np.eye(3))
    data = pickle.dumps(matrix, protocol=0).replace(b"scipy.sparse._csc", b"scipy.sparse.csc")
    assert b"scipy.sparse.csc\n" in data
    (tmp_path / "x.pkl").write_bytes(data)
    read = restricted_load(tmp_path / "x.pkl", ("numpy", "scipy"))
    np.testing.assert_array_equal(read.toarray(), np.eye(3))


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_chumpy_arrays_become_plain_arrays_without_chumpy(tmp_path, chumpy, protocol):
    values = np.arange(12.0).reshape(3, 4)

    def build(made):
        whole = make(made["Ch"], x=values, _dirty_vars=set(), _itr=None)
        picked = make(made["Select"], a=whole, idxs=np.array([0, 5]), preferred_shape=(2, 1))
        return {"shapedirs": whole, "picked": picked, "list": [whole]}

    read = restricted_load(chumpy(tmp_path / "x.pkl", build, protocol), ("numpy", "chumpy"))
    assert type(read["shapedirs"]) is np.ndarray
    np.testing.assert_array_equal(read["shapedirs"], values)
    np.testing.assert_array_equal(read["picked"], [[0.0], [5.0]])
    np.testing.assert_array_equal(read["list"][0], values)


def test_other_chumpy_classes_are_refused_by_name(tmp_path, chumpy):
    path = chumpy(tmp_path / "model.pkl", lambda made: make(made["add"], a=1), 2)
    with pytest.raises(DataError, match=r"model\.pkl names chumpy\.ch_ops\.add"):
        restricted_load(path, ("numpy", "scipy", "chumpy"))


def test_code_is_refused_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match=r"evil\.pkl names (posix|nt)\.mkdir"):
        restricted_load(path, ("numpy", "scipy", "chumpy"))
    assert not (tmp_path / "ran").exists()


def test_groups_that_were_not_asked_for_are_refused(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(scipy.sparse.eye(2, format="csc")))
    with pytest.raises(DataError, match=r"scipy\.sparse\._csc\.csc_matrix"):
        restricted_load(path, ("numpy",))
    with pytest.raises(ValueError, match="unknown groups"):
        restricted_load(path, ("nunpy",))


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(np.zeros(100), protocol=2)[:60]])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "broken.pkl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.pkl is not a readable pickle"):
        restricted_load(path)
    with pytest.raises(DataError, match=r"broken\.pkl was not loaded"):
        torch_load(path)
    with pytest.raises(DataError, match="Cannot read"):
        restricted_load(tmp_path / "absent.pkl")


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_of_tensors_and_arrays_are_read(tmp_path, legacy):
    stored = {"exp": np.arange(4.0, dtype=np.float32), "K": torch.eye(3), "id": 7, "scalar": np.float64(2)}
    torch.save(stored, tmp_path / "x.frame", _use_new_zipfile_serialization=not legacy)
    read = torch_load(tmp_path / "x.frame")
    np.testing.assert_array_equal(read["exp"], stored["exp"])
    assert torch.equal(read["K"], stored["K"]) and read["id"] == 7 and read["scalar"] == 2


def test_torch_files_with_code_are_refused(tmp_path):
    torch.save({"f": os.mkdir}, tmp_path / "x.frame")
    with pytest.raises(DataError, match="mkdir"):
        torch_load(tmp_path / "x.frame")
