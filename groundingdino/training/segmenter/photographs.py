"""Photographs whose objects are outlined, as the segmenter's training shows them: other parts, sizes and colours.

source = MaskedPhotographs(outlined(Path("data")), seed=0)
picture = source(0, (320, 256))             # without end: any index, any size
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from groundingdino.training.detector.coco_folder import CocoFolder, Labelled
from groundingdino.training.detector.photographs import LEAST_SEEN, TRIES, without_doubles
from groundingdino.training.detector.windows import draw_window, overlap
from groundingdino.training.scenes.scenes import vary_picture
from groundingdino.training.segmenter.mask_batches import UNKNOWN, numbered


@dataclass(frozen=True, eq=False)
class MaskedPhotograph:
    """A part of a photograph and what is outlined in it.

    Args:
        image: (H, W, 3) uint8, RGB.
        masks: (N, H, W) bool.
    """

    image: np.ndarray
    masks: np.ndarray

    @cached_property
    def boxes(self) -> np.ndarray:
        """(N, 4) float32: xyxy pixels of what is seen of each object."""
        edges = []
        for mask in self.masks:
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            edges.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        return np.array(edges, np.float32).reshape(-1, 4)

    @property
    def owners(self) -> np.ndarray:
        """(H, W) uint8, as `Scene` has it, but `UNKNOWN` beside the objects: others may be there, not outlined."""
        owners = numbered(self.masks)
        return np.where(owners, owners, UNKNOWN).astype(np.uint8)


class MaskedPhotographs:
    """Makes training pictures of outlined photographs, from a seed and an index.

    Args:
        pictures: to learn from; at least one.
        seed: of everything.
    """

    def __init__(self, pictures: Sequence[Labelled], seed: int = 0):
        if not pictures:
            raise ValueError("No picture has outlined objects: there is nothing to learn masks from.")
        self.pictures, self.seed = pictures, seed

    def __call__(self, index: int, size: tuple[int, int]) -> MaskedPhotograph:
        """Picture number `index` of `size` (width, height) in pixels."""
        rng = np.random.default_rng([self.seed, index])
        picture = self.pictures[int(rng.integers(len(self.pictures)))]
        window = draw_window(rng, picture, size, LEAST_SEEN, TRIES)
        with Image.open(picture.path) as image:
            pixels = window.look(image.convert("RGB"), tuple(map(int, rng.integers(0, 256, 3))))
        masks = []
        for number, box in enumerate(picture.boxes):
            mask = picture.mask(number)
            if mask is not None and overlap(box, window.part) >= LEAST_SEEN:
                seen = np.asarray(window.look(Image.fromarray(mask.astype(np.uint8) * 255))) > 127
                masks += [seen] if seen.any() else []
        return MaskedPhotograph(vary_picture(np.asarray(pixels), rng), np.array(masks, bool).reshape(-1, *size[::-1]))


def outlined(folders: Sequence[Path], seed: int = 0) -> list[Labelled]:
    """The pictures to learn from, of folders in COCO's layout, that have outlines, with what is outlined in them.

    Raises:
        ValueError: a folder is not in COCO's layout.
    """
    pictures = (picture for folder in folders for picture in map(without_doubles, CocoFolder(folder).split(seed)[0]))
    return [kept for picture in pictures if (kept := picture.outlined()).names]
