"""Pickles that attack their reader, put together operation by operation; none is ever given to pickle or torch."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping

LARGE = 1 << 40
NONE, TRUE, FALSE, ADDRESS = b"N", b"\x88", b"\x89", b"C\x08AAAAAAAA"


class Evil:
    """Makes a folder named "ran" when it is unpickled as pickle would."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def program(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    content = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(content)) + content


def whole(value: int) -> bytes:
    digits = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(digits)]) + digits


def raw(content: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(content)) + content


def many(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def items(*parts: bytes) -> bytes:
    return b"](" + b"".join(parts) + b"e"


def pairs(*parts: bytes) -> bytes:
    return b"}(" + b"".join(parts) + b"u"


def call(of: bytes, *arguments: bytes) -> bytes:
    return of + many(*arguments) + b"R"


def sizes(*sides: int) -> bytes:
    return many(*map(whole, sides))


def kept(part: bytes, index: int) -> bytes:
    return part + b"r" + struct.pack("<I", index)


def again(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)


def plain_kind(code: str) -> bytes:
    return call(name("numpy", "dtype"), text(code), FALSE, TRUE)


def kind_state(
    order: str = "<", size: int = -1, flags: int = 0, inner: bytes = NONE, names: bytes = NONE, fields: bytes = NONE
) -> bytes:
    return many(whole(3), text(order), inner, names, fields, whole(size), whole(-1), whole(flags))


def kind(code: str = "f8", **state) -> bytes:
    return plain_kind(code) + kind_state(**state) + b"b"


EMPTY = call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), sizes(0), raw(b"b"))


def array_state(shape: bytes, of: bytes, content: bytes, fortran: bytes = FALSE) -> bytes:
    return many(whole(1), shape, of, fortran, content)


def array(shape: bytes, of: bytes, content: bytes, fortran: bytes = FALSE) -> bytes:
    return EMPTY + array_state(shape, of, content, fortran) + b"b"


def numbers(*values: float) -> bytes:
    return array(sizes(len(values)), kind(), raw(struct.pack(f"<{len(values)}d", *values)))


def indices(*values: int) -> bytes:
    return array(sizes(len(values)), kind("i4"), raw(struct.pack(f"<{len(values)}i", *values)))


def shared(depth: int, pair: bytes = b"](%s%se") -> bytes:
    """A value that holds the one before twice, and so on: 2 to the power of `depth` values once written out."""
    body = kept(whole(1), 0) + b"0"
    for index in range(1, depth):
        body += kept(pair % (again(index - 1), again(index - 1)), index) + b"0"
    return body + again(depth - 1)


def instance(module: str, attribute: str, **state: bytes) -> bytes:
    body = name(module, attribute) + b")\x81"
    return body + pairs(*(part for key, value in state.items() for part in (text(key), value))) + b"b"


def sparse(data: bytes, index: bytes, starts: bytes, shape: bytes, stem: str = "csc") -> bytes:
    state = {"_shape": shape, "data": data, "indices": index, "indptr": starts}
    return instance(f"scipy.sparse.{stem}", f"{stem}_matrix", **state)


def storage(key: str = "0", count: int = 4, cls: str = "FloatStorage", *more: bytes) -> bytes:
    module, _, attribute = cls.rpartition(".")
    return many(text("storage"), name(module or "torch", attribute), text(key), text("cpu"), whole(count), *more) + b"Q"


def tensor(of: bytes, offset: int, shape: bytes, strides: bytes, *more: bytes, version: str = "_v2") -> bytes:
    hooks = call(name("collections", "OrderedDict"))
    parts = (of, whole(offset), shape, strides, FALSE, hooks, *more)
    return call(name("torch._utils", f"_rebuild_tensor{version}"), *parts)


FLOATS = struct.pack("<4f", 1, 2, 3, 4)


def archive(
    body: bytes,
    storages: Mapping[str, bytes] | None = None,
    more: Mapping[str, bytes] | None = None,
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """A zip file as torch.save writes it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        file.writestr("archive/data.pkl", program(body, 2))
        for key, content in ({"0": FLOATS} if storages is None else storages).items():
            file.writestr(f"archive/data/{key}", content)
        for member, content in (more or {}).items():
            file.writestr(member, content)
    return stream.getvalue()


def legacy(
    body: bytes,
    storages: bytes = struct.pack("<q", 4) + FLOATS,
    keys: object = ("0",),
    magic: int = 0x1950A86A20F9469CFC6C,
    protocol: int = 1001,
    machine: object = None,
) -> bytes:
    """A file as torch.save wrote it before 1.6."""
    about = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}} if machine is None else machine
    head = b"".join(pickle.dumps(part, 2) for part in (magic, protocol, about))
    return head + program(body, 2) + pickle.dumps(list(keys) if isinstance(keys, tuple) else keys, 2) + storages


def object_npy(content: bytes, shape: str = "()") -> bytes:
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


OBJECT_FLAGS = kind("O8", order="|", flags=63)
WIDE = kept(plain_kind("U1") + kind_state(size=4, flags=8) + b"b", 900)
VIEW = ("with a tensor that", FLOATS)

PICKLES: dict[str, tuple[bytes, str]] = {
    # numpy's data types
    "objects whose dtype denies them": (array(sizes(1), kind("O8", order="|", flags=0), ADDRESS), "denies"),
    "a scalar of denied objects": (
        call(name("numpy.core.multiarray", "scalar"), kind("O8", order="|"), ADDRESS),
        "denies",
    ),
    "objects from bytes": (array(sizes(1), OBJECT_FLAGS, ADDRESS), "one by one"),
    "a scalar of objects": (call(name("numpy.core.multiarray", "scalar"), OBJECT_FLAGS, items(NONE)), "an object"),
    "objects without a state": (array(sizes(1), plain_kind("O8"), ADDRESS), "one by one"),
    "an object field over bytes": (
        array(
            sizes(1),
            plain_kind("V8")
            + kind_state("|", 8, names=many(text("a")), fields=pairs(text("a"), many(plain_kind("O8"), whole(0))))
            + b"b",
            ADDRESS,
        ),
        "records",
    ),
    "a data type within a data type": (
        array(sizes(1), plain_kind("V8") + kind_state("|", 8, inner=many(plain_kind("O8"), sizes(1))) + b"b", ADDRESS),
        "records",
    ),
    "raw memory": (array(sizes(1), kind("V8", order="|"), ADDRESS), "kind '|V8'"),
    "dates": (array(sizes(1), kind("M8"), ADDRESS), "kind '<M8'"),
    "numbers of 16 bytes": (array(sizes(1), kind("f16"), bytes(8)), "damaged"),
    "an item size after the array": (
        items(array(sizes(1), WIDE, raw(b"1\0\0\0")), again(900) + kind_state(size=1 << 26, flags=8) + b"b"),
        "data type that is not read",
    ),
    "an item size of its own": (array(sizes(1), kind("U1", size=1 << 26, flags=8), raw(b"1\0\0\0")), "another size"),
    "a smaller item size": (array(sizes(8), kind("S8", order="|", size=1), raw(b"12345678")), "another size"),
    "flags of objects on numbers": (array(sizes(1), kind("f8", flags=63), ADDRESS), "flags of objects"),
    "a byte order that is none": (array(sizes(1), kind("f8", order="!"), ADDRESS), "state is not read"),
    "a data type with metadata": (
        array(sizes(1), plain_kind("f8") + many(*[whole(4)] * 9) + b"b", ADDRESS),
        "state is not read",
    ),
    "a data type made of a dictionary": (array(sizes(1), call(name("numpy", "dtype"), pairs()), ADDRESS), "data type"),
    # Shapes
    "a terabyte of eight bytes": (array(sizes(1 << 37), kind(), ADDRESS), "1,099,511,627,776 bytes, there are 8"),
    "a product beyond 64 bits": (array(sizes(1 << 32, 1 << 32), kind(), ADDRESS), "larger than any array"),
    "an empty axis beside an endless one": (array(sizes(0, 1 << 62), kind(), raw(b"")), "larger than any array"),
    "a negative size": (array(sizes(-1), kind(), ADDRESS), "no shape"),
    "two negative sizes": (array(sizes(-1, -1), kind(), ADDRESS), "no shape"),
    "sizes that are texts": (array(many(text("1")), kind(), ADDRESS), "no shape"),
    "a truth value as size": (array(many(TRUE), kind(), ADDRESS), "no shape"),
    "33 axes": (array(sizes(*[1] * 33), kind(), ADDRESS), "no shape"),
    "a shape that is a number": (array(whole(1), kind(), ADDRESS), "kind or shape"),
    "less content than the shape": (array(sizes(2), kind(), ADDRESS), "needs 16 bytes, there are 8"),
    "more content than the shape": (array(sizes(1), kind("f4"), ADDRESS), "needs 4 bytes, there are 8"),
    "text that is no text": (array(sizes(1), kind("U1", size=4, flags=8), raw(b"\xff" * 4)), "no characters"),
    "objects listed in numbers": (array(sizes(1), kind(), items(NONE)), "objects in an array"),
    "fewer objects than the shape": (array(sizes(1 << 30), OBJECT_FLAGS, items(NONE)), "one by one"),
    # Arrays that are not whole
    "an array without a state": (EMPTY, "not stored whole"),
    "an array that would show old memory": (
        call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), sizes(1 << 30), raw(b"d")),
        "not stored whole",
    ),
    "an array with two states": (
        array(sizes(1), kind(), ADDRESS) + array_state(sizes(9), kind(), raw(bytes(72))) + b"b",
        "not stored whole",
    ),
    "an array of another class": (
        call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "dtype"), sizes(0), raw(b"b"))
        + array_state(sizes(1), kind(), ADDRESS)
        + b"b",
        "not stored whole",
    ),
    "a buffer in an odd order": (
        call(name("numpy.core.numeric", "_frombuffer"), ADDRESS, kind(), sizes(1), text("A")),
        "order",
    ),
    "a buffer with axes that repeat": (
        call(name("numpy.core.numeric", "_frombuffer"), ADDRESS, kind(), sizes(1, 1), text("K"), sizes(0, 0)),
        "axes",
    ),
    "items of an array": (array(sizes(1), kind(), ADDRESS) + b"(" + whole(0) + NONE + b"u", "no dictionary"),
    "a thousand arrays of the same bytes": (
        kept(raw(bytes(1 << 16)), 0) + b"0" + items(*[array(sizes(1 << 13), kind(), again(0))] * 1200),
        "stands for more than",
    ),
    # What is changed or called
    "a state for a class": (name("numpy", "ndarray") + pairs() + b"b", "did not make"),
    "a state for a function": (name("_codecs", "encode") + pairs(text("a"), NONE) + b"b", "did not make"),
    "a state for a list": (items() + pairs() + b"b", "did not make"),
    "a class as a value": (name("numpy", "ndarray"), "as a value"),
    "a call of a list": (items() + many() + b"R", "no function"),
    "a call of what a call gives": (EMPTY + many() + b"R", "no function"),
    "a call with a list of arguments": (name("_codecs", "encode") + items() + b"R", "no function"),
    "keywords": (name("numpy", "dtype") + many(text("f8")) + pairs(text("align"), TRUE) + b"\x92", "keywords"),
    "an object on another base": (
        call(name("copyreg", "_reconstructor"), name("chumpy.ch", "Ch"), name("numpy", "ndarray"), NONE),
        "in a way",
    ),
    "an object rebuilt of itself": (
        call(name("copyreg", "_reconstructor"), name("copyreg", "_reconstructor"), name("builtins", "object"), NONE),
        "in a way",
    ),
    # Names
    "a system call": (name("os", "system") + many(text("mkdir ran")) + b"R", "names os.system"),
    "a system call of an old class": (b"(" + text("mkdir ran") + b"ios\nsystem\n", "names os.system"),
    "a system call as an object": (b"(" + name("os", "system") + text("mkdir ran") + b"o", "names os.system"),
    "evaluation": (call(name("builtins", "eval"), text("1")), "names builtins.eval"),
    "attributes": (call(name("operator", "attrgetter"), text("a")), "names operator.attrgetter"),
    "numpy's own loader": (call(name("numpy", "load"), text("x"), NONE, TRUE), "names numpy.load"),
    "numpy's files": (
        call(name("numpy.core.multiarray", "fromfile"), text("x")),
        "names numpy.core.multiarray.fromfile",
    ),
    "torch's own loader": (call(name("torch", "load"), text("x")), "names torch.load"),
    "scipy beyond matrices": (call(name("scipy.sparse", "load_npz"), text("x")), "names scipy.sparse.load_npz"),
    "a name within a name": (text("numpy") + text("ndarray.__class__") + b"\x93", "names numpy.ndarray.__class__"),
    "a name of two lines": (text("os\nsystem") + text("\x1b[31m\n") + b"\x93", r"names os system.\x1b[31m"),
    "a name of a million letters": (text("a" * 10**6) + text("b") + b"\x93", "aaa…, which"),
    "half a pair in a name": (text("numpy") + text("\ud800") + b"\x93", "names numpy"),
    "a name that is a number": (text("numpy") + whole(1) + b"\x93", "no text"),
    "a name that is a list": (items() + text("ndarray") + b"\x93", "no text"),
    "registered extensions": (b"\x82\x01", "no operation"),
    "extensions of two bytes": (b"\x83\x01\x00", "no operation"),
    "extensions of four bytes": (b"\x84\x01\x00\x00\x00", "no operation"),
    "buffers outside": (b"\x97", "no operation"),
    "a buffer that is made read-only": (raw(b"a") + b"\x98", "no operation"),
    "something outside by text": (b"Pabc\n", "outside"),
    "something outside by value": (whole(1) + b"Q", "outside"),
    # Containers
    "another codec": (call(name("_codecs", "encode"), text("a"), text("rot13")), "in a way"),
    "a codec that unpacks": (call(name("_codecs", "encode"), raw(b"a"), text("zlib")), "in a way"),
    "text beyond latin-1": (call(name("_codecs", "encode"), text("\u0416"), text("latin1")), "damaged"),
    "a decoder": (call(name("_codecs", "decode"), raw(b"a"), text("zlib")), "names _codecs.decode"),
    "a terabyte of zeros": (call(name("builtins", "bytearray"), whole(LARGE)), "in a way"),
    "a terabyte of zeros as bytes": (call(name("builtins", "bytes"), whole(LARGE)), "in a way"),
    "a complex number of texts": (call(name("builtins", "complex"), text("1"), text("1")), "in a way"),
    "a set of a number": (call(name("builtins", "set"), whole(LARGE)), "in a way"),
    "a set of arrays": (call(name("builtins", "set"), items(numbers(1))), "as a key"),
    "an array as a key": (pairs(numbers(1), NONE), "as a key"),
    "a number of 200 digits as a key": (pairs(whole(10**100), NONE), "as a key"),
    "an ordered dictionary of numbers": (call(name("collections", "OrderedDict"), items(whole(1))), "in a way"),
    "members of a list": (items() + b"(" + NONE + b"\x90", "no set"),
    "appending to a tuple": (many() + NONE + b"a", "no list"),
    "keys of a list": (items() + whole(1) + NONE + b"s", "no dictionary"),
    # Endless ones
    "lists shared 39 deep": (shared(39), "stands for more than"),
    "tuples shared 39 deep": (shared(39, b"(%s%st"), "stands for more than"),
    "dictionaries shared 39 deep": (shared(39, b"}(" + text("a") + b"%s" + text("b") + b"%su"), "stands for more than"),
    "a key of shared tuples": (pairs(shared(39, b"(%s%st"), NONE), "stands for more than"),
    "a set of shared tuples": (b"\x8f(" + shared(39, b"(%s%st") + b"\x90", "stands for more than"),
    "pairs that are duplicated": (whole(1) + b"2\x86" * 60, "stands for more than"),
    "a list that holds itself": (kept(b"]", 0) + again(0) + b"a", "holds itself"),
    "a dictionary that holds itself": (kept(b"}", 0) + text("a") + again(0) + b"s", "holds itself"),
    "a tuple that holds itself": (kept(b"]", 0) + again(0) + b"\x85a", "holds itself"),
    "an array that holds itself": (
        kept(EMPTY, 0) + array_state(sizes(1), OBJECT_FLAGS, items(again(0))) + b"b",
        "holds itself",
    ),
    "a chumpy array of itself": (
        kept(name("chumpy.ch", "Ch") + b")\x81", 0) + pairs(text("x"), again(0)) + b"b",
        "holds itself",
    ),
    "a hundred thousand levels of lists": (b"]" * 10**5 + b"a" * (10**5 - 1), "levels deep"),
    "a hundred thousand levels of tuples": (b")" + b"\x85" * 10**5, "levels deep"),
    "a hundred thousand levels of a key": (b"}" + b")" + b"\x85" * 10**5 + NONE + b"s", "levels deep"),
    "millions of operations": (b"N0" * 1_100_000 + NONE, "operations"),
    "a hundred thousand marks": (b"(" * 10**5, "one value"),
    "a number of a million digits": (b"L" + b"9" * 10**6 + b"L\n", "cannot be read"),
    "a float of a million digits": (b"F" + b"9" * 10**6 + b"\n", "cannot be read"),
    "a number of a megabyte": (b"\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20), "cannot be read"),
    # Sizes that are not there
    "a memo of two billion": (NONE + b"r" + struct.pack("<I", (1 << 31) - 1) + b"00", "did not begin"),
    "a number of two gigabytes": (b"\x8b" + struct.pack("<i", (1 << 31) - 1), "ends too soon"),
    "a number of a negative size": (b"\x8b" + struct.pack("<i", -1), "ends too soon"),
    "a string of a negative size": (b"T" + struct.pack("<i", -5) + b"abc", "ends too soon"),
    "bytes of exabytes": (b"\x8e" + struct.pack("<Q", 1 << 62), "ends too soon"),
    "text of exabytes": (b"\x8d" + struct.pack("<Q", (1 << 64) - 1), "ends too soon"),
    "a bytearray of exabytes": (b"\x96" + struct.pack("<Q", 1 << 62), "ends too soon"),
    "a string without an end": (b"S'abc", "ends too soon"),
    "a string without quotes": (b"Sabc\n", "cannot be read"),
    # Damage
    "nothing": (b"", "one value"),
    "two values": (NONE + NONE, "one value"),
    "a group that never began": (b"t", "did not begin"),
    "a value that was not kept": (again(7), "did not keep"),
    "a value from an empty stack": (b"a", "not there"),
    "text that is no UTF-8": (b"X\x02\x00\x00\x00\xff\xff", "cannot be read"),
    "an unknown operation": (b"\xfe", "no operation"),
    # scipy and chumpy
    "a row beyond the matrix": (sparse(numbers(1), indices(9), indices(0, 1), sizes(2, 1)), "do not fit"),
    "a negative row": (sparse(numbers(1), indices(-9), indices(0, 1), sizes(2, 1)), "do not fit"),
    "columns that end before they begin": (
        sparse(numbers(1, 2), indices(0, 0), indices(0, 9, 2), sizes(2, 2)),
        "do not fit",
    ),
    "columns that are missing": (sparse(numbers(1), indices(0), indices(0, 1), sizes(2, 5)), "do not fit"),
    "a matrix of a trillion cells": (sparse(numbers(), indices(), indices(0), sizes(1 << 20, 1 << 20)), "cells"),
    "a matrix of negative size": (sparse(numbers(), indices(), indices(0), sizes(-1, -1)), "cells"),
    "a matrix without a shape": (sparse(numbers(), indices(), indices(0), NONE), "do not fit"),
    "a matrix of text": (sparse(text("a"), indices(0), indices(0, 1), sizes(1, 1)), "do not fit"),
    "a matrix with fractions as rows": (sparse(numbers(1), numbers(0), indices(0, 1), sizes(1, 1)), "indices"),
    "a coordinate beyond the matrix": (
        instance(
            "scipy.sparse._coo", "coo_matrix", _shape=sizes(2, 2), data=numbers(1), row=indices(5), col=indices(0)
        ),
        "do not fit",
    ),
    "a matrix whose state is a list": (
        name("scipy.sparse.csc", "csc_matrix") + b")\x81" + items() + b"b",
        "dictionary",
    ),
    "a chumpy array of nothing": (name("chumpy.ch", "Ch") + b")\x81", "no array"),
    "a chumpy array of objects": (
        instance("chumpy.ch", "Ch", x=array(sizes(1), OBJECT_FLAGS, items(NONE))),
        "no array",
    ),
    "elements beyond a chumpy array": (
        instance("chumpy.reordering", "Select", a=numbers(1, 2), idxs=indices(0, 2)),
        "picks what is not there",
    ),
    "a shape beyond a chumpy array": (
        instance("chumpy.reordering", "Select", a=numbers(1, 2), idxs=indices(0), preferred_shape=sizes(1 << 39)),
        "does not fit",
    ),
    # Pickles and torch files within a pickle
    "a torch file that runs": (
        tensor(call(name("torch.storage", "_load_from_bytes"), raw(pickle.dumps(Evil(), 2))), 0, sizes(1), sizes(1)),
        f"names {os.mkdir.__module__}.mkdir",
    ),
    "a torch file within a torch file": (
        tensor(
            call(
                name("torch.storage", "_load_from_bytes"),
                raw(legacy(call(name("torch.storage", "_load_from_bytes"), raw(b"a")))),
            ),
            0,
            sizes(1),
            sizes(1),
        ),
        "names torch.storage._load_from_bytes",
    ),
    "a torch file of something else": (
        tensor(call(name("torch.storage", "_load_from_bytes"), raw(legacy(b"N", b"", ()))), 0, sizes(1), sizes(1)),
        "without a storage",
    ),
    "a storage outside a tensor": (
        call(name("torch.storage", "_load_from_bytes"), raw(b"a")),
        "outside of what",
    ),
}
"""What -> (body of a pickle, words of the refusal)."""

ARCHIVES: dict[str, tuple[bytes, str]] = {
    "a tensor longer than its storage": (archive(tensor(storage(), 0, sizes(5), sizes(1))), "beyond its storage"),
    "strides beyond the storage": (archive(tensor(storage(), 0, sizes(2, 2), sizes(2, 2))), "beyond its storage"),
    "an offset beyond the storage": (archive(tensor(storage(), 1 << 39, sizes(1), sizes(1))), "beyond its storage"),
    "an offset before the storage": (archive(tensor(storage(), -1, sizes(1), sizes(1))), "no shape"),
    "negative strides": (archive(tensor(storage(), 3, sizes(2), sizes(-3))), "no shape"),
    "negative sizes": (archive(tensor(storage(), 0, sizes(-2), sizes(1))), "no shape"),
    "sizes and strides of other lengths": (archive(tensor(storage(), 0, sizes(2, 2), sizes(1))), "no shape"),
    "an endless tensor of one number": (
        archive(tensor(storage(), 0, sizes(1 << 39), sizes(0))),
        "stands for more than",
    ),
    "a product beyond 64 bits": (
        archive(tensor(storage(), 0, sizes(1 << 33, 1 << 33), sizes(0, 0))),
        "larger than any",
    ),
    "an offset that is text": (
        archive(call(name("torch._utils", "_rebuild_tensor"), storage(), text("0"), sizes(1), sizes(1))),
        "no shape",
    ),
    "a tensor with too few parts": (archive(call(name("torch._utils", "_rebuild_tensor_v2"), storage())), "in a way"),
    "a tensor of no storage": (archive(tensor(NONE, 0, sizes(1), sizes(1))), "without a storage"),
    "a conjugated tensor": (
        archive(tensor(storage(), 0, sizes(1), sizes(1), pairs(text("conj"), TRUE))),
        "conjugated",
    ),
    "an untyped storage without a kind": (
        archive(tensor(storage(count=16, cls="torch.storage.UntypedStorage"), 0, sizes(1), sizes(1))),
        "kind",
    ),
    "another kind than the storage's": (
        archive(tensor(storage(), 0, sizes(1), sizes(1), name("torch", "int64"), version="_v3")),
        "kind",
    ),
    "a kind that is not read": (
        archive(tensor(storage(), 0, sizes(1), sizes(1), name("torch", "float8_e5m2"), version="_v3")),
        "names torch.float8_e5m2",
    ),
    "a sparse tensor": (
        archive(call(name("torch._utils", "_rebuild_sparse_tensor"), NONE, NONE)),
        "names torch._utils",
    ),
    "a storage of another class": (archive(tensor(storage(cls="Tensor"), 0, sizes(1), sizes(1))), "kind that is not"),
    "a storage of a negative size": (archive(tensor(storage(count=-1), 0, sizes(1), sizes(1))), "size is not read"),
    "one storage of two kinds": (
        archive(
            items(
                tensor(storage(), 0, sizes(1), sizes(1)),
                tensor(storage(count=2, cls="DoubleStorage"), 0, sizes(1), sizes(1)),
            )
        ),
        "two kinds or sizes",
    ),
    "a shorter storage": (archive(tensor(storage(), 0, sizes(1), sizes(1)), {"0": FLOATS[:-1]}), "15 bytes"),
    "a longer storage": (archive(tensor(storage(), 0, sizes(1), sizes(1)), {"0": FLOATS * 2}), "32 bytes"),
    "a missing storage": (archive(tensor(storage(), 0, sizes(1), sizes(1)), {}), "without the member"),
    "a storage by a path": (
        archive(tensor(storage("../../../etc/passwd"), 0, sizes(1), sizes(1))),
        "without the member",
    ),
    "packed storages": (
        archive(
            tensor(storage(count=1 << 20), 0, sizes(1), sizes(1)), {"0": bytes(4 << 20)}, method=zipfile.ZIP_DEFLATED
        ),
        "are packed",
    ),
    "two pickles": (archive(NONE, more={"other/data.pkl": program(NONE)}), "2 members data.pkl"),
    "no pickle": (archive(NONE).replace(b"data.pkl", b"dada.pkl"), "0 members data.pkl"),
    "a program": (archive(NONE, more={"archive/constants.pkl": b"x"}), "TorchScript"),
    "an odd order of bytes": (archive(NONE, more={"archive/byteorder": b"middle"}), "order of bytes"),
    "a module outside": (archive(many(text("module"), NONE, NONE, NONE, NONE) + b"Q"), "outside"),
    "a tensor of a module": (
        archive(tensor(many(text("module"), NONE, NONE, NONE, NONE) + b"Q", 0, sizes(1), sizes(1))),
        "no storage",
    ),
    "a storage as a value": (archive(storage()), "outside a tensor"),
    "a parameter of a list": (
        archive(call(name("torch._utils", "_rebuild_parameter"), items(), TRUE, NONE)),
        "in a way",
    ),
    "a parameter of itself": (
        archive(kept(name("torch._utils", "_rebuild_parameter"), 0) + many(again(0), TRUE, NONE) + b"R"),
        "in a way",
    ),
    "a parameter of another type": (
        archive(
            call(
                name("torch._tensor", "_rebuild_from_type_v2"),
                name("collections", "OrderedDict"),
                name("torch", "Tensor"),
                many(),
                pairs(),
            )
        ),
        "in a way",
    ),
    "code": (archive(call(name("os", "mkdir"), text("ran"))), "names os.mkdir"),
    "shared lists": (archive(shared(39)), "stands for more than"),
    "an item size after the array": (
        archive(pairs(text("d"), WIDE, text("m"), again(900) + kind_state(size=1 << 26, flags=8) + b"b")),
        "data type that is not read",
    ),
    "a cut archive": (archive(tensor(storage(), 0, sizes(1), sizes(1)))[:-40], "zip archive"),
}
"""What -> (a torch file of today, words of the refusal)."""

OLD_STORAGE = storage("0", 4, "FloatStorage", NONE)
OLD_TENSOR = tensor(OLD_STORAGE, 0, sizes(4), sizes(1))
LEGACY: dict[str, tuple[bytes, str]] = {
    "a wrong magic number": (legacy(OLD_TENSOR, magic=7), "no file of torch.save"),
    "a magic text": (legacy(OLD_TENSOR, magic="x"), "no file of torch.save"),
    "another protocol": (legacy(OLD_TENSOR, protocol=9), "another version"),
    "another order of bytes": (legacy(OLD_TENSOR, machine={"little_endian": False}), "order of bytes"),
    "no machine": (legacy(OLD_TENSOR, machine=[]), "order of bytes"),
    "code before the value": (legacy(OLD_TENSOR, machine=Evil()), f"names {os.mkdir.__module__}.mkdir"),
    "code as the value": (legacy(call(name("os", "mkdir"), text("ran"))), "names os.mkdir"),
    "code as the list of storages": (legacy(OLD_TENSOR, keys=Evil()), f"names {os.mkdir.__module__}.mkdir"),
    "storages that nobody named": (legacy(OLD_TENSOR, keys=("0", "1")), "list of storages"),
    "storages that are not listed": (legacy(OLD_TENSOR, keys=()), "list of storages"),
    "storages that are listed twice": (legacy(OLD_TENSOR, keys=("0", "0")), "list of storages"),
    "a list of numbers": (legacy(OLD_TENSOR, keys=(1,)), "list of storages"),
    "a storage of another size": (legacy(OLD_TENSOR, struct.pack("<q", 1 << 40) + FLOATS), "size is not that"),
    "a storage of a negative size": (legacy(OLD_TENSOR, struct.pack("<q", -4) + FLOATS), "size is not that"),
    "a cut storage": (legacy(OLD_TENSOR, struct.pack("<q", 4) + FLOATS[:-1]), "ends too soon"),
    "a view of a storage": (
        legacy(tensor(storage("0", 4, "FloatStorage", sizes(1, 2, 3)), 0, sizes(4), sizes(1))),
        "size is not read",
    ),
    "a tensor beyond its storage": (legacy(tensor(OLD_STORAGE, 1, sizes(4), sizes(1))), "beyond its storage"),
    "one storage of two kinds": (
        legacy(items(OLD_TENSOR, tensor(storage("0", 2, "DoubleStorage", NONE), 0, sizes(1), sizes(1)))),
        "two kinds",
    ),
    "a tar archive": (b"x".ljust(257, b"\0") + b"ustar".ljust(300, b"\0"), "tar archive"),
    "an empty file": (b"", "ends too soon"),
    "a web page": (b"<html>404</html>", "no operation"),
}
"""What -> (a torch file of the format before, words of the refusal)."""

ARRAYS: dict[str, tuple[bytes, str]] = {
    "code in an array of objects": (object_npy(pickle.dumps(Evil())), f"names {os.mkdir.__module__}.mkdir"),
    "another shape than the header's": (
        object_npy(program(array(sizes(1), OBJECT_FLAGS, items(NONE))), "(2,)"),
        "header promises",
    ),
    "numbers where objects are promised": (object_npy(program(numbers(1)), "(1,)"), "header promises"),
    "no array": (object_npy(program(NONE)), "header promises"),
    "shared lists": (object_npy(program(shared(39))), "stands for more than"),
    "no pickle": (object_npy(b""), "ends too soon"),
    "a header that lies": (
        b"\x93NUMPY\x01\x00\x40\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999,)}".ljust(64),
        "promises 799,992 bytes",
    ),
}
"""What -> (an .npy file, words of the refusal)."""

HARMLESS: dict[str, bytes] = {
    "bytes that hold a pickle": program(pairs(text("a"), raw(pickle.dumps(Evil())))),
    "text that holds a pickle": program(pairs(text("a"), text(pickle.dumps(Evil(), 0).decode("latin-1")))),
    "a list that is there twice": program(items(kept(items(whole(1)), 0), again(0))),
    "a frame that is longer than the file": program(b"\x95" + struct.pack("<Q", 1 << 62) + NONE),
    "a memo at two billion": program(NONE + b"r" + struct.pack("<I", (1 << 31) - 1)),
    "names that are not called": program(items(name("numpy", "ndarray") + b"0", NONE)),
    "a protocol said twice": program(b"\x80\x02" + NONE),
    "truth values other than 0 and 1": program(array(sizes(2), kind("b1", order="|"), raw(b"\x02\xff"))),
}
"""What -> a pickle that is odd, and read."""
