"""What a user might point at an object with: a box, a click, a scribble, and clicks that correct a mask.

Coordinates are (x, y) pixels of the mask they are drawn on, at the centre of a pixel where they are clicks.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from groundingdino.segmentation.embedded_encoder import FINE_STRIDE


def loose_box(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(4,) xyxy: the box of a mask (H, W), each edge moved as in Segment Anything's appendix A.

    The noise has a standard deviation of a tenth of the box's side and at most 20 of 1024 pixels; a third stay exact,
    as boxes drawn with care are.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
    if rng.random() < 1 / 3:
        return box
    sides = np.tile([box[2] - box[0], box[3] - box[1]], 2)
    limit = max(mask.shape) * 20 / 1024
    noise = np.clip(rng.normal(0, 0.1, 4) * sides, -limit, limit)
    return np.clip(box + noise, 0, np.tile(mask.shape[::-1], 2)).astype(np.float32)


def click(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(2,) a pixel of a region (H, W) that is not empty: half of the time well inside, as people click."""
    if rng.random() < 0.5:
        inside = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
        region = inside >= 0.6 * inside.max()
    y, x = np.divmod(rng.choice(np.flatnonzero(region)), region.shape[1])
    return np.array([x, y], np.float32)


def scribble(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N, 2) points along a stroke inside a mask (H, W), three to six of them."""
    start, end = click(mask, rng), click(mask, rng)
    middle = (start + end) / 2 + rng.normal(0, 0.15, 2) * np.linalg.norm(end - start)
    share = np.linspace(0, 1, int(rng.integers(3, 7)))[:, None]
    points = (1 - share) ** 2 * start + 2 * share * (1 - share) * middle + share**2 * end
    cells = points.round().astype(int).clip(0, np.array(mask.shape[::-1]) - 1)
    kept = mask[cells[:, 1], cells[:, 0]]
    kept[0] = True  # strokes may leave the object, but people start on it
    return cells[kept].astype(np.float32)


def correction(predicted: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """A click on the largest mistake of a predicted mask, and its label: 1 to include, 0 to exclude.

    Without a mistake, another click inside the mask.
    """
    wrong = predicted != mask
    if not wrong.any():
        return click(mask, rng), 1
    _, parts, stats, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=4)
    largest = parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    inside = cv2.distanceTransform(np.pad(largest, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.divmod(int(inside.argmax()) if rng.random() < 0.5 else rng.choice(np.flatnonzero(largest)), mask.shape[1])
    return np.array([x, y], np.float32), int(mask[y, x])


def draw_kind(rng: np.random.Generator, shares: tuple[float, float, float]) -> str:
    """What one points with: "box", "click" or "scribble", each of its share."""
    return str(rng.choice(("box", "click", "scribble"), p=shares))


class Pointing:
    """The prompts of some objects, growing from round to round.

    Args:
        masks: (N, H, W) bool, what is pointed at.
        kind: of `draw_kind`; one for all objects, since the prompt encoder takes no mixture.
    """

    def __init__(self, masks: np.ndarray, kind: str, rng: np.random.Generator):
        self.masks, self.kind, self.rng = masks, kind, rng
        self.boxes = np.stack([loose_box(mask, rng) for mask in masks]) if kind == "box" else None
        draw = scribble if kind == "scribble" else lambda mask, rng: click(mask, rng)[None]
        self.points = [draw(mask, rng) if self.boxes is None else np.zeros((0, 2), np.float32) for mask in masks]
        self.labels = [np.ones(len(points), np.int64) for points in self.points]
        self.logits: Tensor | None = None  # (N, 1, h, w) of the last round, which the next starts from

    def answer(self, qualities: Tensor) -> Tensor:
        """(N,) index of the mask that each prompt gets, of qualities (N, 4): as `Segmenter` chooses."""
        if self.boxes is None and all(len(points) == 1 for points in self.points):
            return 1 + qualities[:, 1:].argmax(1)
        return torch.zeros(len(qualities), dtype=torch.long, device=qualities.device)

    def correct(self, logits: Tensor) -> None:
        """Take in the masks that were answered, (N, h, w), and click on what is wrong with each."""
        height, width = self.masks.shape[1:]
        sides = (FINE_STRIDE * logits.shape[1], FINE_STRIDE * logits.shape[2])
        large = F.interpolate(logits[:, None], sides, mode="bilinear")[:, 0, :height, :width]
        for index, (predicted, mask) in enumerate(zip((large > 0).cpu().numpy(), self.masks, strict=True)):
            point, label = correction(predicted, mask, self.rng)
            self.points[index] = np.concatenate([self.points[index], point[None]])
            self.labels[index] = np.append(self.labels[index], label)
        self.logits = logits[:, None]

    def tensors(
        self, corner: tuple[int, int], device: torch.device | str = "cpu"
    ) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None, Tensor | None]:
        """Points and labels, boxes and masks as `PromptEncoder` takes them; label -1 fills up.

        Args:
            corner: (x, y) pixels, where the picture lies in the square that the prompt encoder knows.
        """
        shift = torch.tensor(corner, dtype=torch.float32)
        boxes = None if self.boxes is None else (torch.from_numpy(self.boxes) + shift.repeat(2)).to(device)
        most = max(map(len, self.points), default=0)
        if most == 0:
            return None, boxes, self.logits
        points = torch.zeros(len(self.points), most, 2)
        labels = torch.full((len(self.points), most), -1)
        for index, (own, own_labels) in enumerate(zip(self.points, self.labels, strict=True)):
            points[index, : len(own)] = torch.from_numpy(own) + shift
            labels[index, : len(own)] = torch.from_numpy(own_labels)
        return (points.to(device), labels.to(device)), boxes, self.logits
