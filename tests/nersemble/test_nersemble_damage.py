"""Every way in which a folder of this layout goes wrong has a message of its own, with file and frame."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from damage_cases import FOREIGN, Case, each, expect_read, expect_told, ruin
from scipy.spatial.transform import Rotation

from headbench.datasets.nersemble import checks, probe
from headbench.datasets.nersemble.reader import NersembleReader
from headbench.harness.errors import DataError
from headbench.inspection import examine

SEQ = "EXP-2-eyes"
V2 = "tracking/flame2023_tracking_v2.npz"
CAMERA = "222200037"


def _case(
    name: str,
    damage: Callable[[Any], Any],
    path: str,
    fragments: tuple[str, ...],
    frame: str = SEQ,
    severity: str = "error",
    **more: Any,
) -> Case:
    """Of one sequence where nothing else is said; most sequences are missing in all cases."""
    options = {"missing": "allow", **more.pop("options", {})}
    return Case(name, damage, path, fragments, frame, severity, options=options, **more)


def _track(change: Callable[[dict[str, Any]], Any], sequence: str = SEQ) -> Callable[[Any], None]:
    return lambda author: author.retrack(sequence, change)


def _put(key: str, place: Any, value: Any) -> Callable[[Any], None]:
    return _track(lambda content: content[key].__setitem__(place, value))


def _camera(table: str, value: Any) -> Callable[[Any], None]:
    return lambda author: author.edit(lambda content: content[table].__setitem__(CAMERA, value))


def _angles(change: Callable[[Rotation], np.ndarray]) -> Callable[[Any], None]:
    def store(content: dict[str, Any]) -> None:
        content["rotation"] = change(Rotation.from_matrix(content["rotation_matrices"])).astype(np.float32)

    return _track(store)


def _painted(author: Any, picture: Callable[[np.ndarray], np.ndarray], kind: str = "images") -> None:
    made = author.pictures(SEQ, kind)
    author.film(SEQ, [picture(image) for image in made], kind)


def _old_only(author: Any, sequence: str) -> None:
    author.retrack(sequence, lambda content: None, "v1")
    author.remove(author.tracking(sequence))


def _shifted(author: Any) -> None:
    """The head crosses the image, and the images are a frame late."""
    places = (-10, -3, 7)

    def move(content: dict[str, Any]) -> None:
        for key, value in list(content.items()):
            if key not in ("shape", "scale", "frames"):
                content[key] = np.repeat(value[:1], len(places), axis=0)
        content["frames"] = np.arange(len(places))
        # 72 pixels of focal length, 0.9 m away: 80 pixels per metre.
        content["translation"] = np.array([[x / 80, 0, 0] for x in places], dtype=np.float32)

    author.retrack(SEQ, move)
    for kind in ("images", "alpha_maps"):
        head = author.pictures(SEQ, kind)[0]
        author.film(SEQ, [np.roll(head, x, axis=1) for x in (*places[1:], places[-1])], kind)


CASES = [
    # Files
    _case(
        "sequences missing",
        lambda a: a.remove(a.sequence(SEQ)),
        "sequences",
        (
            "of 18 training sequences missing: EXP-2-eyes, EXP-4-lips",
            "SEN-04-two_plus_seven",
            "nersemble.missing=allow",
        ),
        "",
        options={"missing": "refuse"},
    ),
    _case(
        "name escaped as in an address",
        lambda a: a.sequence("EXP-3-cheeks+nose").rename(a.sequence("EXP-3-cheeks%2Bnose")),
        "EXP-3-cheeks%2Bnose",
        ("found 'EXP-3-cheeks%2Bnose'", "rename it to EXP-3-cheeks+nose: names hold a plain +"),
        "",
        "warning",
        deep=True,
    ),
    _case(
        "plus became a space",
        lambda a: a.sequence("EXP-3-cheeks+nose").rename(a.sequence("EXP-3-cheeks nose")),
        "EXP-3-cheeks nose",
        ("found 'EXP-3-cheeks nose'", "rename it to EXP-3-cheeks+nose"),
        "",
        "warning",
        deep=True,
    ),
    _case(
        "sequence of another task",
        lambda a: a.sequence("HAIR").mkdir(),
        "sequences/HAIR",
        ("expected a sequence of the benchmark, found 'HAIR'", "its frames are not read"),
        "",
        "warning",
        deep=True,
    ),
    _case(
        "person of another task",
        lambda a: a.move("388"),
        "388",
        ("expected one of the benchmark's participants 393, 404, 461, 477, 486, found '388'",),
        "",
        "warning",
        deep=True,
    ),
    _case(
        "no tracking",
        lambda a: a.remove(a.tracking(SEQ)),
        V2,
        ("expected the sequence's tracking, found no such file",),
    ),
    _case(
        "old tracking alone",
        lambda a: _old_only(a, SEQ),
        V2,
        ("expected the tracking v2, found flame2023_tracking.npz (v1) alone", "drifts when the head turns"),
    ),
    _case(
        "old tracking not downloaded",
        lambda a: a.old_tracking(but=SEQ),
        "tracking/flame2023_tracking.npz",
        ("expected the tracking v1, found flame2023_tracking_v2.npz (v2) alone", "--assets flame2023_tracking"),
        options={"tracking": "v1"},
    ),
    _case(
        "old tracking chosen",
        lambda a: a.old_tracking(),
        "sequences",
        ("expected tracking=v2, found tracking=v1", "numbers do not compare with those on flame2023_tracking_v2"),
        "",
        "warning",
        options={"tracking": "v1"},
    ),
    _case(
        "no tracking of a test sequence",
        lambda a: a.remove(a.sequence("FREE")),
        f"FREE/{V2}",
        ("expected the tracking of a test sequence, found no such file: no submission can be rendered",),
        "FREE",
        "warning",
        deep=True,
    ),
    _case(
        "old tracking of a test sequence",
        lambda a: _old_only(a, "FREE"),
        f"FREE/{V2}",
        ("of a test sequence, found the old tracking v1 alone: no submission can be rendered",),
        "FREE",
        "warning",
        deep=True,
    ),
    _case(
        "no images",
        lambda a: a.remove(a.video(SEQ)),
        "images/cam_222200037.mp4",
        ("expected the video of images, found no such file",),
    ),
    _case(
        "no mattes",
        lambda a: a.remove(a.video(SEQ, "alpha_maps")),
        "alpha_maps/cam_222200037.mp4",
        ("expected the video of alpha maps, found no such file",),
    ),
    # Tracking
    _case(
        "cut npz",
        lambda a: a.cut(a.tracking(SEQ), 0.6),
        V2,
        ("expected an npz of plain arrays, found no zip archive or a damaged one", "interrupted download"),
    ),
    _case(
        "web page instead of npz",
        lambda a: a.tracking(SEQ).write_text("<html>403</html>"),
        V2,
        ("expected an npz of plain arrays", "found no zip archive"),
    ),
    _case(
        "objects in the npz",
        lambda a: a.retrack(SEQ, lambda c: c.update(jaw=np.array([{"a": 1}, None], dtype=object))),
        V2,
        ("expected an npz of plain arrays", "Python objects, which are not loaded"),
    ),
    _case(
        "array missing",
        _track(lambda c: c.pop("rotation_matrices")),
        V2,
        ("expected the 10 arrays of the tracking, found no rotation_matrices",),
    ),
    _case(
        "tracking of another tool",
        _track(lambda c: [c.pop("scale"), c.update(static_offset=np.zeros((1, 3)))]),
        V2,
        ("found no scale, and unknown static_offset", "tracking of another tool?"),
    ),
    _case(
        "array too many",
        _track(lambda c: c.update(eyelids=np.zeros((2, 2), np.float32))),
        V2,
        ("found eyelids besides; not read", "toolkit refuses"),
        severity="warning",
    ),
    _case(
        "coefficients of another FLAME",
        _track(lambda c: c.update(expression=np.zeros((2, 50), np.float32))),
        V2,
        ("`expression`: expected shape T x 100, found 2 x 50", "FLAME 2023's 300 and 100?"),
    ),
    _case(
        "shape without its row",
        _track(lambda c: c.update(shape=np.zeros(300, np.float32))),
        V2,
        ("`shape`: expected shape 1 x 300, found 300",),
    ),
    _case(
        "whole numbers",
        _track(lambda c: c.update(jaw=np.zeros((2, 3), np.int64))),
        V2,
        ("`jaw`: expected floating-point numbers, found int64",),
    ),
    _case(
        "frames with fractions",
        _track(lambda c: c.update(frames=np.array([0.0, 1.0]))),
        V2,
        ("`frames`: expected whole numbers, found float64",),
    ),
    _case(
        "arrays of different lengths",
        _track(lambda c: c.update(neck=np.zeros((3, 3), np.float32))),
        V2,
        ("expected one number of frames in all arrays, found expression 2", "neck 3"),
    ),
    _case(
        "no frames",
        _track(lambda c: c.update({k: v[:0] for k, v in c.items() if k not in ("shape", "scale")})),
        V2,
        ("expected at least one frame, found none",),
    ),
    _case(
        "double precision",
        _track(lambda c: c.update(jaw=c["jaw"].astype(np.float64))),
        V2,
        ("expected float32, found float64 in jaw", "FLAME layer stops at float64"),
        severity="warning",
    ),
    _case(
        "NaN in tracking",
        _put("eyes", (1, 4), math.nan),
        V2,
        ("`eyes`: expected finite numbers, found nan at [1, 4] (1 in all)", "tracking failed"),
        f"{SEQ}_00001",
    ),
    _case(
        "infinite identity",
        _put("shape", (0, 7), math.inf),
        V2,
        ("`shape`: expected finite numbers, found inf at [0, 7]",),
    ),
    _case("scale 0", _put("scale", (0, 0), 0), V2, ("`scale`: expected a factor above 0, found 0",)),
    _case(
        "frames out of order",
        _track(lambda c: c.update(frames=np.array([10, 9]))),
        V2,
        ("`frames`: expected ascending numbers from 0 on, found 9 at row 1", "sorted as text"),
    ),
    _case(
        "frames numbered otherwise",
        _track(lambda c: c.update(frames=np.array([3, 6]))),
        V2,
        ("`frames`: expected 0 to 1, found 3 to 6; row k is taken for image k",),
        severity="warning",
    ),
    _case(
        "rotation as axis-angle",
        _angles(lambda r: r.as_rotvec()),
        V2,
        ("`rotation`: expected intrinsic XYZ angles", "these are axis-angle"),
        f"{SEQ}_00001",
    ),
    _case(
        "rotation as extrinsic angles",
        _angles(lambda r: r.as_euler("xyz")),
        V2,
        ("`rotation`: expected intrinsic XYZ angles", "these are extrinsic xyz angles"),
        f"{SEQ}_00001",
    ),
    _case(
        "rotation in degrees",
        _angles(lambda r: r.as_euler("XYZ", degrees=True)),
        V2,
        ("`rotation`: expected", "these are intrinsic XYZ angles in degrees"),
        f"{SEQ}_00001",
    ),
    _case(
        "matrices of other frames",
        _track(lambda c: c.update(rotation_matrices=c["rotation_matrices"][::-1])),
        V2,
        ("`rotation`: expected intrinsic XYZ angles in radians of `rotation_matrices` within 0.0001, found 0.09",),
        f"{SEQ}_00001",
    ),
    _case(
        "matrices with the scale in them",
        _track(lambda c: c["rotation_matrices"].__imul__(np.float32(0.95))),
        V2,
        ("`rotation_matrices`: expected rotations, |R R^T - I| below 0.0001, found 0.09",),
        f"{SEQ}_00001",
    ),
    _case(
        "mirrored head",
        _put("rotation_matrices", (slice(None), slice(None), 0), [[-1, 0, 0], [-1, 0, 0]]),
        V2,
        ("`rotation_matrices`: expected rotations",),
        f"{SEQ}_00001",
    ),
    _case(
        "mirrored head, otherwise sound",
        _track(lambda c: c["rotation_matrices"].__imul__(np.float32(-1))),
        V2,
        ("`rotation_matrices`: expected determinant +1, found -1.000: a mirrored head",),
        f"{SEQ}_00000",
    ),
    _case(
        "identity of another person",
        _put("shape", (0, 5), 1.5),
        V2,
        ("`shape`: expected that of EXP-1-head, found one that differs by up to 1.5", "files of two people"),
    ),
    _case(
        "identity of another person in a test sequence",
        lambda a: a.retrack("FREE", lambda c: c["shape"].__setitem__((0, 5), 1.25)),
        f"FREE/{V2}",
        ("`shape`: expected that of EXP-1-head, found one that differs by up to 1.25",),
        "FREE",
        deep=True,
    ),
    # Videos
    _case(
        "cut mp4",
        lambda a: a.cut(a.video(SEQ), 0.7),
        "images/cam_222200037.mp4",
        ("expected the video of images", "bytes of an mp4 that was cut before its end"),
    ),
    _case(
        "web page instead of mp4",
        lambda a: a.video(SEQ, "alpha_maps").write_text("<html>not found</html>"),
        "alpha_maps/cam_222200037.mp4",
        ("expected the video of alpha maps, found 22 bytes that are no video",),
    ),
    _case(
        "empty mp4",
        lambda a: a.video(SEQ).write_bytes(b""),
        "images/cam_222200037.mp4",
        ("expected the video of images, found 0 bytes that are no video",),
    ),
    _case(
        "image missing in a video",
        lambda a: a.film(SEQ, a.pictures(SEQ)[:1]),
        "images/cam_222200037.mp4",
        ("expected as many images as rows of flame2023_tracking_v2.npz, found 1 images, 2 alpha maps, 2 rows",),
    ),
    _case(
        "matte missing in a video",
        lambda a: a.film(SEQ, a.pictures(SEQ, "alpha_maps") * 2, "alpha_maps"),
        "alpha_maps/cam_222200037.mp4",
        ("found 2 images, 4 alpha maps, 2 rows",),
    ),
    _case(
        "tracking of another length",
        _track(lambda c: c.update({k: v[:1] for k, v in c.items()})),
        "images/cam_222200037.mp4",
        ("found 2 images, 2 alpha maps, 1 rows",),
    ),
    _case(
        "other size",
        lambda a: _painted(a, lambda image: image.repeat(2, 0).repeat(2, 1)),
        "images/cam_222200037.mp4",
        ("expected 32 x 32 pixels, found 64 x 64", "intrinsics are those of the delivered size"),
    ),
    _case(
        "damaged inside",
        lambda a: a.scramble(a.video(SEQ)),
        "images/cam_222200037.mp4",
        ("expected a video, found one that cannot be decoded after 0 images",),
        deep=True,
    ),
    _case(
        "images and mattes swapped",
        lambda a: a.swap(SEQ),
        "alpha_maps/cam_222200037.mp4",
        ("expected a grey matte, found colours", "images and alpha_maps swapped?"),
        deep=True,
    ),
    _case(
        "matte from 0 to 1",
        lambda a: _painted(a, lambda matte: matte // 255, "alpha_maps"),
        "alpha_maps/cam_222200037.mp4",
        ("expected a matte from 0 to 255, found 0 to", "written as 0 and 1?"),
    ),
    _case(
        "constant matte",
        lambda a: _painted(a, lambda matte: 0 * matte + 255, "alpha_maps"),
        "alpha_maps/cam_222200037.mp4",
        ("expected a matte that sets head and background apart, found 255 everywhere",),
        severity="warning",
        deep=True,
    ),
    _case(
        "images on black",
        lambda a: _painted(a, lambda image: np.where(image == 255, 0, image).astype(np.uint8)),
        "images/cam_222200037.mp4",
        ("expected a white background, found grey level", "where the matte is 0"),
        severity="warning",
        deep=True,
    ),
    # Cameras
    _case(
        "no cameras",
        lambda a: a.remove(a.calibration),
        "camera_params.json",
        ("expected the person's cameras, found no such file",),
        "",
    ),
    _case(
        "cut json",
        lambda a: a.cut(a.calibration, 0.5),
        "camera_params.json",
        ("expected JSON, found",),
        "",
    ),
    _case(
        "list of cameras",
        lambda a: a.calibration.write_text("[1, 2]"),
        "camera_params.json",
        ("expected a JSON object, found list",),
        "",
    ),
    _case(
        "cameras of the raw release",
        lambda a: a.edit(lambda c: c.update(intrinsics=[[1, 0, 0], [0, 1, 0], [0, 0, 1]])),
        "camera_params.json",
        ("`intrinsics`: expected an object of serial numbers, found list",),
        "",
    ),
    _case(
        "no poses",
        lambda a: a.edit(lambda c: c.update(cam_2_world=c.pop("world_2_cam"))),
        "camera_params.json",
        ("`world_2_cam`: expected an object of serial numbers, found no such key (keys: cam_2_world, intrinsics)",),
        "",
    ),
    _case(
        "camera without pose",
        lambda a: a.edit(lambda c: c["world_2_cam"].pop("222200039")),
        "camera_params.json",
        ("`world_2_cam`: expected camera 222200039, found no such serial number (there are: 220700191",),
        "",
    ),
    _case(
        "camera without intrinsics",
        lambda a: a.edit(lambda c: c["intrinsics"].pop(CAMERA)),
        "camera_params.json",
        ("`intrinsics`: expected camera 222200037, found no such serial number",),
        "",
    ),
    _case(
        "3 x 4 pose",
        lambda a: a.edit(lambda c: c["world_2_cam"][CAMERA].pop()),
        "camera_params.json",
        ("world_2_cam of camera 222200037: expected 4 x 4 numbers, found 3 x 4",),
        "",
    ),
    _case(
        "intrinsics as words",
        _camera("intrinsics", {"fx": 1}),
        "camera_params.json",
        ("intrinsics of camera 222200037: expected 3 x 3 numbers, found an object",),
        "",
    ),
    _case(
        "NaN token in a pose",
        lambda a: a.pose(lambda m: m.__setitem__((0, 3), math.nan)),
        "camera_params.json",
        ("world_2_cam of camera 222200037: expected finite numbers, found NaN",),
        "",
    ),
    _case(
        "Infinity token in intrinsics",
        _camera("intrinsics", [[math.inf, 0, 15], [0, 72, 15], [0, 0, 1]]),
        "camera_params.json",
        ("intrinsics of camera 222200037: expected finite numbers",),
        "",
    ),
    _case(
        "last row",
        lambda a: a.pose(lambda m: m.__setitem__((3, 2), 0.5)),
        "camera_params.json",
        ("world_2_cam of camera 222200037: expected last row 0 0 0 1",),
        "",
    ),
    _case(
        "scaled pose",
        lambda a: a.pose(lambda m: np.diag([2.0, 2, 2, 1]) @ m),
        "camera_params.json",
        ("world_2_cam of camera 222200037: expected a rotation",),
        "",
    ),
    _case(
        "mirrored camera",
        lambda a: a.pose(lambda m: np.diag([-1.0, 1, 1, 1]) @ m),
        "camera_params.json",
        ("world_2_cam of camera 222200037: expected determinant +1", "mirrored"),
        "",
    ),
    _case(
        "skew",
        _camera("intrinsics", [[72, 0.5, 15], [0, 72, 15], [0, 0, 1]]),
        "camera_params.json",
        ("intrinsics of camera 222200037: expected fx 0 cx, 0 fy cy, 0 0 1, found 72 0.5 15",),
        "",
    ),
    _case(
        "transposed intrinsics",
        _camera("intrinsics", [[72, 0, 0], [0, 72, 0], [15, 15, 1]]),
        "camera_params.json",
        ("intrinsics of camera 222200037: expected fx 0 cx", "15 15 1"),
        "",
    ),
    _case(
        "negative focal length",
        _camera("intrinsics", [[-72, 0, 15], [0, 72, 15], [0, 0, 1]]),
        "camera_params.json",
        ("intrinsics of camera 222200037: expected focal lengths above 0, found -72 and 72",),
        "",
    ),
    _case(
        "intrinsics of the raw images",
        _camera("intrinsics", [[8000, 0, 1100], [0, 8000, 1604], [0, 0, 1]]),
        "camera_params.json",
        ("expected the principal point inside the 32 x 32 image, found (1100, 1604)", "2200 x 3208"),
        "",
    ),
    _case(
        "OpenGL camera",
        lambda a: a.pose(lambda m: np.diag([1.0, -1, -1, 1]) @ m),
        "camera_params.json",
        (
            "of camera 222200037: expected the head in front of it",
            "in 5 of 5 sequences: looks like OpenGL axes",
        ),
        "EXP-1-head_00000",
    ),
    _case(
        "camera to world",
        lambda a: a.edit(
            lambda c: c.update(world_2_cam={k: np.linalg.inv(m).tolist() for k, m in c["world_2_cam"].items()})
        ),
        "camera_params.json",
        ("of camera 222200046: expected the head in its 32 x 32 image", "4 of 4 sequences: looks like camera to world"),
        "FREE_00000",
        deep=True,
    ),
    _case(
        "millimetres",
        lambda a: a.edit(
            lambda c: [pose[2].__setitem__(3, 900.0) for pose in c["world_2_cam"].values()],
        ),
        "camera_params.json",
        ("camera 222200037: expected the head 0.3 to 4 m before it, found 900 m: not in metres?",),
        "EXP-1-head_00000",
        "warning",
    ),
    _case(
        "hold-out camera turned away",
        lambda a: a.edit(lambda c: c["world_2_cam"]["222200046"][2].__setitem__(3, -0.9)),
        "camera_params.json",
        ("of camera 222200046: expected the head in front of it, found it 0.9", "as in 4 of 4 sequences"),
        "FREE_00001",
        deep=True,
    ),
    # The head model
    _case(
        "unknown head",
        lambda a: (a.folder / "head_model.json").write_text(json.dumps({"tag": "flame2032", "size": 32})),
        "head_model.json",
        ("Unknown head tag 'flame2032'", "Did you mean"),
        "",
    ),
    _case(
        "size in words",
        lambda a: (a.folder / "head_model.json").write_text(json.dumps({"tag": "openhead", "size": "32"})),
        "head_model.json",
        ("expected a whole number `size` of pixels, found '32'",),
        "",
    ),
]


@each(CASES)
def test_damage_is_told_with_file_and_frame(case, short) -> None:
    case.damage(short)
    expect_told(case, NersembleReader().check(short.folder, case.options))
    expect_read(case, "nersemble", lambda: NersembleReader().read(short.folder, case.options))


BESIDE_THE_HEAD = [
    _case(
        "images per frame late",
        _shifted,
        "393",
        ("expected the head mesh on the head", "the tracking of frame EXP-2-eyes_00002 fits", "shifted by +1?"),
        f"{SEQ}_00001",
    ),
    _case(
        "tracking of another sequence",
        lambda a: a.retrack(SEQ, lambda c: c["translation"].__iadd__(np.float32(0.15))),
        "393",
        ("expected the head mesh on the head, found", "or of another camera or head model"),
        f"{SEQ}_00001",
    ),
    _case(
        "camera moved",
        lambda a: a.pose(lambda m: m.__setitem__((0, 3), 0.2)),
        "393",
        ("expected the head mesh on the head, found", "pixels it fits", "principal point or crop?"),
        "EXP-1-head_00000",
    ),
]


@each(BESIDE_THE_HEAD)
def test_a_mesh_beside_the_head_is_told_by_the_doctor(case, short) -> None:
    case.damage(short)
    found = examine(NersembleReader(), "393", short.folder, case.options)
    expect_told(case, found.problems)
    assert [problem.severity for problem in found.problems].count("error") == 1


def test_messages_are_distinct() -> None:
    cases = CASES + BESIDE_THE_HEAD
    assert len({case.fragments for case in cases}) == len(cases)


def test_a_sound_person_has_no_problem(author) -> None:
    problems = NersembleReader().check(author.folder, {})
    assert problems == [], "\n".join(p.line() for p in problems)
    found = examine(NersembleReader(), "393", author.folder, {})
    assert [p.severity for p in found.problems] == ["note"], "\n".join(p.line() for p in found.problems)


def test_all_problems_are_told_at_once(author) -> None:
    author.remove(author.video("EXP-1-head"))
    author.retrack("FREE", lambda c: c["scale"].fill(-1))
    author.edit(lambda c: c["intrinsics"].pop("220700191"))
    errors = [p for p in NersembleReader().check(author.folder, {}) if p.severity == "error"]
    assert [p.frame for p in errors] == ["", "EXP-1-head", "FREE"]
    with pytest.raises(DataError, match=r"expected camera 220700191.*and 1 more problem\(s\)"):
        NersembleReader().read(author.folder, {})


@pytest.mark.tried("damaged inputs", "videos and npz files ruined in nine ways", "our own words, no library's")
@pytest.mark.parametrize("turn", [0, 4])
def test_no_library_speaks_for_itself(turn, short) -> None:
    ruin([path for path in sorted(short.folder.rglob("*")) if path.suffix in (".mp4", ".npz")], turn)
    lines = [problem.line() for problem in NersembleReader().check(short.folder, {"missing": "allow"})]
    assert len(lines) > 5
    assert [line for line in lines if FOREIGN.search(line)] == []


def test_several_threads_find_what_one_does(short, monkeypatch) -> None:
    short.scramble(short.video("EXP-2-eyes"))
    short.swap("EXP-9-jaw-2")
    short.remove(short.video("EXP-1-head", "alpha_maps"))
    one = [problem.line() for problem in NersembleReader().check(short.folder, {"missing": "allow"})]
    monkeypatch.setattr(checks, "FEW_PIXELS", -1)
    monkeypatch.setattr(probe, "_FEW_BYTES", -1)
    assert [problem.line() for problem in NersembleReader().check(short.folder, {"missing": "allow"})] == one
    assert sum(line.startswith("error") for line in one) == 3


@pytest.mark.parametrize("content", ["{", '{"tag": "openhead", "size": "large"}', '{"tag": 3}'])
def test_a_size_that_is_not_known_makes_no_other_size_wrong(content, short) -> None:
    (short.folder / "head_model.json").write_text(content)
    errors = [p for p in NersembleReader().check(short.folder, {"missing": "allow"}) if p.severity == "error"]
    assert [p.path.name for p in errors] == ["head_model.json"], "\n".join(p.line() for p in errors)


def test_links_to_nowhere_are_told_and_not_taken_for_missing_downloads(short) -> None:
    (short.folder / "calibration").rename(short.folder / "elsewhere")
    (short.folder / "calibration").symlink_to(short.folder / "gone")
    errors = [p for p in NersembleReader().check(short.folder, {"missing": "allow"}) if p.severity == "error"]
    assert ["gone, which is not there" in p.line() and p.help == "mend the link" for p in errors] == [True]
