"""The sound of a video in what is made of it: from the right sample on, as long as the frames, and never in the way."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import supervision as sv

from groundingdino.tracking.making import VIDEO, write_frames
from groundingdino.tracking.tracker import TrackedFrame
from groundingdino.tracking.video import Video
from tests import clips

SECONDS = 3.0


def chirp(rate: int, seconds: float = SECONDS, channels: int = 1) -> np.ndarray:
    """A tone that rises from 200 to 1,400 hertz: each moment of it is another."""
    time = np.arange(int(rate * seconds)) / rate
    tone = 0.5 * np.sin(2 * np.pi * (200 * time + 200 * time**2))
    return np.stack([tone] * channels).astype(np.float32)


def clip(path: Path, channels: int = 1, **options) -> Path:
    """A video of three seconds that sounds all the time."""
    rate = options.setdefault("sound_rate", 44100)
    late = options.get("late", 0.0)
    return clips.write(path, frames=30, sound=chirp(rate, SECONDS - late, channels), **options)


def export(path: Path, start: float = 0.0, end: float | None = None) -> tuple[Path, Video]:
    """A video of a stretch in which nothing is followed."""
    nothing = sv.Detections(
        np.empty((0, 4), np.float32),
        confidence=np.empty(0, np.float32),
        class_id=np.empty(0, int),
        tracker_id=np.empty(0, int),
        data={"class_name": np.empty(0, str)},
    )
    video, made = Video(path), path.with_name(f"of-{path.stem}.mp4")
    pairs = ((one, TrackedFrame(one.index, one.seconds, nothing)) for one in video.frames(start, end))
    write_frames(made, VIDEO, pairs, video)
    return made, video


def lag(heard: np.ndarray, wanted: np.ndarray) -> int:
    """By how many samples the one is later than the other."""
    size = 1 << 18
    alike = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size)), size)
    found = int(np.argmax(alike))
    return found if found < size // 2 else found - size


def kind(path: Path) -> str | None:
    """The codec of a file's sound; None where it has none."""
    with av.open(str(path)) as file:
        return next((stream.codec_context.name for stream in file.streams.audio), None)


@pytest.mark.parametrize(("start", "end", "first", "length"), [(0.0, None, 0.0, 3.0), (1.05, 2.05, 1.1, 1.0)])
@pytest.mark.parametrize("channels", [1, 2])
def test_aac_is_copied_from_the_sample_on(tmp_path, channels, start, end, first, length):
    source = clip(tmp_path / "clip.mp4", channels)
    made, video = export(source, start, end)
    heard, rate = clips.hear(made)
    wanted = clips.hear(source)[0][round(first * rate) :]
    assert (kind(made), rate) == ("aac", 44100)
    assert len(heard) / rate == pytest.approx(length, abs=0.025), "to a packet"
    both = min(len(heard), len(wanted))
    np.testing.assert_allclose(heard[: both - 2048], wanted[: both - 2048], atol=1e-4)  # nothing was encoded again
    assert Video(made).info.seconds == pytest.approx(length, abs=1e-3)
    assert (video.damaged, video.sound_lost) == (False, False)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pcm.mkv", {"sound_codec": "pcm_s16le", "sound_rate": 22050}),
        ("fast.mkv", {"sound_codec": "flac", "sound_rate": 192000}),
        ("opus.webm", {"sound_codec": "libopus", "sound_rate": 48000, "codec": "libvpx"}),
        ("mp3.avi", {"sound_codec": "libmp3lame", "codec": "mpeg4"}),
        ("adts.ts", {}),
        ("milliseconds.mkv", {}),
        ("flash.flv", {"codec": "flv1"}),
    ],
)
def test_other_sound_is_heard_at_the_right_time(tmp_path, name, options):
    source = clip(tmp_path / name, 2, **options)
    for start, end in ((0.0, None), (1.05, 2.05)):
        made, video = export(source, start, end)
        first = next(video.frames(start)).seconds
        last = SECONDS if end is None else 2.1
        heard, rate = clips.hear(made)
        wanted, before = clips.hear(source)
        if before != rate:
            wanted = chirp(rate)[0]
        begins = 0 if before != rate else float(video.begins)  # by the file's clock
        wanted = wanted[round((begins + first) * rate) : round((begins + last) * rate)]
        assert kind(made) == "aac"
        assert len(heard) / rate == pytest.approx(last - first, abs=0.05)
        assert abs(lag(heard, wanted)) <= 0.002 * rate, "two milliseconds, which some containers round times to"
        begin = slice(0, rate // 20)
        assert abs(lag(heard[begin], wanted[begin])) <= 0.002 * rate, "from the beginning"
        np.testing.assert_allclose(np.abs(heard[rate // 10 : rate // 2]).max(), 0.5, atol=0.1)
        assert not video.sound_lost


def test_sound_that_begins_later_does_so_again(tmp_path):
    for name, options in (("copied.mp4", {}), ("encoded.mkv", {"sound_codec": "pcm_s16le"})):
        heard, rate = clips.hear(export(clip(tmp_path / name, late=1.0, **options))[0])
        assert np.abs(heard[: round(0.95 * rate)]).max() < 0.01
        assert abs(lag(heard, np.concatenate([np.zeros(rate, np.float32), chirp(rate, 2.0)[0]]))) <= 0.002 * rate
        heard, rate = clips.hear(export(tmp_path / name, 1.5, 2.5)[0])
        assert abs(lag(heard, chirp(rate)[0][round(0.5 * rate) : round(1.5 * rate)])) <= 0.002 * rate


def test_sound_that_ends_earlier_leaves_the_frames_whole(tmp_path):
    source = clips.write(tmp_path / "short.mp4", frames=30, sound=chirp(44100, 1.0))
    made, _ = export(source)
    assert Video(made).info.frames == 30
    assert len(clips.hear(made)[0]) / 44100 == pytest.approx(1.0, abs=0.05)
    made, video = export(source, 2.0)
    assert kind(made) is None
    assert not video.sound_lost, "there is none"


def test_where_there_is_no_sound_none_is_made(tmp_path):
    for name, options in (("mute.mp4", {}), ("mute.gif", {"codec": "gif", "format": "rgb8"})):
        made, video = export(clips.write(tmp_path / name, **options))
        assert kind(made) is None
        assert not video.sound_lost


def replace_sound(source: Path, changed: Callable[[int, av.Packet], av.Packet | None]) -> Path:
    """The same video with other packets of sound."""
    other = source.with_name(f"broken-{source.name}")
    with av.open(str(source)) as read, av.open(str(other), "w") as file:
        streams = {stream.index: file.add_stream_from_template(stream, opaque=True) for stream in read.streams}
        numbers = iter(range(10**6))
        for packet in read.demux():
            if not packet.size:
                continue
            stream = streams[packet.stream.index]
            if stream.type == "audio":
                packet = changed(next(numbers), packet)
            packet.stream = stream
            file.mux(packet)
    return other


def rubbish(packet: av.Packet, byte: bytes = b"\x55") -> av.Packet:
    other = av.Packet(byte * packet.size)
    other.pts, other.dts, other.time_base, other.duration = packet.pts, packet.dts, packet.time_base, packet.duration
    return other


@pytest.mark.parametrize(("name", "options"), [("a.mp4", {}), ("f.mkv", {"sound_codec": "flac"})])
def test_sound_that_cannot_be_read_is_left_out_and_known(tmp_path, name, options):
    source = replace_sound(clip(tmp_path / name, **options), lambda _, packet: rubbish(packet))
    made, video = export(source)
    assert kind(made) is None
    assert Video(made).info.frames == 30
    assert video.sound_lost


def test_sound_of_an_unknown_kind_is_left_out_and_known(tmp_path):
    source = clip(tmp_path / "clip.mkv")
    source.write_bytes(source.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    made, video = export(source)
    assert kind(made) is None
    assert video.sound_lost


def test_what_is_damaged_in_the_middle_is_silence(tmp_path):
    whole = clip(tmp_path / "f.mkv", sound_codec="flac")
    source = replace_sound(whole, lambda number, packet: rubbish(packet) if 8 <= number < 16 else packet)
    made, video = export(source)
    heard, rate = clips.hear(made)
    assert abs(lag(heard[2 * rate :], chirp(rate)[0][2 * rate :])) <= 0.002 * rate
    quiet = [float(np.abs(part).max()) < 0.05 for part in np.array_split(heard, 60)]
    assert 5 <= sum(quiet) <= 30
    assert video.damaged
    assert not video.sound_lost


def test_a_packet_that_mp4_does_not_take_is_left_out(tmp_path):
    def strange(number: int, packet: av.Packet) -> av.Packet:
        return rubbish(packet, b"\xff") if number == 40 else packet

    made, video = export(replace_sound(clip(tmp_path / "a.mkv"), strange))
    heard, rate = clips.hear(made)
    assert abs(lag(heard, chirp(rate)[0])) <= 0.002 * rate
    assert len(heard) / rate == pytest.approx(SECONDS, abs=0.05)
    assert video.damaged


@pytest.mark.parametrize(("name", "options"), [("a.mkv", {}), ("p.mkv", {"sound_codec": "pcm_s16le"})])
def test_times_that_jump_do_not_make_it_longer(tmp_path, name, options):
    def an_hour_later(number: int, packet: av.Packet) -> av.Packet:
        if number > 20:
            packet.pts = packet.dts = (packet.pts or 0) + round(3600 / packet.time_base)
        return packet

    made, _ = export(replace_sound(clip(tmp_path / name, **options), an_hour_later), 0.0, SECONDS)
    heard, rate = clips.hear(made)
    assert len(heard) / rate <= SECONDS + 0.05
    assert Video(made).info.frames == 30
    assert abs(lag(heard[: rate // 4], chirp(rate)[0][: rate // 4])) <= 0.002 * rate


def memory_of_export(path: Path) -> tuple[Path, int]:
    """A video that is made, and the most bytes that arrays had meanwhile."""
    tracemalloc.start()
    made, _ = export(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return made, peak


def test_a_packet_of_hours_is_not_in_memory_at_once(tmp_path):
    hour = np.zeros((1, 360_000), np.float32)
    source = clips.write(tmp_path / "slow.mkv", sound=hour, sound_codec="pcm_s16le", sound_rate=100, block=hour.size)
    made, peak = memory_of_export(source)
    assert kind(made) == "aac"
    assert peak < 40e6, "all of it would be 700 MB"


def test_a_long_silence_is_not_in_memory_at_once(tmp_path):
    source = clips.write(
        tmp_path / "late.mkv",
        frames=3,
        times=(0, 0.1, 300),
        sound=chirp(48000),
        sound_rate=48000,
        sound_codec="pcm_s16le",
        late=290.0,
    )
    made, peak = memory_of_export(source)
    heard, rate = clips.hear(made)
    assert peak < 20e6, "all of it would be 55 MB"
    wanted = chirp(rate)[0][: rate // 2]
    begins = round(290 * rate)
    assert abs(lag(heard[begins : begins + len(wanted)], wanted)) <= 0.002 * rate
