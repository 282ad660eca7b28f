"""A folder of pictures, as `label` goes through it: `python -m benchmarks.folder`.

Swin-T with random weights, the same in transformers' zero-shot pipeline, on the same files from disk to boxes, one
after the other in one run. The pipeline encodes a picture once for each name; `label` does it once for all of them.
"""

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    BertTokenizerFast,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    ZeroShotObjectDetectionPipeline,
)

from benchmarks.table import PROMPT, machine, print_table, spread
from groundingdino.detection.available_models import MODELS
from groundingdino.detection.checkpoints import LoadedModel, load_checkpoint
from groundingdino.detection.config_json import from_transformers
from groundingdino.detection.detector import Detector
from groundingdino.detection.tokenizer_files import BERT_VOCABULARY
from groundingdino.model import GroundingDINO
from groundingdino.results.journal import Journal
from groundingdino.results.labelling import Labeller, label, list_pictures, unfinished
from groundingdino.runtime.allocation import keep_freed_memory

LONG_SIDE = 5 / 3  # of the short one, at most


def write_pictures(folder: Path, count: int) -> None:
    """Photographs' sizes, content of no matter."""
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).resize((1024, 768)).save(folder / f"{number:03}.jpg")


def ours(detector: Detector, folder: Path, batch_size: int) -> None:
    """As `label` does it, into a journal that is new."""
    with tempfile.TemporaryDirectory() as work:
        output = Path(work)
        pictures = list_pictures(folder, output)
        with Journal(output / "journal.jsonl", {}) as journal:
            label(unfinished(pictures, journal, batch_size), Labeller(detector, PROMPT, {}), journal, lambda _: None)


def theirs(pipeline: ZeroShotObjectDetectionPipeline, folder: Path, batch_size: int) -> None:
    """As its documentation says: a list of pictures with their names."""
    names = [f"{name.strip()}." for name in PROMPT.split(".") if name.strip()]
    asked = [{"image": str(path), "candidate_labels": names} for path in sorted(folder.iterdir())]
    for _ in pipeline(asked, batch_size=batch_size, threshold=0.3):
        pass


def pair(short_side: int) -> tuple[Detector, ZeroShotObjectDetectionPipeline]:
    """Both implementations with one set of weights."""
    torch.manual_seed(0)
    model = GroundingDinoForObjectDetection(GroundingDinoConfig()).eval()
    spread(model)
    longest = round(short_side * LONG_SIDE)
    config = replace(from_transformers(model.config.to_dict()), short_side=short_side, long_side=longest)
    mine = GroundingDINO(config).eval()
    load_checkpoint(mine, model.state_dict())
    tokenizer = BertTokenizerFast(vocab=str(BERT_VOCABULARY))
    size = {"shortest_edge": short_side, "longest_edge": longest}
    processor = GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer)
    parts: dict[str, Any] = {"tokenizer": tokenizer, "image_processor": processor.image_processor}
    card = replace(MODELS["swin-t"], config=config)
    return Detector(LoadedModel(mine, tokenizer, card)), ZeroShotObjectDetectionPipeline(
        model=model, processor=processor, device="cpu", **parts
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure a folder of pictures beside transformers' pipeline.")
    parser.add_argument("--pictures", type=int, default=16, help="how many (%(default)s)")
    parser.add_argument("--short-side", type=int, default=480, help="to which they are scaled (%(default)s)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8], help="of both (%(default)s)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: where others share the cores")
    arguments = parser.parse_args()
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    keep_freed_memory()
    detector, pipeline = pair(arguments.short_side)
    print(f"{machine()}; {arguments.clock} clock, {arguments.pictures} pictures", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as place, torch.inference_mode():
        folder, warm = Path(place, "pictures"), Path(place, "warm")
        for target, count in ((folder, arguments.pictures), (warm, 1)):
            target.mkdir()
            write_pictures(target, count)
        ours(detector, warm, 1)
        theirs(pipeline, warm, 1)
        for batch_size in arguments.batch_sizes:
            rates = []
            for run in (lambda size: theirs(pipeline, folder, size), lambda size: ours(detector, folder, size)):
                start = clock()
                run(batch_size)
                rates.append(60 * arguments.pictures / (clock() - start))
            rows.append([str(batch_size), *(f"{rate:.1f}" for rate in rates), f"{rates[1] / rates[0]:.1f}x"])
    header = ["batch size", "transformers' pipeline, pictures a minute", "label, pictures a minute", ""]
    print_table(f"A folder of pictures at {arguments.short_side} pixels, '{PROMPT}'", header, rows)


if __name__ == "__main__":
    main()
