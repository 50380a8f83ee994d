"""Zips that are broken in one place, each refused for the right reason."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import stat
import struct
import subprocess
import tracemalloc
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from headbench.harness.archives import open_zip
from headbench.harness.errors import BenchError
from headbench.harness.files import read_json, sha256_of
from headbench.harness.names import one_line
from headbench.harness.reading import Unreadable
from headbench.submission import Limits, check_zip
from headbench.submission.archive import member_bytes, unsafe_members
from headbench.submission.motion import _ranks as ranks
from headbench.submission.motion import compare_order

ONE = "007/EMO+joy/cam_100.mp4"


def only(lines: list[str], start: str) -> None:
    """There are errors, and all begin so."""
    assert lines and all(line.startswith(start) for line in lines), lines


def test_a_good_zip_is_not_refused(clinic) -> None:
    assert clinic.errors() == []


def test_a_video_that_is_missing(clinic) -> None:
    del clinic.members[ONE]
    assert clinic.errors() == [f"error: {ONE}: missing: expected 8 videos, found none here"]


def test_a_file_that_is_too_much(clinic) -> None:
    clinic.members["__MACOSX/._notes"] = b"x"
    only(clinic.errors(), "error: __MACOSX/._notes: unexpected: expected the videos of the task alone")


def test_frames_that_are_missing(clinic) -> None:
    clinic.encode(ONE, clinic.images(ONE)[:-1])
    only(clinic.errors(), f"error: {ONE}: frames: expected 32 as the tracking has, found 31")


def test_frames_that_are_missing_are_seen_without_data_where_cameras_differ(clinic) -> None:
    clinic.encode(ONE, clinic.images(ONE)[:-1])
    expected = "error: frames: expected as many frames from every camera of 007/EMO+joy, found 31 from 100, 32 from 200"
    assert clinic.errors(reference=None) == [expected]


def test_another_size(clinic) -> None:
    clinic.encode(ONE, clinic.images(ONE).repeat(2, axis=1).repeat(2, axis=2))
    only(clinic.errors(), f"error: {ONE}: size: expected 64 x 64 pixels, found 128 x 128 in frame 0 and 31 more")


def test_a_size_that_changes_in_the_middle_of_a_stream(clinic) -> None:
    small = clinic.images(ONE)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction("24.3"))
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        other = av.CodecContext.create("libx264", "w")
        other.height, other.width, other.pix_fmt, other.time_base = 128, 128, "yuv420p", Fraction(1, 24)
        packets = encoded(stream, small[:16]) + encoded(other, small[16:].repeat(2, axis=1).repeat(2, axis=2))
        for time, packet in enumerate(packets):
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, time, time, Fraction(10, 243)
            container.mux(packet)
    clinic.members[ONE] = buffer.getvalue()
    (line,) = [line for line in clinic.errors() if ": size: " in line]
    assert line == f"error: {ONE}: size: expected 64 x 64 pixels, found 128 x 128 in frame 16 and 15 more"


def encoded(encoder, images: np.ndarray) -> list:
    frames = [av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24") for image in images]
    return [packet for frame in (*frames, None) for packet in encoder.encode(frame)]


def elementary(images: np.ndarray) -> bytes:
    """A bare H.264 stream."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def test_one_black_frame(clinic) -> None:
    images = clinic.images(ONE)
    images[20] = 0
    clinic.encode(ONE, images)
    assert f"error: {ONE}: black: expected a head in every frame, found black in 1 of 32 frames, first 20" in (
        clinic.errors()
    )


def test_a_frame_without_a_head(clinic) -> None:
    images = clinic.images(ONE)
    images[5:7] = 255
    clinic.encode(ONE, images)
    text = "constant: expected a head in every frame, found one flat colour in 2 of 32 frames, first 5"
    assert f"error: {ONE}: {text}" in clinic.errors()


def test_one_image_all_the_time(clinic) -> None:
    images = clinic.images(ONE)
    clinic.encode(ONE, [images[3]] * len(images))
    assert f"error: {ONE}: constant: expected a head that moves, found the same image in all 32 frames" in (
        clinic.errors()
    )


@pytest.mark.slow
def test_red_and_blue_exchanged(clinic) -> None:
    for member in clinic.members:
        clinic.encode(member, clinic.images(member)[..., ::-1])
    lines = clinic.errors()
    assert len(lines) == 8
    assert all(": colours: " in line and "red and blue exchanged" in line for line in lines), lines


@pytest.mark.parametrize(("colour", "name"), [((0, 0, 0), r"black"), ((0, 255, 0), "green"), ((128, 90, 200), "(1")])
def test_a_wrong_background(clinic, colour: tuple[int, int, int], name: str) -> None:
    images = clinic.images(ONE)
    images[(images > 240).all(axis=-1)] = colour
    clinic.encode(ONE, images)
    (line,) = [line for line in clinic.errors() if ": background: " in line]
    assert f"expected white in the upper corners, found {name}" in line and "32 of 32 frames" in line


def test_frames_that_run_backward(clinic) -> None:
    clinic.encode(ONE, clinic.images(ONE)[::-1])
    (line,) = clinic.errors()
    assert f"{ONE}: order: expected frames in the order of the tracking, found that they fit backward" in line


def test_frames_that_are_shuffled(clinic) -> None:
    order = np.random.default_rng(0).permutation(32)
    clinic.encode(ONE, clinic.images(ONE)[order])
    (line,) = clinic.errors()
    assert f"{ONE}: order: " in line and "do not follow the drivers" in line


@pytest.mark.parametrize(("shift", "word"), [(1, "1 too late"), (-1, "1 too early"), (3, "3 too late")])
def test_frames_that_come_too_late_or_too_early(clinic, shift: int, word: str) -> None:
    images = clinic.images(ONE)
    clinic.encode(ONE, images[np.clip(np.arange(32) - shift, 0, 31)])
    (line,) = clinic.errors()
    assert f"{ONE}: order: " in line and word in line


def test_another_sequence(clinic) -> None:
    clinic.members[ONE] = clinic.members["007/FREE/cam_100.mp4"]
    lines = clinic.errors()
    assert len(lines) == 2
    assert f"{ONE}: order: expected frames in the order of the tracking, found that " in lines[0], lines
    assert ": duplicate: expected a video of its own, found the same bytes as 007/" in lines[1]


def test_one_camera_for_all(clinic) -> None:
    clinic.members["011/FREE/cam_200.mp4"] = clinic.members["011/FREE/cam_100.mp4"]
    (line,) = [line for line in clinic.errors() if ": duplicate: " in line]
    assert "011/FREE/cam_200.mp4" in line and "same bytes as 011/FREE/cam_100.mp4" in line


def test_too_much_compression(clinic) -> None:
    clinic.encode(ONE, clinic.images(ONE), quality="40")
    assert f"error: {ONE}: encoding: expected a constant rate factor of 14, found 40: compressed too much" in (
        clinic.errors()
    )


def test_another_frame_rate(clinic) -> None:
    clinic.encode(ONE, clinic.images(ONE), rate="25")
    assert clinic.errors() == [f"error: {ONE}: format: expected 24.3 frames per second, found 25"]


def test_another_codec(clinic) -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=Fraction("24.3"))
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = 64, 64, "yuv420p", 4_000_000
        for image in clinic.images(ONE):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    clinic.members[ONE] = buffer.getvalue()
    assert f"error: {ONE}: format: expected H.264, found mpeg4" in clinic.errors()


def test_a_video_that_was_cut_short_or_is_none(clinic) -> None:
    clinic.members[ONE] = clinic.members[ONE][:700]
    clinic.members["011/FREE/cam_200.mp4"] = b"<html>not found</html>"
    lines = clinic.errors()
    assert len(lines) == 2
    assert ": broken: expected an mp4, found 700 bytes of an mp4 that was cut before its end" in lines[0]
    assert ": broken: expected an mp4, found 22 bytes that are no video" in lines[1]


def test_a_bare_stream_is_no_mp4(clinic) -> None:
    clinic.members[ONE] = elementary(clinic.images(ONE))
    assert any(
        "broken: expected an mp4, found" in line and "bytes that are no video" in line for line in clinic.errors()
    )


def test_damaged_pixels_are_not_taken_for_an_end(clinic) -> None:
    content = bytearray(clinic.members[ONE])
    start = content.index(b"mdat") + 1200
    content[start : start + 400] = bytes(400)
    clinic.members[ONE] = bytes(content)
    assert any(line.startswith(f"error: {ONE}: ") for line in clinic.errors())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "expected a relative name, found an absolute one"),
        ("C:/videos/a.mp4", "expected a relative name, found an absolute one"),
        ("007/../../a.mp4", "expected a name inside the archive, found .. in it"),
        ("007\\FREE\\cam_100.mp4", "expected forward slashes, found backslashes"),
        ("007/FREE/cam\n.mp4", "control characters"),
    ],
)
def test_names_that_lead_out_of_the_archive(clinic, name: str, reason: str) -> None:
    clinic.members[name] = b"x"
    (line,) = clinic.errors()
    assert line.startswith(f"error: {one_line(name)}: archive: ") and reason in line


def test_a_link(clinic) -> None:
    path = clinic.zip()
    info = zipfile.ZipInfo("007/link.mp4")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    assert clinic.errors(path) == ["error: 007/link.mp4: archive: expected a plain file, found a link"]


def test_a_member_that_is_encrypted(clinic) -> None:
    path = clinic.zip()
    content = bytearray(path.read_bytes())
    content[content.rindex(ONE.encode()) - 46 + 8] |= 1
    path.write_bytes(content)
    (line,) = clinic.errors(path)
    assert line == f"error: {ONE}: archive: expected a member that can be read, found an encrypted one"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice(clinic) -> None:
    path = clinic.zip()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(ONE, clinic.members["007/FREE/cam_100.mp4"])
    (line,) = clinic.errors(path)
    assert line.startswith(f"error: {ONE}: archive: expected one member of this name, found 2")


def test_zip_bombs(clinic, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(ONE, bytes(10_000_000))
    lines = clinic.errors(bomb)
    assert any(f"{ONE}: archive: expected at most 50 times its compressed size" in line for line in lines), lines
    many = clinic.errors(limits=Limits(members=7))
    assert many == ["error: archive: expected at most 7 members, found 8"]
    large = clinic.errors(limits=Limits(total_bytes=1000))
    assert len(large) == 1 and "expected at most 1,000 bytes when decompressed" in large[0]
    one = clinic.errors(limits=Limits(member_bytes=500))
    assert len(one) == 8 and all("expected at most 500 bytes, found" in line for line in one)


def test_a_size_that_lies_is_not_believed(clinic) -> None:
    path = clinic.zip()
    content = bytearray(path.read_bytes())
    entry = content.rindex(ONE.encode()) - 46
    content[entry + 24 : entry + 28] = (100).to_bytes(4, "little")
    path.write_bytes(content)
    (line,) = [line for line in clinic.errors(path) if "duplicate" not in line]
    assert line.startswith(f"error: {ONE}: broken: expected a member that can be read")


def test_a_member_whose_bytes_changed(clinic) -> None:
    path = clinic.zip()
    content = bytearray(path.read_bytes())
    content[content.index(clinic.members[ONE]) + 300] ^= 0xFF
    path.write_bytes(content)
    (line,) = clinic.errors(path)
    assert line.startswith(f"error: {ONE}: broken: ") and "CRC" in line


def test_what_is_no_zip(clinic, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 and nothing more")
    (line,) = clinic.errors(tmp_path / "x.zip")
    assert line.startswith("error: archive: expected a zip, found no zip archive or a damaged one")
    with pytest.raises(BenchError, match=r"nowhere\.zip is no file"):
        clinic.errors(tmp_path / "nowhere.zip")


@pytest.mark.tried("damaged inputs", "a zip of a folder instead of its content", "one line with the command that helps")
@pytest.mark.parametrize("outer", ["submission/", "my files/run 1/"])
def test_a_folder_that_was_zipped_instead_of_its_content(clinic, outer: str) -> None:
    for name in list(clinic.members):
        clinic.members[outer + name] = clinic.members.pop(name)
    (line,) = clinic.errors()
    assert line.startswith(
        f"error: folder: expected the people's folders at the top of the zip, found all below {outer}"
    )
    (found,) = [each for each in check_zip(clinic.zip(), clinic.task, reference=clinic.reference) if each.help]
    command = found.help.partition(": ")[2]
    assert command.endswith(" && zip -r NEW.zip .") and command in line
    if shutil.which("zip"):
        with zipfile.ZipFile(clinic.zip()) as archive:
            archive.extractall(clinic.folder / "unpacked")
        subprocess.run(command, shell=True, cwd=clinic.folder / "unpacked", check=True, capture_output=True)
        assert clinic.errors(clinic.folder / "unpacked" / outer / "NEW.zip") == []
    del clinic.members[outer + ONE]
    clinic.members[f"{outer}notes.txt"] = b"x"
    lines = clinic.errors()
    assert lines[1:] == [
        f"error: {ONE}: missing: expected 8 videos, found none here",
        "error: notes.txt: unexpected: expected the videos of the task alone, found this",
    ]


@pytest.mark.tried("hostile files", "a zip whose members overlap, lie about their sizes or are packed as bombs")
@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_that_are_packed_in_rare_ways_are_not_unpacked(clinic, packing: int) -> None:
    path = clinic.folder / "packed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in clinic.members.items():
            archive.writestr(name, content, packing if name == ONE else zipfile.ZIP_STORED)
    (line,) = clinic.errors(path)
    assert line == f"error: {ONE}: archive: expected a member that is stored or deflated, found packing {packing}"


@pytest.mark.tried("hostile files", "a zip whose members overlap, lie about their sizes or are packed as bombs")
def test_members_in_the_same_bytes(clinic) -> None:
    path = clinic.zip()
    content = bytearray(path.read_bytes())
    names = sorted(clinic.members, key=lambda name: content.rindex(name.encode()))
    first, second = (content.rindex(name.encode()) - 46 for name in names[:2])
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    path.write_bytes(content)
    assert any(": archive: expected members one after the other" in line for line in clinic.errors(path))


@pytest.mark.tried("hostile files", "a zip whose members overlap, lie about their sizes or are packed as bombs")
def test_a_member_that_says_it_is_small_takes_no_more_memory(tmp_path: Path) -> None:
    """100 MB in 100 KB, said to be 100 bytes."""
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.mp4", bytes(100_000_000))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"a.mp4") - 46
    content[entry + 24 : entry + 28] = (100).to_bytes(4, "little")
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with open_zip(path) as archive:
            assert unsafe_members(archive, Limits()) == {}
            with pytest.raises(BenchError, match="expected a member that can be read, found bytes that do not agree"):
                member_bytes(archive, "a.mp4", Limits())
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.tried("hostile files", "a zip with a directory of 300,000 members")
def test_a_monstrous_directory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    entry = b"PK\1\2" + bytes(42)
    end = b"PK\5\6" + bytes(4) + struct.pack("<HHIIH", 65535, 65535, 300_000 * len(entry), 0, 0)
    path.write_bytes(b"PK" + entry * 300_000 + end)
    with pytest.raises(Unreadable, match="found no zip archive or a damaged one"), open_zip(path):
        pass


def changed_record(made, clinic) -> tuple[Path, dict]:
    """A copy of the good zip's record, for a zip that is written anew from its members."""
    path = clinic.zip()
    record = json.loads(json.dumps(read_json(made.record)))
    record["zip"]["sha256"] = sha256_of(path)
    return path, record


def test_a_loss_that_encoding_recorded(made, clinic) -> None:
    path, record = changed_record(made, clinic)
    assert clinic.errors(path, record) == []
    record["videos"][ONE]["encoding"]["mean"] = 27.5
    expected = f"error: {ONE}: encoding: expected at least 32 dB between renders and video, found 27.5 dB"
    assert clinic.errors(path, record) == [expected]


def test_another_version_of_the_tracking(made, clinic) -> None:
    path, record = changed_record(made, clinic)
    record["tracking"] = record["videos"][ONE]["origin"]["tracking"] = "v1"
    assert clinic.errors(path, record) == [
        "error: tracking: expected v2, found v1 in the record",
        f"error: {ONE}: tracking: expected v2, found that it was rendered from v1",
    ]


def test_tracking_files_that_changed_since(made, clinic) -> None:
    path, record = changed_record(made, clinic)
    record["videos"][ONE]["origin"]["fingerprint"] = "0" * 64
    (line,) = clinic.errors(path, record)
    assert f"{ONE}: tracking: expected that it was rendered from the tracking and cameras at hand" in line


def test_a_video_that_was_exchanged_after_it_was_rendered(made, clinic) -> None:
    record = read_json(made.record)
    clinic.encode(ONE, clinic.images(ONE))
    lines = clinic.errors(record=record)
    assert any(line.startswith("error: record: expected the zip of SHA-256") for line in lines)
    assert f"error: {ONE}: record: expected the video that was rendered, found another one under its name" in lines


def test_what_was_not_checked_is_said(clinic) -> None:
    found = check_zip(clinic.zip(), clinic.task)
    assert [finding.severity for finding in found] == ["note", "note"]
    assert "no data was given" in found[0].message and "no submission.json" in found[1].message


def test_a_task_of_another_background_wants_that_one(clinic) -> None:
    task = dataclasses.replace(clinic.task, background="black")
    lines = [finding.line() for finding in check_zip(clinic.zip(), task) if finding.severity == "error"]
    assert len(lines) == 8 and all("expected black in the upper corners, found white" in line for line in lines)


@pytest.mark.parametrize("seed", range(6))
def test_a_short_video_of_a_poor_avatar_is_not_accused_of_another_order(seed: int) -> None:
    """Thirteen frames that follow their drivers under twice as much noise correlate with other orders by chance."""
    generator = np.random.default_rng(seed)
    drivers = np.cumsum(generator.normal(size=(13, 4)), axis=0) * 5
    shown = drivers @ generator.normal(size=(4, 48)) / 10
    pictures = 128 + shown + generator.normal(scale=2 * shown.std(), size=shown.shape)
    small = np.clip(pictures, 0, 255).astype(np.uint8).reshape(13, 4, 4, 3)
    order = compare_order(small, drivers)
    assert order is not None and order.fault == ""


def test_ranks_are_places_and_equal_values_share_theirs() -> None:
    values = np.random.default_rng(0).integers(0, 20, 60).astype(float)
    below = (values[None] < values[:, None]).sum(axis=1)
    equal = (values[None] == values[:, None]).sum(axis=1)
    assert np.array_equal(ranks(values), below + (equal + 1) / 2)
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1, 3.5, 2]
    assert np.isnan(ranks(np.array([1.0, np.nan]))).all()
