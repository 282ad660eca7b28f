"""Writing frames: at their times, playable everywhere, whole or not at all."""

import io
import zipfile

import av
import numpy as np
import pytest
from PIL import Image

from groundingdino.tracking.video import Video
from groundingdino.tracking.writing import PictureWriter, VideoWriter
from tests.clips import number_of, picture

TIMES = [0, 0.04, 0.05, 0.5, 1.0, 1.0133]


def test_a_video_has_the_times_and_colours_it_was_given(tmp_path):
    path = tmp_path / "out.mp4"
    with VideoWriter(path, rate=25) as writer:
        for number, seconds in enumerate(TIMES):
            writer.add(picture(number), seconds)
    video = Video(path)
    frames = list(video.frames())
    assert [frame.seconds for frame in frames] == pytest.approx(TIMES, abs=1e-4)
    assert [number_of(frame.pixels) for frame in frames] == list(range(6))
    np.testing.assert_allclose(frames[0].pixels[20, 10], (0, 0, 255), atol=4)
    assert video.info.seconds == pytest.approx(TIMES[-1] + 1 / 25, abs=1e-3)
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")  # browsers can begin at once


def test_odd_sides_get_a_pixel_more(tmp_path):
    with VideoWriter(tmp_path / "odd.mp4", 10) as writer:
        writer.add(picture(3, (63, 47)), 0)
    frame = next(Video(tmp_path / "odd.mp4").frames())
    assert frame.pixels.shape == (48, 64, 3)
    np.testing.assert_allclose(frame.pixels[47, 63], frame.pixels[46, 62], atol=3)


def test_pictures_are_those_that_were_given(tmp_path):
    pixels = [np.random.default_rng(n).integers(0, 256, (6, 5, 4), np.uint8) for n in range(3)]
    with PictureWriter(tmp_path / "out.zip") as writer:
        for number, one in enumerate(pixels):
            writer.add(one, number / 3)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == ["000001.png", "000002.png", "000003.png", "times.txt"]
        for name, one in zip(archive.namelist(), pixels, strict=False):
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(archive.read(name)))), one)
        assert archive.read("times.txt").decode().split() == ["0.000000", "0.333333", "0.666667"]


@pytest.mark.parametrize("kind", [lambda path: VideoWriter(path, 10), PictureWriter])
def test_what_is_stopped_leaves_the_old_file_and_no_half(tmp_path, kind):
    path = tmp_path / "out"
    path.write_text("old")
    writer = kind(path)

    def stop():
        with writer:
            writer.add(picture(0), 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
