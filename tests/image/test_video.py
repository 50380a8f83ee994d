"""Videos from pixels, read back by a decoder."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from headbench.harness.errors import BenchError
from headbench.harness.image import video
from headbench.harness.image.video import write_video


def flat(value: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (33, 47)])
def test_a_video_shows_its_images_at_its_rate_with_even_sizes(tmp_path: Path, height: int, width: int) -> None:
    shades = [40, 120, 200]
    assert write_video(tmp_path / "a.mp4", (flat(shade, height, width) for shade in shades), 25) == 3
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 25 and stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.name == "h264"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert [frame.shape for frame in frames] == [(height + height % 2, width + width % 2, 3)] * 3
    for shade, frame in zip(shades, frames, strict=True):
        assert abs(int(frame[5, 5, 1]) - shade) <= 4
        assert abs(int(frame[-1, -1, 1]) - shade) <= 4, "the repeated edge has the colour of the image"


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([flat(1), flat(2, 34, 48)], r"a\.mp4: image 1 has shape \(34, 48, 3\), those before it \(32, 48, 3\)"),
        ([], r"a\.mp4: there is no image to show"),
    ],
)
def test_a_video_that_cannot_be_leaves_the_older_one_alone(tmp_path: Path, images: list, reason: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"older")
    with pytest.raises(BenchError, match=reason):
        write_video(tmp_path / "a.mp4", images, 25)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"older"


def test_a_missing_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "ENCODER", "libx999")
    with pytest.raises(BenchError, match=r"PyAV .* has no libx999") as caught:
        write_video(tmp_path / "a.mp4", [flat(1)], 25)
    assert caught.value.help == "pip install av"
    assert list(tmp_path.iterdir()) == []
