"""How much faster a second prompt on a picture is than the first, and what 200 boxes take in memory.

    python -m benchmarks.segment [vit_b | embedded]

Weights are random: time and memory do not depend on them, but for the masks, which are replaced by discs in the boxes
(noise has run lengths that no object has).
"""

import argparse
import json
import resource
import time
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import numpy as np
import supervision as sv
import torch
from PIL import Image
from segment_anything import build_sam_vit_b

from groundingdino.segmentation.embedded_sam import build_embedded_sam
from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.masks import size_bytes
from groundingdino.segmentation.segmenter import Segmenter, SegmenterCacheBytes
from groundingdino.segmentation.segmenter_models import SEGMENTERS, LoadedSegmenter

SIZE = (2000, 1500)
BOXES = 200
PICTURES = 3  # new ones, and
PROMPTS = 5  # on the last of them, of which the medians count


class Watch:
    """Looks every few milliseconds how much more memory the process takes than at the start."""

    def __enter__(self) -> "Watch":
        self.added = 0
        self._before = _resident()
        self._done = Event()
        self._thread = Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.005):
            self.added = max(self.added, _resident() - self._before)


def _resident() -> int:
    """Bytes of the process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(name: str) -> dict[str, float]:
    """Seconds of a first and of further prompts, their ratio, and what 200 boxes take beside the model."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = {"vit_b": build_sam_vit_b, "embedded": build_embedded_sam}[name]().eval()
    card = replace(SEGMENTERS[name], close_ups=False)  # the discs below are drawn in whole pictures
    segmenter = Segmenter(LoadedSegmenter(model, card), SegmenterCacheBytes(masks=0, candidates=0))

    def draw() -> Image.Image:
        return Image.fromarray(rng.integers(0, 256, (*SIZE[::-1], 3), np.uint8))

    def ask(image: Image.Image) -> float:
        start = time.perf_counter()
        point = (*rng.integers(0, SIZE).tolist(), 1)
        segmenter.segment(segmenter.encode_image(image), [MaskPrompt(points=(point,))])
        return time.perf_counter() - start

    ask(draw())  # what only the first pass of a process does
    pictures = [draw() for _ in range(PICTURES)]
    first = float(np.median([ask(picture) for picture in pictures]))
    image = pictures[-1]
    second = float(np.median([ask(image) for _ in range(PROMPTS)]))

    corners = rng.uniform(0, np.array(SIZE) - 300, (BOXES, 2))
    found = sv.Detections(np.concatenate([corners, corners + rng.uniform(50, 300, (BOXES, 2))], axis=1))
    encoded = segmenter.encode_image(image)
    _draw_discs(segmenter)
    start = time.perf_counter()
    with Watch() as watch:
        cut = segmenter.segment_boxes(encoded, found)
    seconds = time.perf_counter() - start
    assert isinstance(cut.mask, sv.CompactMask)
    return {
        "first_prompt_seconds": first,
        "second_prompt_seconds": second,
        "ratio": first / second,
        "boxes_seconds": seconds,
        "boxes_memory_MB": watch.added / 1e6,
        "masks_MB": size_bytes(cut.mask) / 1e6,
        "masks_as_bools_MB": BOXES * SIZE[0] * SIZE[1] / 1e6,
    }


def _draw_discs(segmenter: Segmenter) -> None:
    """Makes the decoder's answer a disc in the box, of the same shape, after it has done its work."""
    decode = segmenter.model.mask_decoder.predict_masks
    place = segmenter.model.prompt_encoder
    boxes: list[torch.Tensor] = []
    embed = place.forward

    def remember(points, boxes_, masks):
        boxes[:] = [boxes_]
        return embed(points=points, boxes=boxes_, masks=masks)

    def draw(**arguments):
        logits, quality = decode(**arguments)
        side = logits.shape[-1]
        rows, columns = torch.meshgrid(*[(torch.arange(side) + 0.5) / side] * 2, indexing="ij")
        x0, y0, x1, y1 = (boxes[0] / place.input_image_size[0]).T[..., None, None]
        discs = 1 - ((2 * columns - x0 - x1) / (x1 - x0)) ** 2 - ((2 * rows - y0 - y1) / (y1 - y0)) ** 2
        return discs[:, None].expand_as(logits).clone(), quality

    place.forward = lambda points, boxes, masks: remember(points, boxes, masks)
    segmenter.model.mask_decoder.predict_masks = draw


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description="Time a second prompt against the first; memory of 200 masks.")
    parser.add_argument("size", nargs="?", default="vit_b", choices=("vit_b", "embedded"))
    print(json.dumps({name: round(value, 3) for name, value in measure(parser.parse_args().size).items()}, indent=2))


if __name__ == "__main__":
    main()
