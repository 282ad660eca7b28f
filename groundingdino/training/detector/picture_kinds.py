"""Learn to tell photographs from drawings, and how often that is right on pictures that were not learned from.

    python -m groundingdino.training.detector.picture_kinds --photographs DATA

writes the weights of `detection.picture_kinds`. To be run again when the detector for photographs has learned.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from groundingdino.artwork.drawings import Artwork
from groundingdino.detection.checkpoints import load_pretrained
from groundingdino.detection.picture_kinds import PHOTOGRAPHIC, WEIGHTS_FILE, looks_of
from groundingdino.training.detector.coco_folder import CocoFolder
from groundingdino.training.scenes.scenes import EVALUATIONS, SceneMaker, evaluation_scenes

DECAY = 1e-3  # of the weights


def main() -> None:
    """Learn, write, and print the share that is told right of each set's held-out pictures."""
    parser = argparse.ArgumentParser(description="Learn to tell photographs from drawings.")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of sets in COCO's layout")
    parser.add_argument("--count", type=int, default=300, help="pictures of each set, at most (%(default)s)")
    parser.add_argument("--output", type=Path, default=WEIGHTS_FILE, help="the weights (%(default)s)")
    arguments = parser.parse_args()
    model = load_pretrained(PHOTOGRAPHIC).model
    sets = [CocoFolder(path.parent) for path in sorted(arguments.photographs.glob("*/annotations.json"))]
    if not sets:
        parser.error(f"'{arguments.photographs}' holds no set in COCO's layout.")

    def looks(pictures: Iterator[Image.Image]) -> Tensor:
        return torch.stack([looks_of(picture, model) for picture in pictures])

    photographs = [looks(_photographs(one, False, arguments.count)) for one in sets]
    drawings = looks(_drawings(arguments.count * len(sets)))
    weight, bias = fit(torch.cat(photographs), drawings)
    save_file({"weight": weight, "bias": bias}, arguments.output)
    for one in sets:
        found = looks(_photographs(one, True, arguments.count)) @ weight + bias > 0
        print(json.dumps({"photographs": one.folder.name, "right": round(found.float().mean().item(), 3)}), flush=True)
    for name in EVALUATIONS:
        scenes = evaluation_scenes(name, arguments.count)
        found = looks(Image.fromarray(scene.image) for scene in scenes) @ weight + bias <= 0
        print(json.dumps({"drawings": name, "right": round(found.float().mean().item(), 3)}), flush=True)


def fit(photographs: Tensor, drawings: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (C) and bias () of a logistic regression on rows of `looks_of`; both kinds count alike."""
    rows = torch.cat([photographs, drawings])
    is_photograph = torch.cat([torch.ones(len(photographs)), torch.zeros(len(drawings))])
    share = torch.where(is_photograph > 0, 0.5 / len(photographs), 0.5 / len(drawings))
    centre, spread = rows.mean(0), rows.std(0) + 1e-6
    scaled = (rows - centre) / spread
    weight, bias = torch.zeros(rows.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        errors = binary_cross_entropy_with_logits(scaled @ weight + bias, is_photograph, reduction="none")
        loss = (share * errors).sum() + DECAY * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    folded = (weight / spread).detach()
    return folded, (bias - centre @ folded).detach()


def _photographs(folder: CocoFolder, held_out: bool, count: int) -> Iterator[Image.Image]:
    for picture in folder.split()[held_out][:count]:
        yield picture.read()


def _drawings(count: int) -> Iterator[Image.Image]:
    scenes = SceneMaker(Artwork(resolution=160), seed=0)
    rng = np.random.default_rng(0)
    for index in range(count):
        width, height = map(int, rng.integers(224, 641, 2))
        yield Image.fromarray(scenes.scene(index, (width, height)).image)


if __name__ == "__main__":
    main()
