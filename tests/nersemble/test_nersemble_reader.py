"""A sound person is read exactly: numbers by hand, not by the code under test."""

from __future__ import annotations

import dataclasses
import json
import math
import threading

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headbench.datasets.nersemble.reader import NersembleReader
from headbench.harness.assets.flame import recognise_model
from headbench.harness.errors import DataError
from headbench.harness.head import load_head
from headbench.harness.types import HeadParams, Identity
from headbench.inspection import examine

HELD_OUT = ("EXP-9-jaw-2", "EMO-4-disgust+happy", "SEN-07-fond_note_fried", "SEN-08-clothes_and_lodging")


def _read(author, **options):
    return NersembleReader().read(author.folder, options)


def test_frames_are_named_by_sequence_and_number_and_split_by_sequence(author, nersemble_format) -> None:
    subject = _read(author)
    train = [name for name in nersemble_format.TRAIN if name not in HELD_OUT]
    assert [f.id for f in subject.train] == [f"{name}_{k:05d}" for name in train for k in (0, 1)]
    assert [f.id for f in subject.test] == [f"{name}_{k:05d}" for name in HELD_OUT for k in (0, 1)]
    assert subject.train[4].id == "EXP-3-cheeks+nose_00000" and subject.train[4].sequence == "EXP-3-cheeks+nose"
    assert {f.camera_id for f in subject.train + subject.test} == {"222200037"}
    assert (subject.name, subject.dataset, subject.head, subject.variant) == (
        "393",
        "nersemble",
        "openhead",
        "nersemble/v2",
    )
    assert subject.shape.shape == (1, 300) and subject.shape[0, :4].tolist() == [0.5, -0.25, 0.125, 0]


def test_moments_are_counted_over_all_sequences_whatever_the_split(author) -> None:
    held, everything = _read(author), _read(author, split="all")
    moments = {f.id: f.timestep for f in held.train + held.test}
    assert sorted(moments.values()) == list(range(36))
    assert moments == {f.id: f.timestep for f in everything.train}


def test_training_on_everything_says_that_its_scores_are_of_seen_frames(author) -> None:
    assert any("are a local proxy of NeRSemble's leaderboard" in note for note in _read(author).notes)
    subject = _read(author, split="all")
    assert not any("proxy" in note for note in subject.notes)
    assert len(subject.train) == 36 and {f.sequence for f in subject.test} == {*HELD_OUT}
    assert subject.variant == "nersemble/v2-all"
    assert "test frames were trained on (split=all): scores are not of held-out frames" in subject.notes
    assert subject.fingerprint["split"] != _read(author).fingerprint["split"]


def test_rotation_is_intrinsic_xyz_about_the_origin_of_the_head(author) -> None:
    # By hand: Rx(90) Ry(90) takes x to y, y to z and z to x.
    quarter = math.pi / 2
    turned = np.array([[[0, 0, 1], [1, 0, 0], [0, 1, 0]]] * 2, dtype=np.float32)

    def change(content) -> None:
        content["rotation"] = np.array([[quarter, quarter, 0]] * 2, dtype=np.float32)
        content["rotation_matrices"] = turned
        content["translation"] = np.array([[0.1, 0.2, 0.3], [0, 0, 0]], dtype=np.float32)
        content["scale"][:] = 2

    author.retrack("EXP-1-head", change)
    similarity = _read(author).train[0].params.similarity
    assert torch.equal(similarity.R, torch.from_numpy(turned[:1])) and similarity.scale.tolist() == [2]
    torch.testing.assert_close(similarity.t, torch.tensor([[0.1, 0.2, 0.3]]))
    # Extrinsic angles of the same values would be another rotation.
    angles = [quarter, quarter, 0]
    assert np.allclose(Rotation.from_euler("XYZ", angles).as_matrix(), turned[0], atol=1e-7)
    assert not np.allclose(Rotation.from_euler("xyz", angles).as_matrix(), turned[0], atol=0.5)


def test_all_rotations_are_scipys_capital_xyz_and_never_the_root_pose(author, nersemble_format) -> None:
    subject = _read(author)
    params = HeadParams.join([f.params for f in subject.train[:4]])
    angles = [nersemble_format.angles(sequence, frame) for sequence in (0, 1) for frame in (0, 1)]
    expected = Rotation.from_euler("XYZ", angles).as_matrix()
    assert np.abs(params.similarity.R.numpy() - expected).max() < 1e-6
    assert not params.root.any() and not params.translation.any() and params.eyelids is None
    torch.testing.assert_close(params.jaw, torch.tensor([[0.1, 0.0, 0.01]] * 4))
    torch.testing.assert_close(params.neck, torch.tensor([[0.0, 0.02, 0.0]] * 4))
    torch.testing.assert_close(params.eye_left, torch.tensor([[0.1, 0.2, 0.0]] * 4))
    torch.testing.assert_close(params.eye_right, torch.tensor([[0.1, -0.05, 0.0]] * 4))
    stored = np.concatenate([nersemble_format.arrays(k)["expression"] for k in (0, 1)])
    assert np.array_equal(params.expression.numpy(), stored)


def test_the_posed_mesh_is_the_unplaced_one_scaled_turned_and_moved(author, nersemble_format) -> None:
    subject = _read(author)
    params = subject.train[3].params
    head, zero = load_head("openhead", "open"), 0 * params.expression
    bound = head.bind(Identity("openhead", subject.shape, zero, zero, params, subject.train[3].camera))
    plain = dataclasses.replace(params, similarity=None)
    stored = nersemble_format.arrays(1)
    turned = bound.vertices(plain)[0].double().numpy() @ stored["rotation_matrices"][1].astype(float).T
    expected = stored["scale"][0, 0] * turned + stored["translation"][1]
    assert np.abs(bound.vertices(params)[0].numpy() - expected).max() < 1e-6


def test_the_camera_is_as_stored_with_its_own_principal_point(author) -> None:
    camera = _read(author).train[0].camera
    assert torch.equal(camera.w2c, torch.tensor([[[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.9], [0, 0, 0, 1]]]))
    assert torch.equal(camera.K, torch.tensor([[[72, 0, 15.5], [0, 71, 16.25], [0, 0, 1]]]))
    assert (camera.width, camera.height) == (32, 32)


@pytest.mark.parametrize("order", ["forwards", "backwards", "shuffled"])
def test_every_frame_gets_its_own_image_in_any_order(order, author, nersemble_format) -> None:
    author.retrack("EXP-1-head", lambda c: c.update(nersemble_format.arrays(0, 5)))
    author.film("EXP-1-head", [nersemble_format.image(0, k / 3) for k in range(5)])
    author.film("EXP-1-head", [nersemble_format.matte()] * 5, "alpha_maps")
    subject = _read(author)
    frames = list(subject.train[:9])
    if order == "backwards":
        frames.reverse()
    elif order == "shuffled":
        np.random.default_rng(0).shuffle(frames)
    for frame in frames:
        place = nersemble_format.TRAIN.index(frame.sequence)
        row = int(frame.id[-5:])
        expected = nersemble_format.grey(place, row / 3 if place == 0 else row)
        pixels = frame.pixels()
        assert pixels.colour.shape == (3, 32, 32) and pixels.colour.dtype == torch.uint8
        assert (pixels.colour[:, 16, 15].int() - expected).abs().max() <= 3, frame.id
        assert pixels.alpha.shape == (1, 32, 32) and pixels.alpha[0, 16, 15] >= 253 and pixels.alpha[0, 0, 0] <= 2


def test_pixels_mixed_with_white_are_the_stored_image(author, nersemble_format) -> None:
    soft = np.zeros((32, 32, 3), np.uint8)
    soft[8:24, 8:24] = 128
    soft[12:20, 12:20] = 255
    share = soft / 255
    stored = np.round(share * 60 + (1 - share) * 255).astype(np.uint8)
    author.film("EXP-1-head", [stored] * 2)
    author.film("EXP-1-head", [soft] * 2, "alpha_maps")
    once, twice = (_read(author, white=how).train[0].pixels() for how in ("once", "twice"))
    alpha = once.alpha.float() / 255
    mixed = {
        how: (alpha * pixels.colour.float() + (1 - alpha) * 255).permute(1, 2, 0).numpy()
        for how, pixels in (("once", once), ("twice", twice))
    }
    flat = (slice(9, 11), slice(9, 23))  # away from edges, which the codec softens
    assert np.abs(mixed["once"][flat] - stored[flat]).max() < 3
    assert (once.colour[:, 9:11, 9:23].float() - 60).abs().max() < 6, "colour is that of the head, not of the mixture"
    assert (mixed["twice"][flat] - stored[flat]).min() > 30, "mixed twice, soft edges become too bright"


def test_clean_mattes_are_hard_at_both_ends_only(author, nersemble_format) -> None:
    levels = np.repeat(np.repeat(np.array([[4, 40], [200, 252]], np.uint8), 16, 0), 16, 1)[..., None].repeat(3, 2)
    author.film("EXP-1-head", [levels] * 2, "alpha_maps")
    for alpha, expected in (("soft", (4, 40, 200, 252)), ("clean", (0, 40, 200, 255))):
        found = _read(author, alpha=alpha).train[0].pixels().alpha[0]
        centres = [int(found[y, x]) for y in (4, 28) for x in (4, 28)]
        assert np.abs(np.array(centres) - expected).max() <= 1, alpha
        if alpha == "clean":
            assert centres[0] == 0 and centres[3] == 255


def test_a_mouth_mask_is_projected_when_it_is_asked_for(author) -> None:
    pixels = _read(author).train[0].pixels()
    assert set(pixels.masks) == {"mouth"}
    mask = pixels.masks["mouth"]
    assert mask.shape == (1, 32, 32) and mask.dtype == torch.uint8 and 2 < int((mask > 0).sum()) < 100


def test_frames_decode_in_several_threads(author, nersemble_format) -> None:
    frames = _read(author).train
    found: dict[str, int] = {}

    def take(part) -> None:
        for frame in part:
            found[frame.id] = int(frame.pixels().colour[0, 16, 15])

    threads = [threading.Thread(target=take, args=(frames[k::3],)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for frame in frames:
        expected = nersemble_format.grey(nersemble_format.TRAIN.index(frame.sequence), int(frame.id[-5:]))
        assert abs(found[frame.id] - expected) <= 3


def test_the_old_tracking_is_read_when_asked_for_and_never_mixed(author) -> None:
    author.old_tracking()
    old, new = _read(author, tracking="v1"), _read(author)
    assert (old.variant, new.variant) == ("nersemble/v1", "nersemble/v2")
    shift = old.train[0].params.similarity.t - new.train[0].params.similarity.t
    torch.testing.assert_close(shift, torch.full((1, 3), 0.03))
    assert any("old tracking flame2023_tracking" in note for note in old.notes)
    assert not any("tracking" in note for note in new.notes)
    assert old.fingerprint["tracking"] != new.fingerprint["tracking"]
    # One sequence without it: an error, not that sequence's new tracking.
    author.remove(author.tracking("EXP-2-eyes", "v1"))
    with pytest.raises(DataError, match=r"expected the tracking v1, found flame2023_tracking_v2\.npz \(v2\) alone"):
        _read(author, tracking="v1")


def test_missing_sequences_are_refused_by_name_or_noted(author) -> None:
    author.remove(author.sequence("EXP-2-eyes"), author.sequence("SEN-07-fond_note_fried"))
    with pytest.raises(DataError, match=r"2 of 18 training sequences missing: EXP-2-eyes, SEN-07-fond_note_fried"):
        _read(author)
    subject = _read(author, missing="allow")
    assert (len(subject.train), len(subject.test)) == (26, 6)
    assert "2 of 18 training sequences missing: EXP-2-eyes, SEN-07-fond_note_fried" in subject.notes


def test_frame_numbers_are_those_of_the_file_and_rows_those_of_the_video(author, nersemble_format) -> None:
    author.retrack("EXP-1-head", lambda c: c.update(frames=np.array([7, 12])))
    frames = _read(author).train
    assert [f.id for f in frames[:2]] == ["EXP-1-head_00007", "EXP-1-head_00012"]
    assert abs(int(frames[1].pixels().colour[0, 16, 15]) - nersemble_format.grey(0, 1)) <= 3
    warnings = [p for p in NersembleReader().check(author.folder, {}) if p.severity == "warning"]
    assert len(warnings) == 1 and "`frames`: expected 0 to 1, found 7 to 12" in warnings[0].message


def test_fingerprints_change_with_what_they_stand_for(author, nersemble_format) -> None:
    before = _read(author).fingerprint
    author.film("EXP-2-eyes", [nersemble_format.image(5, k) for k in range(2)])
    after = _read(author).fingerprint
    changed = {key for key in before if before[key] != after[key]}
    assert changed == {"images", "images:EXP-2-eyes_00000", "images:EXP-2-eyes_00001"}
    author.retrack("EXP-1-head", lambda c: c["jaw"].__setitem__((1, 0), 0.2))
    again = _read(author).fingerprint
    assert {key for key in after if after[key] != again[key]} == {"tracking", "tracking:EXP-1-head_00001"}


def test_real_data_are_flame_2023_and_512_pixels(author, nersemble_format) -> None:
    author.remove(author.folder / "head_model.json", *(author.sequence(n) for n in nersemble_format.TRAIN[1:]))

    def zoom(content) -> None:
        content["intrinsics"]["222200037"] = [[1152, 0, 250.5], [0, 1152, 260], [0, 0, 1]]

    author.edit(zoom)
    with pytest.raises(DataError, match=r"expected 512 x 512 pixels, found 32 x 32"):
        _read(author, missing="allow")
    for kind, picture in (("images", nersemble_format.image(0, 0)), ("alpha_maps", nersemble_format.matte())):
        author.film("EXP-1-head", [picture.repeat(16, 0).repeat(16, 1)] * 2, kind)
    subject = _read(author, missing="allow")
    assert subject.head == "flame2023" and subject.train[0].camera.width == 512
    found = examine(NersembleReader(), "393", author.folder, {"missing": "allow"})
    notes = [p.line() for p in found.problems if p.severity == "note"]
    assert len(notes) == 1 and "flame2023/model is not" in notes[0], notes


def test_data_roots_are_found_at_every_level(author) -> None:
    reader, folder = NersembleReader(), author.folder
    for root in (folder.parents[2], folder.parents[1], folder.parents[0], folder):
        assert reader.subjects(root) == {"393": folder}
    with pytest.raises(DataError, match="No subject of mono_flame_avatar"):
        reader.subjects(folder / "calibration")
    with pytest.raises(DataError, match="is not a folder"):
        reader.subjects(folder / "nothing")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"traking": "v1"}, "Did you mean 'tracking'"),
        ({"tracking": 2}, "Available: v1, v2"),
        ({"white": "thrice"}, "Did you mean 'twice'"),
    ],
)
def test_unknown_options_are_suggested(options, message, author) -> None:
    with pytest.raises(DataError, match=message):
        NersembleReader().read(author.folder, options)


def test_every_option_is_explained() -> None:
    from headbench.datasets.nersemble.options import NersembleOptions

    assert set(NersembleReader().options()) == set(NersembleOptions.choices())
    for name, choices in NersembleOptions.choices().items():
        assert all(f"{choice}: " in NersembleReader().options()[name] for choice in choices)


def test_made_up_people_may_leave_out_the_size(author) -> None:
    (author.folder / "head_model.json").write_text(json.dumps({"tag": "openhead"}))
    with pytest.raises(DataError, match="expected 512 x 512 pixels"):
        _read(author)


def test_flame_2020_never_stands_in_for_2023(short, flame_home) -> None:
    """The arrays have the same shapes, so nothing but the tag keeps the wrong faces away."""
    (short.folder / "head_model.json").write_text(json.dumps({"tag": "flame2023", "size": 32}))
    problems = examine(NersembleReader(), "393", short.folder, {"missing": "allow"}).problems
    assert any("flame2023/model is not" in p.message and "bench assets add flame2023" in p.line() for p in problems)
    frame = _read(short, missing="allow").train[0]
    with pytest.raises(DataError, match="'flame2023' cannot drive 'flame2020'"):
        load_head("flame2020").bind(
            Identity("flame2020", torch.zeros(1, 300), *[torch.zeros(1, 100)] * 2, frame.params, frame.camera)
        ).vertices(frame.params)


@pytest.mark.parametrize("name", ["flame2023.pkl", "FLAME2023.pkl"])
def test_the_models_file_is_known_in_either_case(name, flame_files, tmp_path) -> None:
    (tmp_path / name).symlink_to(flame_files["flame2020/model"])
    assert recognise_model(tmp_path / name).name == "flame2023/model"
