"""Write frames as a video or as numbered pictures, one at a time."""

import io
import os
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image
from typing_extensions import Self

from groundingdino.tracking.sound import Sound

_TICKS = 90_000  # a second: all usual rates are whole numbers of them
_BT709, _LIMITED = 1, 1  # by FFmpeg's numbers: the colours and the range that players take for granted


class FrameWriter(Protocol):
    """What takes frames in their order; as a context manager, which leaves no half of a file behind."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...

    def add(self, pixels: np.ndarray, seconds: float) -> None:
        """The next frame: (H, W, 3 or 4) uint8, shown from `seconds` on."""


class _File:
    """A file that has its name once it is whole."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.partial = self.path.with_name(f"{self.path.name}.partial")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._close(kind is None)
            if kind is None:
                os.replace(self.partial, self.path)
        finally:
            self.partial.unlink(missing_ok=True)

    def _close(self, whole: bool) -> None:
        raise NotImplementedError


class VideoWriter(_File):
    """An MP4 of H.264 that every browser plays, each frame at its own time.

    Its colours are sampled at half the resolution, and its sides are even: of odd ones the last pixels are repeated.

    Args:
        path: of the file.
        rate: Frames a second on average, a note to players.
        quality: x264's CRF, 0 (as it was) to 51.
    """

    def __init__(self, path: str | os.PathLike[str], rate: float, quality: int = 18):
        super().__init__(path)
        self._rate = Fraction(rate).limit_denominator(1001)
        self._quality = quality
        self._container = av.open(str(self.partial), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream: VideoStream | None = None
        self._sound: Sound | None = None
        self._ticks = -1

    def add_sound(self, sound: Sound) -> None:
        """What is heard, from the first frame on: to be told before that is added."""
        self._sound = sound

    def add(self, pixels: np.ndarray, seconds: float) -> None:
        height, width = pixels.shape[:2]
        if self._stream is None:
            self._stream = self._open_stream(width + width % 2, height + height % 2)
        if width % 2 or height % 2:
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels[..., :3]))
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts = self._ticks = max(round(seconds * _TICKS), self._ticks + 1)
        frame.time_base = Fraction(1, _TICKS)
        self._mux(frame)
        if self._sound is not None:
            self._sound.write(self._ticks / _TICKS)

    def _open_stream(self, width: int, height: int) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=self._rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = Fraction(1, _TICKS)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        # Without frames that look ahead, which the container would tell wrong durations of where these vary.
        context.options = {"crf": str(self._quality), "preset": "veryfast", "bf": "0"}
        if self._sound is not None:
            self._sound.begin(self._container)
        return stream

    def _mux(self, frame: VideoFrame | None) -> None:
        assert self._stream is not None
        for packet in self._stream.encode(frame):
            packet.duration = round(_TICKS / self._rate)  # counts for the last; of others the next one's time does
            self._container.mux(packet)

    def _close(self, whole: bool) -> None:
        try:
            if whole and self._stream is not None:
                self._mux(None)
                if self._sound is not None:
                    self._sound.write(self._ticks / _TICKS + float(1 / self._rate))
                    self._sound.end()
        finally:
            self._container.close()


class PictureWriter(_File):
    """A zip of frames as PNG files, to the bit: `000001.png` and so on, and `times.txt` with the seconds of each."""

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(path)
        self._zip = zipfile.ZipFile(self.partial, "w", zipfile.ZIP_STORED)
        self._times: list[float] = []

    def add(self, pixels: np.ndarray, seconds: float) -> None:
        self._times.append(seconds)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=3)
        self._zip.writestr(f"{len(self._times):06}.png", buffer.getvalue())

    def _close(self, whole: bool) -> None:
        if whole:
            self._zip.writestr("times.txt", "".join(f"{seconds:.6f}\n" for seconds in self._times))
        self._zip.close()
