"""The outlines of masks as SVG paths: what the browser can point at."""

import cv2
import numpy as np
import supervision as sv


def outlines(masks: sv.CompactMask, scale: float) -> list[str]:
    """A path for each mask, for the fill rule "evenodd": holes are holes.

    Args:
        masks: (N, H, W).
        scale: What coordinates are multiplied by, such as pixels of the picture per pixel of the masks.

    Returns:
        N paths, "" for an empty mask; coordinates to a tenth.
    """
    return [_outline(masks.crop(index), masks.offsets[index], scale) for index in range(len(masks))]


def _outline(crop: np.ndarray, offset: np.ndarray, scale: float) -> str:
    contours, _ = cv2.findContours(crop.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    parts = []
    for contour in contours:
        places = (contour[:, 0] + offset + 0.5) * scale  # contours run through the middles of pixels
        parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) + "Z")
    return "".join(parts)
