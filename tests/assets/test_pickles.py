import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

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
    with pytest.raises(
        DataError, match=r"model\.pkl: found a pickle that names chumpy\.ch_ops\.add, which is not among"
    ):
        restricted_load(path, ("numpy", "scipy", "chumpy"))


def test_code_is_refused_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match=r"evil\.pkl: found a pickle that names (posix|nt)\.mkdir, which"):
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
    with pytest.raises(DataError, match=r"broken\.pkl: found a pickle that is damaged"):
        restricted_load(path)
    with pytest.raises(DataError, match=r"broken\.pkl: found a torch file that (is damaged|names .* beside its)"):
        torch_load(path)
    with pytest.raises(DataError, match=r"absent\.pkl: found no such file"):
        restricted_load(tmp_path / "absent.pkl")


NUMBERS = (
    "?",
    "i1",
    "<i2",
    ">i4",
    "<i8",
    "u1",
    ">u2",
    "<u4",
    "u8",
    "<f2",
    "f4",
    ">f8",
    "<c8",
    ">c16",
    "S3",
    "<U4",
    ">U2",
)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", NUMBERS)
def test_all_kinds_of_numpy_come_back_as_pickle_reads_them(tmp_path, kind, protocol):
    rng = np.random.default_rng(3)
    whole = rng.integers(0, 100, (2, 3, 4)).astype(np.dtype(kind))
    stored = {
        "rows": whole,
        "columns": np.asfortranarray(whole),
        "turned": whole.transpose(1, 0, 2),
        "pieces": whole[::2, 1:, ::-1],
        "none": whole[:0],
        "one": whole[0, 0, 0],
        "point": np.array(whole[0, 0, 0]),
        "twice": [whole, whole],
        "kind": whole.dtype,
    }
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(stored, protocol=protocol))
    expected, read = pickle.loads(path.read_bytes()), restricted_load(path)
    assert read["twice"][0] is read["twice"][1] and read["kind"] == expected["kind"]
    for key in ("rows", "columns", "turned", "pieces", "none", "one", "point"):
        assert type(read[key]) is type(expected[key]) and read[key].dtype == expected[key].dtype.newbyteorder("="), key
        np.testing.assert_array_equal(read[key], expected[key])
    assert read["rows"].flags.writeable and not np.shares_memory(read["rows"], read["columns"])


@pytest.mark.parametrize("protocol", range(6))
def test_plain_containers_come_back_as_pickle_reads_them(tmp_path, protocol):
    deep = [1]
    for _ in range(50):
        deep = [deep]
    stored = {
        "numbers": (0, -1, 255, 2**31, -(2**63), 2**70, 1.5, -0.0, float("inf"), True, None, 1 + 2j),
        "text": ["", "a", "é" * 300, "\U0001f600", "two\nlines\\"],
        "bytes": (b"", b"\0\xff", b"a" * 300, bytearray(), bytearray(b"\0\xff" * 200)),
        "sets": [set(), {1, "a"}, frozenset({2.5}), frozenset()],
        "ordered": OrderedDict([("b", 1), ("a", [2])]),
        "keys": {1: "a", 2.5: "b", None: "c", b"d": "d"},
        "deep": deep,
        "objects": np.array([{"a": np.arange(3)}, None, "x", [1]], dtype=object),
        "table": np.asfortranarray(np.array([[1, "a"], [None, 2.5], [3, b"c"]], dtype=object)),
    }
    stored["numbers again"] = stored["numbers"]
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(stored, protocol=protocol))
    read = restricted_load(path)
    assert list(read) == list(stored) and type(read["ordered"]) is OrderedDict
    for key in ("numbers", "text", "bytes", "sets", "ordered", "keys", "deep", "numbers again"):
        assert read[key] == stored[key], key
    assert [type(v) for v in read["bytes"]] == [type(v) for v in stored["bytes"]]
    np.testing.assert_array_equal(read["objects"][0]["a"], np.arange(3))
    assert read["objects"][1:].tolist() == [None, "x", [1]] and read["table"].tolist() == stored["table"].tolist()


@pytest.mark.parametrize("kind", ["csc_matrix", "csr_matrix", "coo_matrix", "csc_array", "csr_array", "coo_array"])
@pytest.mark.parametrize("number", ["f4", "f8", "i8", "?", "c8"])
def test_random_sparse_matrices_come_back_equal(tmp_path, kind, number):
    rng = np.random.default_rng(5)
    dense = (rng.random((7, 11)) * (rng.random((7, 11)) < 0.3) * 9).astype(number)
    matrix = getattr(scipy.sparse, kind)(dense)
    for protocol in (2, 5):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps({"J": matrix}, protocol=protocol))
        read = restricted_load(tmp_path / "x.pkl", ("numpy", "scipy"))["J"]
        assert read.format == matrix.format and read.shape == matrix.shape
        np.testing.assert_array_equal(read.toarray(), dense)


KINDS = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
]
FORMATS = [
    {"_use_new_zipfile_serialization": False},
    *(
        {"_use_new_zipfile_serialization": zipped, "pickle_protocol": p}
        for zipped in (True, False)
        for p in (2, 3, 4, 5)
    ),
]


def _same(ours, theirs):
    """Equal in kind, shape and bits, which also says so of NaN."""
    assert type(ours) is torch.Tensor and not ours.requires_grad and ours.dtype == theirs.dtype
    theirs = theirs.detach()
    assert ours.shape == theirs.shape and ours.stride() == theirs.stride()
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_tensors_of_all_kinds_come_back_as_torch_reads_them(tmp_path, kind, how):
    whole = torch.arange(24.0).reshape(2, 3, 4).to(kind)
    stored = {
        "whole": whole,
        "turned": whole.permute(2, 0, 1),
        "piece": whole[1:, ::2, 1:3],
        "one": whole[1, 1, 1],
        "none": whole[:0],
        "spread": whole[0, 0, :1].expand(5, 1),
    }
    torch.save(stored, tmp_path / "x.pt", **how)
    read, arrays = torch_load(tmp_path / "x.pt"), torch_load(tmp_path / "x.pt", arrays=True)
    zipped = how["_use_new_zipfile_serialization"]
    # torch does not read what it wrote of these kinds in the format before.
    expected = torch.load(tmp_path / "x.pt", weights_only=False) if zipped or str(kind)[6:9] != "uin" else stored
    for key, tensor in expected.items():
        _same(read[key], tensor)
        plain = tensor.float() if kind == torch.bfloat16 else tensor
        assert arrays[key].dtype == plain.numpy().dtype
        np.testing.assert_array_equal(arrays[key], plain.numpy())
    read["whole"][0, 0, 0] = 1
    assert read["spread"][3, 0] == 1, "what shared its memory shares it again"


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.tried(
    "damaged inputs", "tracker files saved with gradients, as parameters, in bfloat16, in other protocols"
)
def test_parameters_and_gradients_come_back_as_plain_tensors(tmp_path, how):
    layer = torch.nn.Linear(3, 2)
    layer.weight.note = "an attribute"
    tied = torch.ones(3)
    tied.note = 1
    stored = {
        "parameter": torch.nn.Parameter(torch.randn(4)),
        "frozen": torch.nn.Parameter(torch.arange(3), requires_grad=False),
        "gradient": torch.randn(2, 2, dtype=torch.float16).requires_grad_(),
        "attribute": tied,
        "state": layer.state_dict(keep_vars=True),
        "size": torch.Size([1, 2]),
        "device": torch.device("cpu"),
        "kind": torch.float32,
        "list": [torch.nn.Parameter(torch.ones(2).bfloat16()), None],
    }
    torch.save(stored, tmp_path / "x.frame", **how)
    read = torch_load(tmp_path / "x.frame")
    for key in ("parameter", "frozen", "gradient", "attribute"):
        _same(read[key], stored[key])
    assert type(read["state"]) is OrderedDict and list(read["state"]) == ["weight", "bias"]
    for key in read["state"]:
        _same(read["state"][key], stored["state"][key])
    _same(read["list"][0], stored["list"][0])
    assert (read["size"], read["device"], read["kind"]) == ((1, 2), "cpu", "torch.float32")
    assert torch_load(tmp_path / "x.frame", arrays=True)["list"][0].tolist() == [1, 1]


def test_tensors_of_another_device_and_another_order_of_bytes_come_to_this_one(tmp_path):
    stored = {"a": torch.arange(3.0), "b": torch.tensor([1 + 2j]), "c": torch.tensor([True, False])}
    torch.save(stored, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as file:
        members = {name: file.read(name) for name in file.namelist()}
    root = next(iter(members)).split("/")[0]
    members[f"{root}/data.pkl"] = members[f"{root}/data.pkl"].replace(
        b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:3"
    )
    members[f"{root}/byteorder"] = b"big"
    for key, width in (("0", 4), ("1", 4)):
        words = np.frombuffer(members[f"{root}/data/{key}"], f"<u{width}")
        members[f"{root}/data/{key}"] = words.byteswap().tobytes()
    with zipfile.ZipFile(tmp_path / "y.pt", "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    for key, tensor in torch_load(tmp_path / "y.pt").items():
        _same(tensor, stored[key])


def test_a_file_without_checksums_is_read_and_one_with_wrong_ones_is_not(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(torch.arange(1000.0), tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(torch_load(tmp_path / "x.pt"), torch.arange(1000.0))
    torch.save(torch.arange(1000.0), tmp_path / "x.pt")
    content = bytearray((tmp_path / "x.pt").read_bytes())
    content[content.index(np.arange(10.0, dtype=np.float32).tobytes()) + 400] ^= 1
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(DataError, match="member 'x/data/0' is damaged"):
        torch_load(tmp_path / "x.pt")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_in_a_plain_pickle_become_arrays(tmp_path, protocol):
    whole = torch.arange(6.0).reshape(2, 3)
    stored = {"a": whole.T, "b": whole[1], "p": torch.nn.Parameter(whole), "h": whole.bfloat16()}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(stored, protocol=protocol))
    read = restricted_load(tmp_path / "x.pkl", ("numpy", "torch"))
    for key, tensor in stored.items():
        assert type(read[key]) is np.ndarray
        np.testing.assert_array_equal(read[key], tensor.detach().float().numpy())


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
