"""What one request may ask for: the host's own bounds, below those that the program has."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from time import monotonic

from groundingdino.editing.edits import MAX_CANDIDATES, MAX_STEPS, Sampling
from groundingdino.inputs.image_files import MAX_PIXELS
from groundingdino.page.jobs import TOO_LONG
from groundingdino.runtime.interruption import StopCheck, Stopped

_MOST = {"pixels": MAX_PIXELS, "steps": MAX_STEPS, "candidates": MAX_CANDIDATES, "video_pixels": MAX_PIXELS}


@dataclass(frozen=True)
class Limits:
    """Bounds of one request.

    Attributes:
        upload: Bytes of a picture or video that is sent, or fetched.
        pixels: Of a picture, up to 64 million.
        steps: Of denoising, up to 150; a model that would take more by itself takes this many.
        candidates: Pictures that are painted at once, up to 4.
        seconds: That it is computed; None: 180 for what is found, and any time for what a model paints or follows.
        video_seconds: Of a video's length.
        video_pixels: Of a video's frame.
    """

    upload: int = 100_000_000
    pixels: int = MAX_PIXELS
    steps: int = MAX_STEPS
    candidates: int = MAX_CANDIDATES
    seconds: float | None = None
    video_seconds: float = 120.0
    video_pixels: int = 3840 * 2160

    def __post_init__(self) -> None:
        for each in fields(self):
            value, most = getattr(self, each.name), _MOST.get(each.name)
            if value is None or 0 < value <= (most or float("inf")):
                continue
            up_to = f", and at most {most}" if most else ""
            raise ValueError(f"The limit of {each.name.replace('_', ' ')} must be more than 0{up_to}, not {value}.")

    def heeded(self, sampling: Sampling, suited: int) -> Sampling:
        """How a model paints within the limits; `suited` are its own steps. A ValueError says what is too much."""
        for name in ("steps", "candidates"):
            if (getattr(sampling, name) or 0) > (most := getattr(self, name)):
                raise ValueError(f"This server paints with at most {most} {name}: ask for fewer.")
        if sampling.steps is None and sampling.few_steps is None and suited > self.steps:
            return replace(sampling, steps=self.steps)
        return sampling

    @contextmanager
    def in_time(self, stop: StopCheck | None) -> Iterator[StopCheck | None]:
        """Gives a `stop` that is true after `seconds`, too; a ValueError then says that it took too long."""
        if self.seconds is None:
            yield stop
            return
        until, given_up = monotonic() + self.seconds, stop or (lambda: False)
        try:
            yield lambda: given_up() or monotonic() > until
        except Stopped:
            if given_up():
                raise
            raise ValueError(TOO_LONG.format(limit=self.seconds)) from None
