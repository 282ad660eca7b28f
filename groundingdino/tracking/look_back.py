"""The backward pass of a tracker by memory: where a thing was before the look at which it was found first.

    look before ... frames that are kept ... look at which it is found
                    <-- its mask in each, until it has none, or is what is followed there already

Nothing that is tracked already changes by it.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import supervision as sv

from groundingdino.detection.objects import no_objects, select
from groundingdino.segmentation.masks import boxes_of, compact, empty_masks, join
from groundingdino.tracking.matching import ids_of, match_masks, names_of
from groundingdino.tracking.video_memory import VideoMemory, mask_of

MOST_FRAMES = 60  # that are kept: of SAM 2 each has 3 MB


def frames_back(every: int) -> int:
    """How many frames it goes back at most, where the detector looks at one frame of `every`."""
    return min(every, MOST_FRAMES)


@dataclass(frozen=True, eq=False)
class _Past:
    """A frame that is kept."""

    index: int
    pixels: np.ndarray  # (S, S, 3) uint8, as the model sees it
    followed: sv.Detections


class LookBack:
    """Keeps the last few frames, and follows back through them what is new.

    Args:
        memory: Makes one that has seen nothing.
        frames: How many are kept.
    """

    def __init__(self, memory: Callable[[], VideoMemory], frames: int):
        self._memory = memory
        self._past: deque[_Past] = deque(maxlen=frames)
        self._last: _Past | None = None
        self._begun = no_objects()  # in the last frame
        self._before: tuple[_Past, ...] = ()  # that

    def see(self, index: int, pixels: np.ndarray, followed: sv.Detections, begun: sv.Detections) -> None:
        """The next frame.

        Args:
            pixels: As `VideoMemory.fit` gives them.
            followed: All that is followed in it, shown or not, with masks.
            begun: What of it is new.
        """
        self._last = _Past(index, pixels, followed)
        self._begun, self._before = begun, tuple(self._past) if len(begun) else ()
        self._past.append(self._last)

    def forget(self) -> None:
        """From later frames it does not go back to those before."""
        self._past.clear()

    def steps(self) -> Iterator[tuple[int, sv.Detections]]:
        """Follows what was new in the last frame back, the nearest frame first: its index, and what is in it."""
        left, before, last = self._begun, self._before, self._last
        if last is None or not before:
            return
        size = _masks_of(left).shape[:0:-1]
        memory = self._memory()
        memory.follow(last.pixels)
        memory.begin({id: np.asarray(mask) for id, mask in zip(ids_of(left), _masks_of(left), strict=True)})
        for one in reversed(before):
            seen = memory.follow(one.pixels)
            masks = join([compact(mask_of(seen[id], size)) for id in ids_of(left)], size)
            found = sv.Detections(
                boxes_of(masks),
                mask=masks,
                confidence=left.confidence,
                class_id=left.class_id,
                tracker_id=left.tracker_id,
                data=left.data,
            )
            kept = _that_are_new(found, one.followed)
            memory.forget([id for row, id in enumerate(ids_of(found)) if row not in kept])
            left = select(found, np.array(kept, int))
            if not kept:
                return
            yield one.index, left


def _that_are_new(found: sv.Detections, followed: sv.Detections) -> list[int]:
    """Which of what was found is there, and neither what is followed there already nor one with a smaller number."""
    masks, names = _masks_of(found), names_of(found)
    size = masks.shape[:0:-1]
    taken, taken_names = [_masks_of(followed, size)], names_of(followed)
    kept = []
    for row, name in enumerate(names):
        mask = masks[row : row + 1]
        if mask.area[0] and match_masks(join(taken, size), mask, taken_names, [name])[1]:
            kept.append(row)
            taken.append(mask)
            taken_names.append(name)
    return kept


def _masks_of(objects: sv.Detections, size: tuple[int, int] = (1, 1)) -> sv.CompactMask:
    masks = objects.mask
    if masks is None:
        return empty_masks(size)
    return masks if isinstance(masks, sv.CompactMask) else join(map(compact, masks), masks.shape[:0:-1])
