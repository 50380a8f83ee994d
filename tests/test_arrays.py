"""npy, npz and safetensors files of strangers: what their writers write comes back, all else is refused."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from headbench.harness.archives import DIRECTORY_BYTES, open_archive
from headbench.harness.arrays import read_npy, read_npz
from headbench.harness.reading import Unreadable
from headbench.harness.tensors import HEADER_BYTES, read_arrays, read_metadata, read_tensors

KINDS = ("?", "i1", "<i2", ">i4", "<i8", "u1", ">u2", "<u4", "u8", "<f2", "f4", ">f8", "<c8", "c16", "S3", "<U4", ">U2")
SHAPES = ((), (0,), (5,), (2, 3), (3, 0, 2), (2, 3, 4))


def _values(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(len(kind) + len(shape))
    return rng.integers(0, 100, shape).astype(np.dtype(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_plain_arrays_come_back_as_numpy_reads_them(tmp_path, kind) -> None:
    stored = {f"a{n}": _values(kind, shape) for n, shape in enumerate(SHAPES)}
    stored["f"] = np.asfortranarray(_values(kind, (4, 3)))
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **stored)
        with np.load(tmp_path / "x.npz") as expected:
            found = read_npz(tmp_path / "x.npz")
            assert sorted(found) == sorted(expected.files)
            for name, array in found.items():
                assert array.dtype == expected[name].dtype and array.flags.writeable
                np.testing.assert_array_equal(array, expected[name])
    for array in stored.values():
        np.save(tmp_path / "x.npy", array)
        np.testing.assert_array_equal(read_npy(tmp_path / "x.npy"), np.load(tmp_path / "x.npy"))
    assert list(read_npz(tmp_path / "x.npz", ["f", "absent"])) == ["f"]


def _npy(text: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    header = text.encode()
    size = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + size + header + content


def _dtype(kind: str, shape: str = "(1,)") -> bytes:
    return _npy(f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n", bytes(64))


BAD_NPY = {
    "a header that promises petabytes": (_dtype("'<f8'", "(1000000000, 1000000)"), "larger than any array"),
    "a header that promises a terabyte": (_dtype("'<f8'", "(1000000, 100000)"), "promises 800,000,000,000 bytes"),
    "negative sizes": (_dtype("'<f8'", "(-1,)"), "kind, order and shape"),
    "empty axes beside endless ones": (_dtype("'<f8'", "(0, 99999999999999999)"), "larger than any array"),
    "33 axes": (_dtype("'<u1'", "(" + "1," * 33 + ")"), "no shape"),
    "objects": (_dtype("'|O'"), "Python objects, which are not loaded"),
    "objects of a size": (_dtype("'O8'"), "Python objects, which are not loaded"),
    "records": (_dtype("[('a', '<f8')]"), "records"),
    "records with objects": (_dtype("[('a', '|O')]"), "records"),
    "dates": (_dtype("'<M8[s]'"), "kind"),
    "raw bytes": (_dtype("'|V8'"), "kind '|V8'"),
    "numbers of 16 bytes": (_dtype("'<f16'"), "kind '<f16'"),
    "text of no length": (_dtype("'<U0'"), "kind '<U0'"),
    "text that is no text": (
        _npy("{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }", b"\xff" * 4),
        "characters",
    ),
    "a call in the header": (_dtype("__import__('os').mkdir('ran')"), "kind, order and shape"),
    "more than a header": (
        _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'x': 1}", bytes(8)),
        "says more",
    ),
    "a header of a gigabyte": (b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**30) + b"{", "cut or of another"),
    "another version": (_npy("{}", version=b"\x09\x00"), "cut or of another"),
    "a shape of thousands of digits": (_dtype("'<f8'", f"({'9' * 5000},)"), "no shape"),
    "a cut array": (_dtype("'<f8'", "(9,)"), "promises 72 bytes"),
    "an empty file": (b"", "no .npy file"),
    "a web page": (b"<html>403</html>", "no .npy file"),
}


@pytest.mark.tried("hostile files", "npy and npz headers: objects, records, petabytes, code, endless shapes")
@pytest.mark.parametrize("case", BAD_NPY)
def test_arrays_that_are_not_plain_are_refused(tmp_path, case) -> None:
    content, said = BAD_NPY[case]
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        read_npy(tmp_path / "x.npy")
    assert str(caught.value).startswith(f"{tmp_path / 'x.npy'}: found an array that cannot be read: ")
    assert said in str(caught.value) and str(caught.value).count("\n") == 0
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(Unreadable, match="whose array a cannot be read"):
        read_npz(tmp_path / "x.npz")


def _zip(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def _array(count: int) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(count))
    return stream.getvalue()


def _claiming(size: int) -> bytes:
    """An archive whose directory and member claim another size than they have."""
    content = bytearray(_zip(("a.npy", _array(4))))
    content[22:26] = struct.pack("<I", size)
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", size)
    return bytes(content)


def _overlapping() -> bytes:
    """Two members of other names over the same bytes."""
    content = _zip(("a.npy", _array(4)), ("b.npy", _array(4)))
    second = content.rindex(b"PK\x01\x02")
    return content[: second + 42] + struct.pack("<I", 0) + content[second + 46 :]


def _twice() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return _zip(("a.npy", _array(4)), ("a.npy", _array(4)))


def _endless_directory() -> bytes:
    """An archive whose directory takes more than is read."""
    content = _zip(("a.npy", _array(4)))
    at = content.index(b"PK\x01\x02")
    entry = content[at : content.index(b"PK\x05\x06")]
    many = DIRECTORY_BYTES // len(entry) + 1
    end = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 65535, 65535, many * len(entry), at, 0)
    return content[:at] + entry * many + end


BAD_ARCHIVES = {
    "a zip bomb": (lambda: _zip(("a.npy", _array(2**18))), "takes 2,097,280 bytes, at most"),
    "two halves of a zip bomb": (lambda: _zip(("a.npy", _array(2**16 + 9)), ("b.npy", _array(2**16))), "at most"),
    "a member that claims more": (lambda: _claiming(90_000), "is damaged"),
    "a member that claims less": (lambda: _claiming(40), "is damaged"),
    "a member over another": (_overlapping, "overlaps"),
    "a name twice": (_twice, "is in it twice"),
    "an unusual packing": (lambda: _zip(("a.npy", _array(9)), method=zipfile.ZIP_LZMA), r"packed in a way"),
    "an endless directory": (_endless_directory, "no zip archive"),
    "a single array": (lambda: _array(4), "a single array instead of an npz archive"),
    "an archive behind something else": (lambda: b"\x7fELF" + _zip(("a.npy", _array(4))), "no zip archive"),
    "a cut archive": (lambda: _zip(("a.npy", _array(4)))[:-30], "no zip archive"),
}


@pytest.mark.tried(
    "hostile files", "npz archives: bombs, members that overlap, lie or are there twice, endless directories"
)
@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_archives_that_lie_are_refused(tmp_path, case) -> None:
    build, said = BAD_ARCHIVES[case]
    (tmp_path / "x.npz").write_bytes(build())
    with pytest.raises(Unreadable, match=said) as caught:
        read_npz(tmp_path / "x.npz", limit=2**20)
    assert str(caught.value).startswith(f"{tmp_path / 'x.npz'}: found ")


def test_a_damaged_member_is_noticed(tmp_path) -> None:
    content = bytearray(_zip(("a.npy", _array(400)), method=zipfile.ZIP_STORED))
    content[1000] ^= 1
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(Unreadable, match=r"member 'a\.npy' is damaged"):
        read_npz(tmp_path / "x.npz")
    with open_archive(tmp_path / "x.npz") as archive, pytest.raises(Unreadable, match="without the member 'b'"):
        archive.read("b", 10)


@pytest.mark.parametrize("read", [read_npy, read_npz, read_tensors, read_arrays, read_metadata])
@pytest.mark.tried("hostile files", "named pipes and Git LFS pointers instead of arrays and tensors")
def test_pipes_pointers_and_missing_files_are_told(tmp_path, read) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unreadable, match="found a named pipe"):
        read(tmp_path / "pipe")
    (tmp_path / "x.npz").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(Unreadable, match="found a Git LFS pointer") as caught:
        read(tmp_path / "x.npz")
    assert "git lfs pull" in caught.value.help
    with pytest.raises(Unreadable) as caught:
        read(tmp_path / "absent")
    assert caught.value.missing


def test_tensors_come_back_with_what_stands_beside_them(tmp_path) -> None:
    tensors = {"a": torch.randn(2, 3), "b": torch.arange(4), "h": torch.ones(3).bfloat16(), "none": torch.zeros(0, 3)}
    save_file(tensors, tmp_path / "x.safetensors", {"loss": "0.5"})
    found = read_tensors(tmp_path / "x.safetensors")
    assert sorted(found) == sorted(tensors) and all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert all(found[name].dtype == tensors[name].dtype for name in tensors)
    assert read_metadata(tmp_path / "x.safetensors") == {"loss": "0.5"}
    save_file({"a": tensors["a"]}, tmp_path / "y.safetensors")
    np.testing.assert_array_equal(read_arrays(tmp_path / "y.safetensors")["a"], tensors["a"].numpy())
    assert read_metadata(tmp_path / "y.safetensors") == {}


def _safetensors(header: object, content: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def _entry(kind: str = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"a": {"dtype": kind, "shape": shape, "data_offsets": offsets}}


BAD_TENSORS = {
    "an empty file": b"",
    "a web page": b"<html>403 forbidden</html>",
    "a header longer than the file": struct.pack("<Q", 2**62) + b"{}",
    "a header of megabytes": _safetensors(b"{" + b" " * HEADER_BYTES + b"}"),
    "a header that nests": _safetensors(b"[" * 5000 + b"]" * 5000),
    "a header that is a list": _safetensors([]),
    "a header in another encoding": _safetensors('{"é": 1}'.encode("latin-1")),
    "numbers beside the tensors": _safetensors({"__metadata__": {"a": 1}}),
    "a cut file": _safetensors(_entry(), bytes(7)),
    "more than the tensors": _safetensors(_entry(), bytes(9)),
    "sizes that do not fit": _safetensors(_entry(shape=(3,)), bytes(8)),
    "negative sizes": _safetensors(_entry(shape=(-1, -2)), bytes(8)),
    "offsets beyond the file": _safetensors(_entry(offsets=(8, 16)), bytes(8)),
    "offsets in reverse": _safetensors(_entry(offsets=(8, 0)), bytes(8)),
    "petabytes": _safetensors(_entry(shape=(2**40, 2**20), offsets=(0, 2**62)), bytes(8)),
    "an unknown kind": _safetensors(_entry("F7"), bytes(8)),
    "kinds that are lists": _safetensors({"a": {"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "an entry that is a number": _safetensors({"a": 1}),
    "tensors that overlap": _safetensors(
        {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"}, bytes(8)
    ),
}


@pytest.mark.tried("hostile files", "safetensors files with headers that lie, nest, or take megabytes")
@pytest.mark.parametrize("case", BAD_TENSORS)
def test_safetensors_that_lie_are_refused_in_our_words(tmp_path, case) -> None:
    (tmp_path / "x.safetensors").write_bytes(BAD_TENSORS[case])
    for read in (read_tensors, read_arrays):
        with pytest.raises(Unreadable, match=r"found (no|a) safetensors file") as caught:
            read(tmp_path / "x.safetensors")
        assert "Error while" not in str(caught.value)
