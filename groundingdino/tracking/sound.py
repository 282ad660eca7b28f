"""The sound of a stretch of a video, for the MP4 that is made of it.

AAC is copied, packet by packet, with an edit list that begins at the sample; any other sound is decoded and encoded as
AAC, which every browser plays. It is read in step with the frames that are written, so that little of it is in memory.
A file is taken for hostile here, too: what cannot be read is silence, and nothing of it ends the video.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from typing import Any, Protocol

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet

from groundingdino.tracking.video import Video

# Samples a second that AAC knows; of any other sound is resampled.
_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_USUAL_RATE = 48000
_BLOCK = 1024  # samples of a packet of AAC
_BEFORE = 4  # packets that a decoder is warmed up with where sound begins in the middle
_BITS = 160_000  # a second
_ADTS = b"\xff\xf0"
_SLACK = 0.05  # seconds by which times may be off: a longer gap is silence
_EARLIER = 1.0  # seconds: where reading begins, before it is wanted

ERRORS = (FFmpegError, ValueError)  # of reading what somebody sent


class Sound(Protocol):
    """Sound from a time of a video on; seconds count from there."""

    def begin(self, output: OutputContainer) -> None:
        """Adds its stream to a file, before anything is written to it."""

    def write(self, until: float) -> None:
        """Writes what is heard before a time, in seconds; of earlier calls it has the rest."""

    def end(self) -> None:
        """Writes what has been held back."""


@contextmanager
def sound_of(video: Video, start: float) -> Iterator[Sound | None]:
    """The sound of a video from `start` on, in its seconds; None where there is none, or `video.sound_lost`."""
    with video.opened() as (container, _):
        stream = next(iter(container.streams.audio), None)
        yield None if stream is None else _open(video, container, stream, video.begins + Fraction(start))


def _open(video: Video, container: InputContainer, stream: AudioStream, origin: Fraction) -> Sound | None:
    if stream.codec_context is None:  # FFmpeg does not know it
        video.sound_lost = True
        return None
    try:
        reader = _Reader(video, container, stream, origin)
        first = next(reader.heard(), None)
        if first is None:
            video.sound_lost = reader.failed
            return None
        context = stream.codec_context
        if context.name == "aac" and context.extradata and 1 <= context.channels <= 8 and context.sample_rate in _RATES:
            return _Copied(reader)
        return _Encoded(reader, first[1])
    except ERRORS:
        video.sound_lost = True
        return None


class _Reader:
    """Packets and samples of a stream, from just before a time of the file's clock on; each time from there again."""

    def __init__(self, video: Video, container: InputContainer, stream: AudioStream, origin: Fraction):
        self.video, self.container, self.stream, self.origin = video, container, stream, origin
        self.base = stream.time_base or Fraction(1, 1000)
        self.failed = False  # something could not be read

    def packets(self) -> Iterator[Packet]:
        """With times from `origin` on, in units of `base`."""
        begin = max(self.origin - Fraction(_EARLIER), self.video.begins - 1)  # some sound begins before its picture
        try:
            self.container.seek(math.floor(begin / self.base), stream=self.stream, backward=True)
        except FFmpegError:
            with suppress(FFmpegError):  # as of FLV, which knows no time before its first
                self.container.seek(self.stream.start_time or 0, stream=self.stream, backward=True)
        found = self.container.demux(self.stream)
        while True:
            try:
                packet = next(found, None)
            except FFmpegError:
                self.fail()
                return
            if packet is None:
                return
            yield packet

    def heard(self) -> Iterator[tuple[Fraction | None, av.AudioFrame]]:
        """What is heard at `origin` and later, decoded: seconds from there, below 0 for one that began before."""
        for packet in self.packets():
            try:
                frames = packet.decode()
            except FFmpegError:
                self.fail()
                continue
            for frame in frames:
                if not isinstance(frame, av.AudioFrame) or not frame.samples or not frame.sample_rate:
                    continue
                time = None if frame.pts is None else frame.pts * (frame.time_base or self.base) - self.origin
                if time is None or time + Fraction(frame.samples, frame.sample_rate) > 0:
                    yield time, frame

    def fail(self) -> None:
        """Notes that something could not be read."""
        self.failed = self.video.damaged = True


class _Copied(Sound):
    """AAC as it is. Its times are counted in samples, as some containers round them to milliseconds."""

    def __init__(self, reader: _Reader):
        context = reader.stream.codec_context
        self._reader, self._rate, self._size = reader, context.sample_rate, context.frame_size or _BLOCK
        self._packets = self._placed()
        self._next: tuple[int, Packet] | None = None

    def begin(self, output: OutputContainer) -> None:
        self._output = output
        self._stream = output.add_stream_from_template(self._reader.stream, opaque=True)

    def write(self, until: float) -> None:
        while True:
            item = self._next or next(self._packets, None)
            self._next = item
            if item is None or item[0] >= until * self._rate:
                return
            self._next = None
            place, packet = item
            packet.stream, packet.time_base = self._stream, Fraction(1, self._rate)
            packet.pts = packet.dts = place
            packet.duration = self._size
            self._output.mux(packet)

    def end(self) -> None:
        pass

    def _placed(self) -> Iterator[tuple[int, Packet]]:
        """Packets, with the number of their first sample, from 0 at `origin`; a few more warm a decoder up."""
        expected = None
        for packet in self._reader.packets():
            if packet.pts is None or not packet.size:
                continue
            if bytes(packet)[:2] >= _ADTS:  # MP4 takes none that looks like one of a raw stream
                self._reader.fail()
                continue
            place = round((packet.pts * self._reader.base - self._reader.origin) * self._rate)
            if expected is not None and abs(place - expected) <= self._size // 2:  # none is missing
                place = expected
            if place > -_BEFORE * self._size and (expected is None or place >= expected):
                yield place, packet
            expected = place + self._size if expected is None or place >= expected else expected


class _Encoded(Sound):
    """Any sound as AAC, of one or two channels."""

    def __init__(self, reader: _Reader, first: av.AudioFrame):
        self._reader = reader
        self.rate = first.sample_rate if first.sample_rate in _RATES else _USUAL_RATE
        self.layout = "mono" if first.layout.nb_channels == 1 else "stereo"
        self._chunks = self._placed()
        self._chunk: tuple[int, np.ndarray] | None = None  # what was read and is not written yet, and from where on
        self._filled = self._sent = 0  # samples that were written, and of these encoded
        self._held: list[np.ndarray] = []  # what is between

    def begin(self, output: OutputContainer) -> None:
        self._output = output
        self._stream = output.add_stream("aac", rate=self.rate)
        self._stream.codec_context.layout, self._stream.codec_context.format = self.layout, "fltp"
        self._stream.codec_context.bit_rate = _BITS // (2 if self.layout == "mono" else 1)

    def write(self, until: float) -> None:
        end = round(until * self.rate)
        while self._filled < end:
            chunk = self._chunk or next(self._chunks, None)
            if chunk is None:
                return
            place, samples = chunk
            if place > self._filled:
                length = min(place, end, self._filled + self.rate) - self._filled  # a long gap is not in memory at once
                self._add(np.zeros((len(samples), length), np.float32))
            elif place < self._filled:  # twice
                samples, place = samples[:, self._filled - place :], self._filled
            if place == self._filled:
                now = samples[:, : end - place]
                self._add(now)
                samples, place = samples[:, now.shape[1] :], place + now.shape[1]
            self._chunk = (place, samples) if samples.shape[1] else None

    def end(self) -> None:
        self._encode(whole=False)
        self._output.mux(self._stream.encode(None))

    def _placed(self) -> Iterator[tuple[int, np.ndarray]]:
        """Samples (channels, N) and the number of the first of them, from 0 at `origin`."""
        resampler, place = None, 0
        is_first = True
        for time, frame in self._reader.heard():
            if time is not None:
                told = round(time * self.rate)
                if is_first or abs(told - place) > _SLACK * self.rate:
                    place = told
            is_first = False
            kind = frame.format.name, frame.layout.name, frame.sample_rate
            try:
                if resampler is None or resampler[0] != kind:
                    resampler = kind, AudioResampler("fltp", self.layout, self.rate)
                for second in _in_seconds(frame):
                    for part in resampler[1].resample(second):
                        samples = np.nan_to_num(part.to_ndarray()).clip(-1, 1)
                        yield place, samples
                        place += samples.shape[1]
            except ERRORS:
                self._reader.fail()

    def _add(self, samples: np.ndarray) -> None:
        self._held.append(samples)
        self._filled += samples.shape[1]
        if self._filled - self._sent >= _BLOCK:
            self._encode()

    def _encode(self, whole: bool = True) -> None:
        """What is held, in blocks; at the end the rest of it, too."""
        if not self._held:
            return
        samples = np.concatenate(self._held, axis=1)
        most = samples.shape[1] // _BLOCK * _BLOCK if whole else samples.shape[1]
        for at in range(0, most, _BLOCK):
            block = np.ascontiguousarray(samples[:, at : min(at + _BLOCK, most)], np.float32)
            frame = av.AudioFrame.from_ndarray(block, "fltp", self.layout)
            frame.sample_rate, frame.pts, frame.time_base = self.rate, self._sent, Fraction(1, self.rate)
            self._sent += block.shape[1]
            self._output.mux(self._stream.encode(frame))
        self._held = [samples[:, most:]]


def _in_seconds(frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
    """A frame without its time, in parts of at most a second: of few samples a second one packet may hold hours."""
    frame.pts = None
    if frame.samples <= frame.sample_rate:
        yield frame
        return
    samples, width = frame.to_ndarray(), 1 if frame.format.is_planar else frame.layout.nb_channels
    for at in range(0, frame.samples, frame.sample_rate):
        block: Any = np.ascontiguousarray(samples[:, at * width : (at + frame.sample_rate) * width])
        part = av.AudioFrame.from_ndarray(block, frame.format.name, frame.layout.name)
        part.sample_rate = frame.sample_rate
        yield part
