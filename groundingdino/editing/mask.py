"""From objects to the mask of an edit: grow or shrink, brush, together or one by one, and a soft edge."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import supervision as sv
from PIL import Image
from scipy import ndimage

from groundingdino.editing.edits import BrushStroke, Edit
from groundingdino.editing.outpainting import new_part
from groundingdino.editing.tasks import BACKGROUNDS, Outpaint, Regions
from groundingdino.inputs.coordinates import Size
from groundingdino.inputs.image import load_image
from groundingdino.runtime.interruption import raise_if_stopped
from groundingdino.segmentation.masks import check_size, compact, join, union

Window = tuple[slice, slice]  # rows and columns

_CANVAS_BYTES = 64 << 20  # of parts that strokes change


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
        objects: What was found and chosen, in pixels of the picture: masks, or boxes alone. Tasks that
            are `PLACED` ignore them.
        size: (width, height) of the picture; that of the mask is larger where it grows.
        edit: Its task says whether the objects or what is around them are painted. The brush changes the objects after
            they have grown: a stroke that touches one adds to it, another makes an object of its own.

    Raises:
        ValueError: there is nothing to paint, in one sentence that says why.
    """
    if isinstance(edit.task, Outpaint):
        margins = edit.task.margins
        return EditMask(new_part(margins, size), edit.mask.feather_in(margins.grown(size)))
    feather = edit.mask.feather_in(size)
    if isinstance(edit.task, Regions):
        return EditMask(join((_box_mask(region.box, size) for region in edit.task.regions), size), feather)
    # One at a time, and kept as run lengths: hundreds of objects in a photograph are gigabytes as arrays.
    grown = [_grown(mask, edit) for mask in _masks(objects, size, edit.mask.boxes)]
    parts = join((part for part in _brushed(grown, edit.brush, size) if part.area[0]), size)
    if not len(parts):
        raise ValueError(_nothing(len(objects), edit))
    if isinstance(edit.task, BACKGROUNDS):
        around = ~union(parts, size)
        if not around.any():
            raise ValueError("There is no background: the objects cover the whole picture.")
        parts = compact(around)
    elif not edit.mask.one_by_one:
        parts = compact(union(parts, size))
    return EditMask(parts, feather)


def own_mask(picture: Image.Image, size: Size) -> sv.Detections:
    """A mask from elsewhere as an object: white is edited, black is kept.

    Args:
        picture: The mask, of the picture's proportions; its colours count as grey.
        size: (width, height) of the picture that is edited.

    Raises:
        ValueError: its proportions are others, or it is black all over.
    """
    width, height = picture.size
    if abs(width * size[1] - height * size[0]) > 0.01 * height * size[0] + max(size):
        raise ValueError(
            f"The mask has {width} x {height} pixels and the picture {size[0]} x {size[1]}: give one of the picture's "
            "size."
        )
    white = np.asarray(load_image(picture).convert("L").resize(size, Image.Resampling.NEAREST)) >= 128
    if not white.any():
        raise ValueError("The mask is black all over: white is what is edited.")
    return sv.Detections(sv.mask_to_xyxy(white[None]).astype(np.float32), compact(white))


def grow(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A mask (H, W) bool with its edge moved outwards by so many pixels, inwards if negative; corners become round.

    What a picture's edge cuts off is taken to go on beyond it. A hole of which as many pixels more would leave nothing,
    such as that of a curled tail, is closed: what is in it is all shadow and edge, and islands would stay behind.
    """
    if pixels == 0 or not mask.any():
        return mask
    moved = mask.copy()
    window = _around(mask, max(pixels, 0) + 1)  # beyond it nothing changes
    if pixels > 0:
        distance = _distance_to(mask[window])
        moved[window] = (distance <= pixels) | _narrow_holes(distance, pixels)
    elif not mask[window].all():
        moved[window] = _distance_to(~mask[window]) > -pixels
    return moved


def _narrow_holes(distance: np.ndarray, pixels: int) -> np.ndarray:
    """(H, W) bool, what encloses no pixel that is over twice as far from a mask, of what is over `pixels` from it."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats((distance > pixels).view(np.uint8), connectivity=4)
    height, width = distance.shape
    left, top, wide, high = boxes[:, :4].T
    deepest = ndimage.maximum(distance, labels, np.arange(len(boxes)))
    closes = (left > 0) & (top > 0) & (left + wide < width) & (top + high < height) & (deepest <= 2 * pixels)
    closes[0] = False  # the grown mask itself
    return closes[labels]


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


def _grown(mask: sv.CompactMask, edit: Edit) -> sv.CompactMask:
    """One mask, (1, H, W), that has grown or shrunk; only its surroundings are computed."""
    height, width = mask.image_shape
    x0, y0, x1, y1 = map(int, mask.bbox_xyxy[0])
    pixels = edit.mask.grow_of(max(x1 - x0, y1 - y0) + 1, edit.task)
    margin = max(pixels, 0) + 1
    left, top = max(0, x0 - margin), max(0, y0 - margin)
    near = np.zeros((min(height, y1 + 1 + margin) - top, min(width, x1 + 1 + margin) - left), bool)
    near[y0 - top : y1 + 1 - top, x0 - left : x1 + 1 - left] = mask.crop(0)
    return compact(grow(near, pixels)).with_offset(left, top, mask.image_shape)


def _masks(objects: sv.Detections, size: Size, boxes: bool) -> Iterator[sv.CompactMask]:
    """Each object's mask, (1, H, W), in its own rectangle; a ValueError if they are of another picture."""
    check_size(objects.mask, size)
    if objects.mask is None or boxes:
        width, height = size
        inside = np.clip(objects.xyxy, 0, [width, height, width, height])
        yield from (_box_mask(box, size) for box in inside if box[2] > box[0] and box[3] > box[1])
    elif isinstance(objects.mask, sv.CompactMask):
        yield from (objects.mask[index : index + 1].repack() for index in range(len(objects)))
    else:
        yield from map(compact, objects.mask)


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
    inside = np.ones((min(y1, height) - y0, min(x1, width) - x0), bool)
    return compact(inside).with_offset(x0, y0, (height, width))


def _brushed(parts: Sequence[sv.CompactMask], brush: Sequence[BrushStroke], size: Size) -> list[sv.CompactMask]:
    """The parts, (1, H, W) each, after the strokes, and those that were drawn where no part was."""
    layers = _Layers(parts, size)
    for stroke in brush:
        raise_if_stopped()
        window, drawn = _drawn(stroke, size)
        touched = layers.touched(window, drawn)
        if not stroke.adds:
            for index in touched:
                layers.canvas(index)[window] &= ~drawn
        elif touched:
            layers.add(touched[0], window, drawn)
        else:
            layers.append(window, drawn)
    return layers.masks()


class _Layers:
    """Parts while strokes change them: the last ones that were are arrays, the others stay as small as they were."""

    def __init__(self, parts: Sequence[sv.CompactMask], size: Size):
        self._size = size
        self._masks = list(parts)
        self._boxes = [tuple(map(int, part.bbox_xyxy[0])) for part in parts]  # around them, or larger
        self._canvases: OrderedDict[int, np.ndarray] = OrderedDict()  # (H, W) bool each, by index
        self._most = max(1, _CANVAS_BYTES // (size[0] * size[1]))

    def touched(self, window: Window, drawn: np.ndarray) -> list[int]:
        """Indices of the parts that something drawn in a window of the picture meets."""
        rows, columns = window
        near = [
            index
            for index, (x0, y0, x1, y1) in enumerate(self._boxes)
            if x0 < columns.stop and columns.start <= x1 and y0 < rows.stop and rows.start <= y1
        ]
        return [index for index in near if self._meets(index, window, drawn)]

    def canvas(self, index: int) -> np.ndarray:
        """A part as (H, W) bool, to be changed."""
        if index not in self._canvases:
            self._canvases[index] = self._masks[index][0]
        self._canvases.move_to_end(index)
        if len(self._canvases) > self._most:
            oldest, canvas = self._canvases.popitem(last=False)
            self._masks[oldest] = part = compact(canvas)
            self._boxes[oldest] = tuple(map(int, part.bbox_xyxy[0]))
        return self._canvases[index]

    def add(self, index: int, window: Window, drawn: np.ndarray) -> None:
        """Adds what was drawn in a window to a part."""
        self.canvas(index)[window] |= drawn
        (x0, y0, x1, y1), (rows, columns) = self._boxes[index], window
        self._boxes[index] = (
            min(x0, columns.start),
            min(y0, rows.start),
            max(x1, columns.stop - 1),
            max(y1, rows.stop - 1),
        )

    def append(self, window: Window, drawn: np.ndarray) -> None:
        """Makes a part of its own of what was drawn in a window."""
        rows, columns = window
        part = compact(drawn).with_offset(columns.start, rows.start, self._size[::-1])
        self._masks.append(part)
        self._boxes.append(tuple(map(int, part.bbox_xyxy[0])))

    def _meets(self, index: int, window: Window, drawn: np.ndarray) -> bool:
        if index in self._canvases:
            return bool((self._canvases[index][window] & drawn).any())
        x0, y0, x1, y1 = self._boxes[index]
        rows, columns = window
        top, left = max(y0, rows.start), max(x0, columns.start)
        bottom, right = min(y1 + 1, rows.stop), min(x1 + 1, columns.stop)
        inside = self._masks[index].crop(0)[top - y0 : bottom - y0, left - x0 : right - x0]
        return bool(
            (inside & drawn[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start]).any()
        )

    def masks(self) -> list[sv.CompactMask]:
        """The parts, (1, H, W) each, in order."""
        return [
            compact(self._canvases[index]) if index in self._canvases else mask
            for index, mask in enumerate(self._masks)
        ]


def _drawn(stroke: BrushStroke, size: Size) -> tuple[Window, np.ndarray]:
    """A window of the picture that holds all of a stroke in it, and the stroke there, (h, w) bool."""
    # Far away places would overflow OpenCV's fixed point numbers.
    places = np.clip(np.rint(stroke.line), -(2**15), 2**15 - 1).astype(np.int32)
    thickness = max(1, round(stroke.width))
    left, top = map(int, np.clip(places.min(axis=0) - thickness, 0, np.subtract(size, 1)))
    right, bottom = map(int, np.clip(places.max(axis=0) + thickness + 1, [left + 1, top + 1], size))
    canvas = np.zeros((bottom - top, right - left), np.uint8)
    places -= np.array([left, top], np.int32)
    cv2.polylines(canvas, [places.reshape(-1, 1, 2)], False, 1, thickness)
    if len(stroke.line) == 1:
        cv2.circle(canvas, tuple(map(int, places[0])), thickness // 2, 1, cv2.FILLED)
    return (slice(top, bottom), slice(left, right)), canvas.astype(bool)


def _nothing(found: int, edit: Edit) -> str:
    if found == 0 and not edit.brush:
        return "Nothing is selected: name what to edit, tick it, or draw over it with the brush."
    if (edit.mask.grow or edit.mask.grow_share or 0) < 0:
        return "Nothing is left of the mask after shrinking it so far."
    return "Nothing is left of the mask: what was found has no area, or the brush erased all of it."
