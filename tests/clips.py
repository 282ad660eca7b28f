"""Small videos as files: made by PyAV, in any codec and container, with any times."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (64, 48)


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W, 3) uint8: blue on the left, and on the right a grey that tells the number of the frame, up to 31."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2] = (0, 0, 255)
    pixels[:, width // 2 :] = 8 * number
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """The number of a frame that `picture` made."""
    height, width = pixels.shape[:2]
    return round(float(pixels[height // 4 : -height // 4, -width // 4 : -2].mean()) / 8)


def write(
    path: Path,
    codec: str = "libx264",
    frames: Iterable[np.ndarray] | int = 10,
    rate: int = 10,
    format: str = "yuv420p",
    times: Sequence[float] | None = None,
    turn: int = 0,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    kind: str | None = None,
    sound: np.ndarray | None = None,
    sound_codec: str = "aac",
    sound_rate: int = 44100,
    late: float = 0.0,
    block: int = 960,
) -> Path:
    """A video's file.

    Args:
        frames: Their pixels, or how many of `picture`.
        times: Seconds of each frame; by default as by the rate.
        turn: Degrees, counter-clockwise, that players are told to turn it.
        options, container: Of the encoder and of the file, by FFmpeg's names.
        kind: Of the container, where the name does not tell.
        sound: (channels, samples) float32, from -1 to 1, of so many samples a second.
        late: Seconds after which it begins.
        block: Samples that are encoded at once.
    """
    pixels = [picture(number) for number in range(frames)] if isinstance(frames, int) else list(frames)
    ticks = Fraction(1, 1000)
    with av.open(str(path), "w", format=kind, options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width = pixels[0].shape[:2] if pixels else SIZE[::-1]
        stream.pix_fmt = format
        stream.codec_context.options = options or {}
        if times is not None:
            stream.codec_context.time_base = stream.time_base = ticks
        if turn:
            stream.set_display_rotation(turn)
        voice = None
        if sound is not None:
            voice = file.add_stream(sound_codec, rate=sound_rate)
            voice.codec_context.layout = "mono" if len(sound) == 1 else "stereo"
        for number, one in enumerate(pixels):
            frame = av.VideoFrame.from_ndarray(one)
            if times is not None:
                frame.pts, frame.time_base = round(times[number] * 1000), ticks
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if voice is not None and sound is not None:
            _encode(file, voice, sound, sound_rate, late, block)
    return path


def _encode(
    file: av.container.OutputContainer, voice: av.AudioStream, sound: np.ndarray, rate: int, late: float, size: int
) -> None:
    layout = voice.codec_context.layout.name
    for at in range(0, sound.shape[1], size):
        block = np.ascontiguousarray(sound[:, at : at + size], np.float32)
        frame = av.AudioFrame.from_ndarray(block, "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, round(late * rate) + at, Fraction(1, rate)
        file.mux(voice.encode(frame))
    file.mux(voice.encode())


def hear(path: Path) -> tuple[np.ndarray, int]:
    """The first channel of a file's sound, from 0 seconds on, and its samples a second."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        heard, length = [np.zeros(0, np.float32)], 0
        for frame in file.decode(stream):
            samples = frame.to_ndarray().astype(np.float32)
            samples = samples[0] if frame.format.is_planar else samples[0, :: frame.layout.nb_channels]
            if frame.format.name.startswith("s16"):
                samples /= 32768
            place = round(float(frame.pts * frame.time_base) * frame.sample_rate)
            if place > length + 100:  # some containers round times
                heard.append(np.zeros(place - length, np.float32))
            elif length == 0:
                samples = samples[max(0, -place) :]
            heard.append(samples)
            length = sum(map(len, heard))
        return np.concatenate(heard), stream.rate


def write_sound(path: Path) -> Path:
    """A second of silence."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le" if path.suffix == ".wav" else "aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
