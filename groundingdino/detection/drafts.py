"""When a draft of a smaller copy of the picture is worth showing first, by how fast passes were on this machine."""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from groundingdino.inputs.coordinates import Size
from groundingdino.model.config import GroundingDINOConfig
from groundingdino.model.preprocessing import scaled_size

DRAFT_MILLISECONDS = 300.0  # what a pass may take before a draft is worth showing first
DRAFT_SIDES = (480, 320)  # pixels of a draft's short side, the larger one if it is fast enough
DRAFT_SHARE = 0.75  # of the model's short side, at most: a larger draft saves too little to be worth a second pass
PASSES = 5  # of which the fastest counts: others shared the machine


class Work(NamedTuple):
    """What is left to do."""

    encodings: int  # of pictures
    groundings: int  # of prompts in them


@dataclass
class Pace:
    """Milliseconds per image token of the last passes."""

    encoding: deque[float] = field(default_factory=lambda: deque(maxlen=PASSES))
    grounding: deque[float] = field(default_factory=lambda: deque(maxlen=PASSES))

    def draft_side(self, config: GroundingDINOConfig, size: Size, work: Work, whole: Work | None = None) -> int | None:
        """The short side in pixels at which a draft should come first; None where the full work is fast.

        Args:
            config: Of the model.
            size: Of the picture.
            work: What is left to do of the picture.
            whole: The same without its tiles, where it has some: the model's own short side then means this.
        """
        if not self.grounding:  # before the first pass nobody knows
            return None

        def milliseconds(side: int, work: Work) -> float:
            pace = work.groundings * min(self.grounding)
            pace += work.encodings * min(self.encoding) if work.encodings else 0
            width, height = scaled_size(*size, side, long_side_for(config, side))
            # Each level has a quarter of the tokens of the one before.
            finest = width * height / config.backbone.finest_stride**2
            return pace * finest * sum(1 / 4**level for level in range(config.num_levels))

        if milliseconds(config.short_side, work) <= DRAFT_MILLISECONDS:
            return None
        sides = [side for side in DRAFT_SIDES if side <= DRAFT_SHARE * config.short_side]
        if whole is not None:
            sides.insert(0, config.short_side)
        draft = work if whole is None else whole
        fast = (side for side in sides if milliseconds(side, draft) <= DRAFT_MILLISECONDS)
        return next(fast, sides[-1] if sides else None)


def long_side_for(config: GroundingDINOConfig, short_side: int) -> int:
    """The most pixels of a picture's long side where its short side is scaled to `short_side`."""
    return round(config.long_side * short_side / config.short_side)
