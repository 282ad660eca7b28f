"""All objects of a picture that is encoded already: by segment-anything's automatic mask generator, or by proposals."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import cv2
import numpy as np
import supervision as sv
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam
from segment_anything.utils.amg import rle_to_mask
from torch import Tensor

from groundingdino.segmentation.candidates import Candidates
from groundingdino.segmentation.mask_prompts import CANDIDATES, MaskPrompt
from groundingdino.segmentation.masks import Size, compact
from groundingdino.segmentation.transformers_sam import transform_of

# Bytes of the logits at working size that are held at once, and prompts: a decoder keeps some 20 MB for each.
LOGIT_BYTES = 128 << 20
MOST_POINTS = 16


def find_everything(
    model: Sam,
    features: Tensor,
    input_size: tuple[int, int],
    size: Size,
    points_per_side: int,
    min_quality: float,
    min_stability: float,
    nms_threshold: float,
) -> Iterator[tuple[sv.CompactMask, float]]:
    """Each object once, best first: its mask (1, H, W) and predicted IoU.

    Thousands of masks are tried. They are made at the size that the model sees, and the chosen ones enlarged.

    Args:
        features: (1, C, h, w) of the picture.
        input_size: (height, width) that the picture was scaled to for the model.
        size: (width, height) of the picture.
        points_per_side, min_quality, min_stability, nms_threshold: as `Segmenter.everything`.
    """
    side = model.image_encoder.img_size
    scale = min(1.0, side / max(size))
    width, height = (max(1, round(scale * length)) for length in size)
    generator = SamAutomaticMaskGenerator(
        model,
        points_per_side=points_per_side,
        # Logits are enlarged to the model's square before they are cut to the picture.
        points_per_batch=max(1, min(MOST_POINTS, LOGIT_BYTES // (4 * CANDIDATES * side * side))),
        pred_iou_thresh=min_quality,
        stability_score_thresh=min_stability,
        box_nms_thresh=nms_threshold,
        output_mode="uncompressed_rle",
    )
    generator.predictor = _EncodedPredictor(model, features, input_size)
    # The generator asks for the picture's shape alone.
    records = generator.generate(np.broadcast_to(np.uint8(0), (height, width, 3)))
    for record in sorted(records, key=lambda record: -record["predicted_iou"]):
        yield compact(_enlarge(rle_to_mask(record["segmentation"]), size)), record["predicted_iou"]


def cut_out_twice(
    find: Callable[[Sequence[MaskPrompt]], Iterable[Candidates]], boxes: Iterable[np.ndarray], size: Size
) -> list[Candidates]:
    """What is in proposed boxes: each is asked for, and then the box of its mask, which is closer to the object.

    Both answers, the later ones first: now and then a first mask was better.

    Args:
        find: answers prompts, of any number.
        boxes: (4,) xyxy in pixels of the picture; one without area has no answer, nor has one without a mask.
        size: (width, height) of the picture.
    """

    def ask(boxes: Iterable[np.ndarray]) -> list[Candidates]:
        prompts = [MaskPrompt(box=tuple(box)) for box in boxes if (box[2:] - box[:2]).min() >= 1]
        return list(find(prompts))

    first = ask(boxes)
    return ask(box for candidates in first if (box := candidates.box(size)) is not None) + first


class _EncodedPredictor(SamPredictor):
    """Has its picture from the start; one for each call, because a predictor has a state."""

    def __init__(self, model: Sam, features: Tensor, input_size: tuple[int, int]):
        self._encoded = features, input_size
        super().__init__(model)
        self.transform = transform_of(model)

    def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:  # noqa: ARG002
        """Masks will have the shape of `image`, (H, W, 3); its content is not looked at."""
        self.features, self.input_size = self._encoded
        self.original_size = image.shape[:2]
        self.is_image_set = True


def _enlarge(mask: np.ndarray, size: Size) -> np.ndarray:
    """A mask (h, w) bool at (width, height), its edge interpolated."""
    if mask.shape[::-1] == size:
        return np.ascontiguousarray(mask)
    return cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_LINEAR) > 127
