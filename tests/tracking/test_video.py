"""Reading videos: sizes, times, rotation, single frames, limits; and twenty files that mean harm or are broken."""

import io

import numpy as np
import pytest
from PIL import Image

from groundingdino.tracking.video import Video, VideoInfo, VideoLimits
from tests.clips import number_of, picture, write, write_sound

PLAIN = {"bf": "0", "preset": "ultrafast"}


@pytest.fixture
def clip(tmp_path):
    return write(tmp_path / "clip.mp4", options={**PLAIN, "g": "4"})


def numbers(video: Video) -> list[int]:
    return [number_of(frame.pixels) for frame in video.frames()]


def test_frames_come_in_order_with_their_times(clip):
    video = Video(clip)
    assert video.info == VideoInfo(64, 48, 10, pytest.approx(1.0), pytest.approx(10.0))
    frames = list(video.frames())
    assert [frame.index for frame in frames] == list(range(10))
    assert [frame.seconds for frame in frames] == pytest.approx([number / 10 for number in range(10)])
    assert numbers(video) == list(range(10))
    assert frames[0].pixels.shape == (48, 64, 3)
    np.testing.assert_allclose(frames[0].pixels[20, 10], (0, 0, 255), atol=12)
    assert not video.damaged


def test_a_stretch_begins_and_ends_where_it_is_told(clip):
    frames = list(Video(clip).frames(0.35, 0.8))
    assert [number_of(frame.pixels) for frame in frames] == [4, 5, 6, 7]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"has no frame after 5.0 seconds: it lasts 1.0"):
        list(Video(clip).frames(5))


@pytest.mark.parametrize(("seconds", "number"), [(0, 0), (0.05, 0), (0.1, 1), (0.55, 5), (0.9, 9), (7, 9)])
def test_a_single_frame_is_the_one_that_is_shown_then(clip, seconds, number):
    frame = Video(clip).frame_near(seconds)
    assert number_of(frame.pixels) == number
    assert frame.seconds == pytest.approx(number / 10)


@pytest.mark.parametrize("options", [{"g": "250", "sc_threshold": "0"}, {"g": "10", "bf": "2"}])
def test_a_single_frame_is_found_where_a_file_does_not_lead_to_key_frames(tmp_path, options):
    video = Video(write(tmp_path / "broadcast.ts", frames=30, options=options))
    frames = [video.frame_near(number / 10) for number in (5, 10, 15, 29)]
    assert [number_of(frame.pixels) for frame in frames] == [5, 10, 15, 29]
    assert [frame.seconds for frame in frames] == pytest.approx([0.5, 1.0, 1.5, 2.9])
    assert not video.damaged


def test_thumbnails_are_spread_over_the_video(clip):
    small = list(Video(clip).thumbnails(5, height=24))
    assert [frame.seconds for frame in small] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert {frame.pixels.shape for frame in small} == {(24, 32, 3)}
    assert len(list(Video(clip).thumbnails(40))) == 10


@pytest.mark.parametrize(("turn", "corner"), [(90, (-3, 3)), (180, (3, -3)), (-90, (3, 3))])
def test_turned_videos_are_upright(tmp_path, turn, corner):
    video = Video(write(tmp_path / "turned.mp4", turn=turn))
    frame = next(video.frames())
    assert video.info.size == frame.pixels.shape[1::-1] == ((64, 48) if turn == 180 else (48, 64))
    np.testing.assert_allclose(frame.pixels[corner], (0, 0, 255), atol=12)


def test_times_that_vary_are_kept(tmp_path):
    times = [0, 0.04, 0.05, 0.5, 1.2]
    video = Video(write(tmp_path / "varying.mp4", frames=5, times=times, options=PLAIN))
    assert [frame.seconds for frame in video.frames()] == pytest.approx(times)
    assert 1.2 < video.info.seconds < 1.4
    assert number_of(video.frame_near(1.0).pixels) == 3


def test_a_browsers_recording_says_neither_frames_nor_seconds(tmp_path):
    path = write(tmp_path / "live.webm", "libvpx-vp9", container={"live": "1"}, options={"deadline": "realtime"})
    video = Video(path)
    assert video.info.frames == 10
    assert video.info.seconds == pytest.approx(1.0, abs=0.11)
    assert numbers(video) == list(range(10))


def test_limits_are_told_in_one_sentence(clip):
    assert Video(clip, VideoLimits(seconds=1.0, pixels=64 * 48)).info.frames == 10
    with pytest.raises(
        ValueError, match=r"clip.mp4' is too long: it lasts 1 seconds, and at most 0.5 are read; cut it"
    ):
        Video(clip, VideoLimits(seconds=0.5))
    with pytest.raises(ValueError, match=r"is too large: 64 x 48 is 0.0 megapixels, and at most 0.0 are read; scale"):
        Video(clip, VideoLimits(pixels=64 * 48 - 1))


def test_what_goes_on_longer_than_it_says_is_stopped(clip, monkeypatch):
    monkeypatch.setattr("groundingdino.tracking.video._READ_WHOLE", 0)
    monkeypatch.setattr("groundingdino.tracking.video._seconds", lambda *_: 0.2)
    video = Video(clip, VideoLimits(seconds=0.3))
    with pytest.raises(ValueError, match=r"is too long: it goes on, and at most 0\.3 are read"):
        list(video.frames())


def whole(path):
    return write(path, options=PLAIN)


def cut_off(path):
    data = whole(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def cut_off_behind_its_index(path):
    write(path, frames=[np.random.default_rng(n).integers(0, 255, (48, 64, 3), np.uint8) for n in range(10)],
          options={**PLAIN, "g": "1"}, container={"movflags": "+faststart"})  # fmt: skip
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def damaged_in_the_middle(path):
    cut_off_behind_its_index(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 900] = bytes(900)
    path.write_bytes(data)


def text(path):
    path.write_text("a line of words\n" * 200)


def playlist(path):
    whole(path.with_name("other.mp4"))
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n")


def script(path):
    whole(path.with_name("other.mp4"))
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")


def still(path):
    data = io.BytesIO()
    Image.new("RGB", (64, 48)).save(data, "PNG")
    path.write_bytes(data.getvalue())


def changing_size(path):
    one, other = path.with_name("one.ts"), path.with_name("other.ts")
    write(one, "mpeg2video", 3, rate=25)
    write(other, "mpeg2video", [picture(number, (96, 80)) for number in range(3)], rate=25)
    path.write_bytes(one.read_bytes() + other.read_bytes())


def no_frames(path):
    import av

    with av.open(str(path), "w", format="matroska") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        file.start_encoding()


NO_VIDEO = r"cannot be read as a video \(.+\): expected a whole file such as MP4 or WebM\.$"
HOSTILE = [
    ("none.mp4", lambda _: None, "There is no video at"),
    ("folder.mp4", lambda path: path.mkdir(), "There is no video at"),
    ("empty.mp4", lambda path: path.touch(), "is empty: expected a video"),
    ("text.mp4", text, NO_VIDEO),
    ("noise.mp4", lambda path: path.write_bytes(np.random.default_rng(0).bytes(9000)), NO_VIDEO),
    ("still.mp4", still, NO_VIDEO),
    ("playlist.mp4", playlist, NO_VIDEO),
    ("playlist.m3u8", playlist, NO_VIDEO),
    ("script.ffconcat", script, NO_VIDEO),
    ("cut-off.mp4", cut_off, NO_VIDEO),
    ("sound.wav", write_sound, "has sound alone: expected a video"),
    ("sound.mp4", write_sound, "has sound alone: expected a video"),
    ("no-frames.mkv", no_frames, "has no frame that can be read|" + NO_VIDEO),
    ("8k.mp4", lambda path: write(path, frames=[np.zeros((4320, 8200, 3), np.uint8)], options=PLAIN), "is too large"),
    ("cut-off-late.mp4", cut_off_behind_its_index, 10),
    ("damaged.mp4", damaged_in_the_middle, 10),
    ("one-frame.mp4", lambda path: write(path, frames=1), [0]),
    ("no-length.ivf", lambda path: write(path, "libvpx", 1), [0]),
    ("240.mp4", lambda path: write(path, frames=30, rate=240), list(range(30))),
    ("ten-bits.mkv", lambda path: write(path, "ffv1", format="yuv420p10le"), list(range(10))),
    ("odd.mkv", lambda path: write(path, "ffv1", [picture(n, (63, 47)) for n in range(9)], format="yuv444p"), 9),
    ("moving.gif", lambda path: write(path, "gif", format="rgb8"), 10),
    ("changing.ts", changing_size, 6),
    ("lossless.avi", lambda path: write(path, "ffv1", format="bgr0"), list(range(10))),
]


@pytest.mark.parametrize(("name", "make", "expected"), HOSTILE, ids=[name for name, *_ in HOSTILE])
def test_hostile_files_are_a_sentence_or_a_right_result(tmp_path, name, make, expected):
    path = tmp_path / name
    make(path)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected) as told:
            Video(path)
        assert str(told.value).count("\n") == 0
        return
    video = Video(path)
    frames = list(video.frames())
    assert {frame.pixels.shape for frame in frames} == {(video.info.height, video.info.width, 3)}
    times = [frame.seconds for frame in frames]
    assert times == sorted(set(times))
    if isinstance(expected, list):
        assert [number_of(frame.pixels) for frame in frames] == expected
        assert times == pytest.approx([n / video.info.rate for n in range(len(times))], abs=0.05)
        assert number_of(video.frame_near(times[-1]).pixels) == expected[-1]
    else:
        assert expected // 2 <= len(frames) <= expected
        assert video.damaged == (name in ("cut-off-late.mp4", "damaged.mp4"))


def test_of_a_song_the_cover_is_no_video(tmp_path):
    import av

    path = tmp_path / "song.mp3"
    data = io.BytesIO()
    Image.new("RGB", (64, 48)).save(data, "PNG")
    with av.open(str(path), "w") as file:
        sound = file.add_stream("mp3", rate=44100)
        cover = file.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        file.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.int16), format="s16p", layout="mono")
        frame.sample_rate = 44100
        file.mux(sound.encode(frame))
        file.mux(sound.encode())
    with pytest.raises(ValueError, match="has sound alone"):
        Video(path)
