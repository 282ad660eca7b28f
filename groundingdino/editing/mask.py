"""From objects to the mask of an edit: grow or shrink, brush, together or one by one, and a soft edge."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import supervision as sv

from groundingdino.editing.edits import BACKGROUNDS, BrushStroke, Edit, Regions
from groundingdino.masks import compact, join, union

Size = tuple[int, int]  # (width, height) in pixels


@dataclass(frozen=True, eq=False)
class EditMask:
    """Where an edit paints.

    Attributes:
        parts: (N, H, W), what is painted in one go each; never empty.
        feather: Pixels over which each part fades into what is around it, outwards.
    """

    parts: sv.CompactMask
    feather: int

    @property
    def size(self) -> Size:
        """(width, height) of the picture."""
        height, width = self.parts.image_shape
        return width, height

    def alpha(self, index: int | None = None) -> np.ndarray:
        """How much of the result is new, (H, W) uint8: 255 in a part, 0 where no pixel changes; None: of all parts."""
        return soften(union(self.parts, self.size) if index is None else self.parts[index], self.feather)


def edit_mask(objects: sv.Detections, size: Size, edit: Edit) -> EditMask:
    """The mask of an edit; it takes no model.

    Args:
        objects: What was found and chosen, in pixels of the picture: masks, or boxes alone. Regions ignore them.
        size: (width, height) of the picture.
        edit: Its task says whether the objects or what is around them are painted. The brush changes the objects after
            they have grown: a stroke that touches one adds to it, another makes an object of its own.

    Raises:
        ValueError: there is nothing to paint, in one sentence that says why.
    """
    feather = edit.mask.feather_in(size)
    if isinstance(edit.task, Regions):
        return EditMask(join((_box_mask(region.box, size) for region in edit.task.regions), size), feather)
    parts = [_grown(mask, edit) for mask in _masks(objects, size, edit.mask.boxes)]
    parts = [part for part in _brushed(parts, edit.brush, size) if part.any()]
    if not parts:
        raise ValueError(_nothing(len(objects), edit))
    if isinstance(edit.task, BACKGROUNDS):
        around = ~np.logical_or.reduce(parts)
        if not around.any():
            raise ValueError("There is no background: the objects cover the whole picture.")
        parts = [around]
    elif not edit.mask.one_by_one:
        parts = [np.logical_or.reduce(parts)]
    return EditMask(join(map(compact, parts), size), feather)


def grow(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A mask (H, W) bool with its edge moved outwards by so many pixels, inwards if negative; corners become round.

    What a picture's edge cuts off is taken to go on beyond it.
    """
    if pixels == 0 or not mask.any():
        return mask
    moved = mask.copy()
    window = _around(mask, max(pixels, 0) + 1)  # beyond it nothing changes
    if pixels > 0:
        moved[window] = _distance_to(mask[window]) <= pixels
    elif not mask[window].all():
        moved[window] = _distance_to(~mask[window]) > -pixels
    return moved


def soften(mask: np.ndarray, feather: int) -> np.ndarray:
    """255 in the mask (H, W) bool, falling to 0 evenly within `feather` pixels outside it, (H, W) uint8."""
    hard = mask.astype(np.uint8) * 255
    if feather == 0 or mask.all() or not mask.any():
        return hard
    reach = feather + 1
    window = _around(mask, reach)
    fading = 255 * (1 - _distance_to(mask[window]) / reach)
    hard[window] = np.clip(np.rint(fading), 0, 255).astype(np.uint8)
    return hard


def _around(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    """The part of a mask (H, W) bool that holds all of it, and so many pixels more on each side."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return np.s_[max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]


def _distance_to(mask: np.ndarray) -> np.ndarray:
    """Pixels from each pixel to the nearest one of the mask, (H, W) float32; 0 in the mask."""
    return cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _grown(mask: np.ndarray, edit: Edit) -> np.ndarray:
    *_, width, height = cv2.boundingRect(mask.view(np.uint8))
    return grow(mask, edit.mask.grow_of(max(width, height), edit.task))


def _masks(objects: sv.Detections, size: Size, boxes: bool) -> list[np.ndarray]:
    if objects.mask is None or boxes:
        width, height = size
        inside = np.clip(objects.xyxy, 0, [width, height, width, height])
        return [np.asarray(_box_mask(box, size))[0] for box in inside if box[2] > box[0] and box[3] > box[1]]
    return [np.asarray(mask) for mask in objects.mask]


def _box_mask(box: Sequence[float], size: Size) -> sv.CompactMask:
    """All pixels that a box touches, (1, H, W).

    Raises:
        ValueError: it touches none.
    """
    width, height = size
    x0, y0 = (max(0, int(np.floor(edge))) for edge in box[:2])
    x1, y1 = int(np.ceil(box[2])), int(np.ceil(box[3]))
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise ValueError(f"The box {tuple(box)} lies outside the picture of {width} x {height} pixels.")
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    return compact(mask)


def _brushed(parts: Sequence[np.ndarray], brush: Sequence[BrushStroke], size: Size) -> list[np.ndarray]:
    """The parts after the strokes, and one more of what was drawn where no part is."""
    if not brush:
        return list(parts)
    parts = [part.copy() for part in parts]
    own = np.zeros(size[::-1], bool)
    for stroke in brush:
        drawn = _drawn(stroke, size)
        if stroke.adds:
            touched = next((part for part in parts if part[drawn].any()), own)
            touched |= drawn
        else:
            for part in (*parts, own):
                part &= ~drawn
    return [*parts, own]


def _drawn(stroke: BrushStroke, size: Size) -> np.ndarray:
    canvas = np.zeros(size[::-1], np.uint8)
    # Far away places would overflow OpenCV's fixed point numbers.
    places = np.clip(np.rint(stroke.line), -(2**15), 2**15 - 1).astype(np.int32)
    thickness = max(1, round(stroke.width))
    cv2.polylines(canvas, [places.reshape(-1, 1, 2)], False, 1, thickness)
    if len(stroke.line) == 1:
        cv2.circle(canvas, tuple(map(int, places[0])), thickness // 2, 1, cv2.FILLED)
    return canvas.astype(bool)


def _nothing(found: int, edit: Edit) -> str:
    if found == 0 and not edit.brush:
        return "Nothing is selected: name what to edit, tick it, or draw over it with the brush."
    if edit.mask.grow is not None and edit.mask.grow < 0:
        return f"Nothing is left of the mask after shrinking it by {-edit.mask.grow} pixels."
    return "Nothing is left of the mask: what was found has no area, or the brush erased all of it."
