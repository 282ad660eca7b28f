"""Read a video frame by frame: upright, with exact times, and never more of it in memory than a few frames.

A page opens what strangers send it, so each file is taken for hostile: FFmpeg may open containers of video alone and no
address, playlist or other file, sizes are checked before anything is decoded, and whatever goes wrong is one sentence.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from groundingdino.inputs.image_files import named

VideoSource: TypeAlias = str | os.PathLike[str]

# By FFmpeg's names. A playlist (HLS, DASH, concat) would open other files and addresses; letters are no video (tty).
_VIDEOS = "mov,matroska,gif,avi,mpegts,mpeg,flv,asf,ogg,mpegvideo,h264,hevc,m4v,ivf,apng,nut"
_SOUNDS = "wav,mp3,aac,flac"  # opened to say that they are that
_USUAL_RATE = 25.0  # frames a second where a file names none
_FASTEST = 1000.0  # frames a second that are believed
_READ_WHOLE = 256 << 20  # bytes of a file whose packets are counted, as headers may be wrong: a tenth of a second
_THREADS = 4  # that decode, at most: each holds a frame or more
_KEYS = 10.0  # seconds: most videos have a picture more often that can be decoded alone


@dataclass(frozen=True)
class VideoLimits:
    """The longest and largest video that is taken; None: any.

    Attributes:
        seconds: Of its length.
        pixels: Of a frame.
    """

    seconds: float | None = None
    pixels: int | None = 8192 * 4320


@dataclass(frozen=True)
class VideoInfo:
    """What a video's file says of it.

    Attributes:
        width, height: Pixels of its upright frames.
        frames: How many there are, None where that is not known before all are read.
        seconds: From the first frame to the end of the last, over 0.
        rate: Frames a second on average; single frames may be shown for longer or shorter.
    """

    width: int
    height: int
    frames: int | None
    seconds: float
    rate: float

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
        index: From 0, in the stretch that was asked for.
        seconds: When it is shown, counted from the video's first frame; later than the one before.
        pixels: (H, W, 3) uint8, RGB, upright.
    """

    index: int
    seconds: float
    pixels: np.ndarray = field(repr=False)


class Video:
    """A video's file. Each way through it opens the file anew, so that several may be under way.

    Args:
        path: MP4, MOV, WebM, MKV, AVI, GIF and whatever else FFmpeg takes for a video.

    Attributes:
        info: What the file says.
        damaged: Whether parts of it could not be read, as far as it was.
        sound_lost: Whether none of its sound could be read, once it was wanted, though it has some.

    Raises:
        ValueError: one sentence: there is no such file, it is no video, it is damaged, or larger than the limits.
    """

    def __init__(self, path: VideoSource, limits: VideoLimits = VideoLimits()):
        self.path = os.fspath(path)
        self.limits = limits
        self.damaged = self.sound_lost = False
        self._name = named(self.path)
        if not os.path.isfile(self.path):
            raise ValueError(f"There is no video at {self._name}: expected the path of a file such as clip.mp4.")
        if os.path.getsize(self.path) == 0:
            raise ValueError(f"{self._name} is empty: expected a video.")
        with self.opened() as (container, stream):
            self._check_pixels(stream.width, stream.height)
            first = next(self._decoded(container, stream), None)
            if first is None:
                raise ValueError(f"{self._name} has no frame that can be read: it is damaged, or no video.")
            self._check_pixels(first.width, first.height)
            self._base = stream.time_base or Fraction(1, 1000)
            self._first = first.pts or 0  # in units of `_base`
            self._coded = (first.width, first.height)
            self._turns = round(first.rotation / 90) % 4  # quarters, counter-clockwise
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            rate = rate if 0 < rate <= _FASTEST else _USUAL_RATE
            frames, seconds = stream.frames or None, _seconds(container, stream)
        if seconds is None or os.path.getsize(self.path) <= _READ_WHOLE:
            frames, seconds = self._count()
        if frames is not None and seconds > 0 and not frames / seconds <= _FASTEST:
            frames = None  # one of the two is no truth
        width, height = self._coded[::-1] if self._turns % 2 else self._coded
        self.info = VideoInfo(width, height, frames, max(seconds, 1 / rate), rate)
        if limits.seconds is not None and self.info.seconds > limits.seconds + 1 / rate:
            raise ValueError(self._too_long(f"it lasts {self.info.seconds:.0f} seconds"))

    @property
    def begins(self) -> Fraction:
        """When its first frame is shown, in seconds of the file's clock, by which its sound is timed."""
        return self._first * self._base

    def frames(self, start: float = 0.0, end: float | None = None) -> Iterator[Frame]:
        """The frames in order, one at a time.

        Args:
            start, end: Seconds of the first and after the last; None: to the end.

        Raises:
            ValueError: there is none between the two, or the video turns out to be longer than the limit.
        """
        longest = self.limits.seconds
        with self.opened() as (container, stream):
            index, last = 0, -math.inf
            for frame in self._decoded_from(container, stream, start):
                seconds = self._seconds_of(frame, last)
                if end is not None and seconds >= end:
                    break
                if longest is not None and seconds > longest + 1 / self.info.rate:
                    raise ValueError(self._too_long("it goes on"))
                last = seconds
                if seconds >= start - 1e-6:
                    yield Frame(index, seconds, self._upright(frame))
                    index += 1
        if index == 0:
            raise ValueError(f"{self._name} has no frame after {start:.1f} seconds: it lasts {self.info.seconds:.1f}.")

    def frame_near(self, seconds: float) -> Frame:
        """The frame that is shown at a time: the last that does not begin later. Its index is 0."""
        found, when = None, 0.0
        with self.opened() as (container, stream):
            last = -math.inf
            for frame in self._decoded_from(container, stream, seconds):
                last = self._seconds_of(frame, last)
                if found is not None and last > seconds + 1e-6:
                    break
                found, when = frame, last
            if found is None:  # a file whose index leads past its end
                return next(self.frames())
            return Frame(0, when, self._upright(found))

    def thumbnails(self, count: int, height: int = 72) -> Iterator[Frame]:
        """So many frames spread over the video, scaled to a height in pixels; fewer where there are fewer frames."""
        before = -1.0
        for number in range(count):
            frame = self.frame_near(self.info.seconds * number / count)
            if frame.seconds > before:
                before = frame.seconds
                width = max(1, round(height * self.info.width / self.info.height))
                small = VideoFrame.from_ndarray(frame.pixels).reformat(width, height).to_ndarray(format="rgb24")
                yield Frame(number, frame.seconds, small)

    @contextmanager
    def opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """The file, opened anew, and the stream of its frames."""
        options = {"format_whitelist": f"{_VIDEOS},{_SOUNDS}", "protocol_whitelist": "file"}
        try:
            container = av.open(f"file:{self.path}", options=options, metadata_errors="replace")
        except (FFmpegError, ValueError, UnicodeError) as error:
            raise ValueError(
                f"{self._name} cannot be read as a video ({_words(error)}): expected a whole file such as MP4 or WebM."
            ) from error
        with container:
            # The cover of a song is a stream of video to FFmpeg.
            streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
            if not streams:
                what = "sound alone" if container.streams.audio else "no picture"
                raise ValueError(f"{self._name} has {what}: expected a video.")
            stream = streams[0]
            if stream.codec_context is None:
                raise ValueError(f"{self._name} is of a kind of video that cannot be read: save it as MP4 (H.264).")
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = min(_THREADS, os.cpu_count() or 1)
            yield container, stream

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """Frames as they are stored; what is damaged is left out."""
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError:
                self.damaged = True
                return
            if packet is None:
                return
            try:
                frames = packet.decode()
            except FFmpegError:
                self.damaged = True
                continue
            for frame in frames:
                self.damaged |= frame.is_corrupt
                yield frame

    def _decoded_from(self, container: InputContainer, stream: VideoStream, start: float) -> Iterator[VideoFrame]:
        """The same from a time or earlier on; from longer before, and at last from the beginning, where a file leads to
        what cannot be decoded alone, as MPEG-TS does between key frames."""
        for earlier in (0.0, _KEYS):
            if start <= earlier:
                break
            self._seek(container, stream, start - earlier)
            decoded = self._decoded(container, stream)
            first = next(decoded, None)
            if first is not None and first.pts is not None and (first.pts - self._first) * self._base <= start:
                yield first
                yield from decoded
                return
        if start > 0:
            try:  # by its pictures' order of decoding the first may be earlier than it is shown
                container.seek(self._first - math.ceil(1 / self._base), stream=stream, backward=True)
            except FFmpegError:
                container.seek(self._first, stream=stream, backward=True)
        yield from self._decoded(container, stream)

    def _seek(self, container: InputContainer, stream: VideoStream, seconds: float) -> None:
        """To the last key frame before a time; where a file knows none, to its start."""
        target = self._first + int(seconds / self._base)
        try:
            container.seek(target, stream=stream, backward=True)
        except FFmpegError:
            container.seek(self._first, stream=stream, backward=True)

    def _seconds_of(self, frame: VideoFrame, last: float) -> float:
        """When a frame is shown: by its own time; without one, or with one before the last, a frame after that."""
        seconds = math.nan if frame.pts is None else float((frame.pts - self._first) * self._base)
        if not seconds > last:
            return max(last, -1 / self.info.rate) + 1 / self.info.rate
        return max(seconds, 0.0) if last < 0 else seconds

    def _upright(self, frame: VideoFrame) -> np.ndarray:
        width, height = self._coded  # of the first frame, which others may not have
        pixels = frame.reformat(width, height, "rgb24").to_ndarray()
        return np.ascontiguousarray(np.rot90(pixels, self._turns))

    def _count(self) -> tuple[int, float]:
        """Frames and seconds of a file that does not say: as recordings by a browser, which nobody went back over."""
        count, end = 0, self._first
        with self.opened() as (container, stream), suppress(FFmpegError):
            for packet in container.demux(stream):
                count += packet.size > 0
                if packet.pts is not None:
                    end = max(end, packet.pts + (packet.duration or 0))
        return count, float((end - self._first) * self._base)

    def _check_pixels(self, width: int, height: int) -> None:
        most = self.limits.pixels
        if width < 1 or height < 1:
            raise ValueError(f"{self._name} has frames without a size: it is damaged, or no video.")
        if most is not None and width * height > most:
            raise ValueError(
                f"{self._name} is too large: {width} x {height} is {width * height / 1e6:.1f} megapixels, and at most "
                f"{most / 1e6:.1f} are read; scale it down first."
            )

    def _too_long(self, why: str) -> str:
        return f"{self._name} is too long: {why}, and at most {self.limits.seconds:g} are read; cut it first."


def _seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """How long a video says it is."""
    if stream.duration and stream.time_base and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration and container.duration > 0 else None


def _words(error: Exception) -> str:
    """What FFmpeg says, without its number and the path."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text).rstrip(".").lower() if isinstance(error, FFmpegError) else str(text)
