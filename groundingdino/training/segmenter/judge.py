"""Teach what judges masks alone, of a trained segmenter: on the masks that it is asked for, right and wrong ones.

    python -m groundingdino.training.segmenter.judge runs/segmenter/model.safetensors --output runs/judge.safetensors

In the common training something is pointed at, so that most masks are good; "everything" asks for boxes that are half
wrong.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from groundingdino.artwork.drawings import Artwork
from groundingdino.segmentation.candidates import CandidateFinder, Candidates, ImageEmbedding, best_first
from groundingdino.segmentation.close_ups import Part
from groundingdino.segmentation.embedded_decoder import FineMaskDecoder, MaskJudge
from groundingdino.segmentation.embedded_sam import save_embedded_sam
from groundingdino.segmentation.everything import cut_out_twice
from groundingdino.segmentation.mask_prompts import CANDIDATES, MaskPrompt
from groundingdino.segmentation.proposals import ObjectCells
from groundingdino.segmentation.segmenter import Segmenter
from groundingdino.segmentation.segmenter_models import LoadedSegmenter
from groundingdino.training.loop import cosine
from groundingdino.training.scenes.scenes import Scene, SceneMaker
from groundingdino.training.segmenter.pointing import click

SEED = 20261128  # of scenes that nothing else is trained or measured with
SHORT_SIDE = (256, 800)  # pixels of the pictures, as people bring them
HELD_OUT = 10  # one picture of so many teaches nothing, and says how well it went
BATCH = 512
WARM_UP = 50  # steps
CACHE_BYTES = 64 << 20  # for one picture


class Looks(NamedTuple):
    """What a judge saw of N masks, and what would have been right."""

    seen: Tensor  # (N, 3 C) and
    measured: Tensor  # (N, 4), of `MaskJudge.look`
    told: Tensor  # (N,) the predicted IoU that it corrects
    truth: Tensor  # (N,) IoU with the object; of what was only proposed, with the one that it fits best
    picture: Tensor  # (N,) number of the picture

    def at(self, which: Tensor) -> "Looks":
        """Those of some masks."""
        return Looks(*(x[which] for x in self))


class Watcher:
    """Asks a segmenter for masks, and keeps what its judge saw of each."""

    def __init__(self, segmenter: Segmenter):
        self.segmenter = segmenter
        self.found: list[Looks] = []
        self._told = torch.empty(0)
        self._judged: tuple[Tensor, Tensor, Tensor] | None = None  # what it saw, and what was told
        decoder = segmenter.model.mask_decoder
        decoder.iou_prediction_head.register_forward_hook(self._keep_told)  # runs first
        decoder.judge.register_forward_hook(self._keep_looks)

    def watch(self, scene: Scene, number: int) -> None:
        """Ask for a scene's proposals and for the boxes of what they gave, for each true box and a click inside."""
        segmenter, rng = self.segmenter, np.random.default_rng([SEED, number])
        encoded = segmenter.encode_image(scene.image)
        finder = CandidateFinder(LoadedSegmenter(segmenter.model, segmenter.card), CACHE_BYTES, CACHE_BYTES)
        cells = ObjectCells.read(segmenter.model.image_encoder, encoded.features, encoded.input_size)
        boxes = encoded.in_picture(cells.propose(segmenter.card.points_per_side))
        ask = partial(self._ask, encoded, finder, number)
        cut_out_twice(partial(ask, scene.masks), boxes, encoded.size)
        for box, mask in zip(scene.boxes, scene.masks, strict=True):
            if mask.any():
                ask(mask[None], [MaskPrompt(box=tuple(box)), MaskPrompt(points=((*click(mask, rng), 1),))])

    def _ask(
        self,
        encoded: ImageEmbedding,
        finder: CandidateFinder,
        number: int,
        masks: np.ndarray,
        prompts: Sequence[MaskPrompt],
    ) -> list[Candidates]:
        """What each prompt can mean on a picture with objects (N, H, W) that it may mean."""
        answers = []
        for prompt in prompts:
            self._judged = None
            (answer,) = finder.find(encoded, [prompt])
            answers.append(answer)
            if self._judged is None:
                continue  # asked for before
            seen, measured, told = (x[0] for x in self._judged)
            is_click = prompt.box is None
            order = best_first(told[None], is_click)[0, : CANDIDATES if is_click else 1]
            truth = [overlaps(logits > 0, masks, answer.part).max(initial=0) for logits in answer.logits[: len(order)]]
            self.found.append(
                Looks(
                    seen[order],
                    measured[order],
                    told[order],
                    torch.tensor(truth, dtype=torch.float),
                    torch.full((len(truth),), number),
                )
            )
        return answers

    def _keep_told(self, head: nn.Module, inputs: tuple[Tensor], told: Tensor) -> None:  # noqa: ARG002
        self._told = told

    def _keep_looks(self, judge: MaskJudge, inputs: tuple[Tensor, Tensor], correction: Tensor) -> None:  # noqa: ARG002
        self._judged = (*inputs, self._told)


def overlaps(mask: Tensor, objects: np.ndarray, part: Part) -> np.ndarray:
    """IoU (N,) of a mask (h, w) of a part of a picture with each of N objects (N, H, W) in the picture."""
    cells = []
    for axis in (0, 1):
        count, length = mask.shape[1 - axis], objects.shape[2 - axis]
        places = part[axis] + (np.arange(count) + 0.5) / count * (part[axis + 2] - part[axis])
        cells.append(places[places < length].astype(int))
    x, y = cells
    pixels = (part.right - part.left) * (part.bottom - part.top) / mask.numel()  # of a cell
    inside = mask[: len(y), : len(x)].numpy()
    common = (objects[:, y[:, None], x] & inside).sum((1, 2))
    sizes = objects.sum((1, 2)) / pixels  # with what lies beside the part, which the mask misses
    return common / np.maximum(inside.sum() + sizes - common, 1)


def fit(judge: MaskJudge, looks: Looks, steps: int = 1500, rate: float = 1e-3) -> None:
    """Teach a judge what was true of the masks that it saw: least squares.

    Args:
        steps: of `BATCH` masks each.
        rate: of AdamW, at the beginning; a cosine brings it down.
    """
    optimizer = torch.optim.AdamW(judge.parameters(), rate, weight_decay=0.01)
    generator = torch.Generator().manual_seed(SEED)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * cosine(step, 0, steps, WARM_UP)
        batch = looks.at(torch.randint(len(looks.truth), (BATCH,), generator=generator))
        optimizer.zero_grad()
        error(judge, batch).backward()
        optimizer.step()


def error(judge: MaskJudge, looks: Looks) -> Tensor:
    """Mean squared error of what a judge makes of the predicted IoU."""
    return ((looks.told + judge(looks.seen, looks.measured) - looks.truth) ** 2).mean()


def main() -> None:
    """Teach the judge of a trained segmenter and write its model file."""
    parser = argparse.ArgumentParser(description="Teach the judge of masks of a segmenter of the embedded kind.")
    parser.add_argument("segmenter", nargs="?", default="embedded", help="name or path")
    parser.add_argument("--output", type=Path, required=True, help="model file to write")
    parser.add_argument("--pictures", type=int, default=400, help="to ask for masks in; a minute of a core for 15")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    arguments = parser.parse_args()
    if arguments.pictures < HELD_OUT:
        parser.error(f"--pictures should be {HELD_OUT} or more, but is {arguments.pictures}.")
    torch.set_num_threads(arguments.threads)
    try:
        segmenter = Segmenter.from_pretrained(arguments.segmenter)
    except ValueError as wrong:
        parser.error(str(wrong))
    model = segmenter.model
    if not isinstance(model.mask_decoder, FineMaskDecoder):
        parser.error(f"The segmenter should be of the embedded kind, but {arguments.segmenter} is Meta's.")
    watcher, scenes = Watcher(segmenter), SceneMaker(Artwork(resolution=320), SEED, SHORT_SIDE)
    with torch.inference_mode():
        for number in tqdm(range(arguments.pictures), unit="picture"):
            watcher.watch(scenes.scene(number), number)
    looks = Looks(*(torch.cat(each) for each in zip(*watcher.found, strict=True)))
    held_out = looks.picture % HELD_OUT == 0
    judge = model.mask_decoder.judge

    def say() -> None:
        print(f"mean squared error on held-out pictures: {error(judge, looks.at(held_out)):.4f}", flush=True)

    say()
    fit(judge, looks.at(~held_out))
    say()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_embedded_sam(model, arguments.output)


if __name__ == "__main__":
    main()
