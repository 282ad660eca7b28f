"""What an edit takes: of one object, by each task, wall and processor seconds, and the memory added.

    python -m benchmarks.inpaint [--inpainter embedded] [--threads 2] [--size 1600x1200] [--runs 3]

Medians of the runs after a first one that does not count. The picture is noise with one object in it, a fifth as wide.
"""

import argparse
import statistics
import time

import numpy as np
import supervision as sv
import torch
from PIL import Image

from benchmarks.segment import Watch
from benchmarks.table import machine, print_table
from groundingdino.editing.available_models import mask_settings_for
from groundingdino.editing.edits import Edit, Sampling
from groundingdino.editing.inpainter import Inpainter
from groundingdino.editing.lama import LaMa
from groundingdino.editing.perform import edit_picture
from groundingdino.editing.stickers import Stickers
from groundingdino.editing.tasks import Background, Remove, Replace, Task, TransparentBackground

TASKS: dict[str, Task] = {
    "replace": Replace("cat"),
    "remove": Remove(),
    "background": Background("beach"),
    "remove by filling": Remove("fill"),
    "transparent": TransparentBackground(),
}


def measure(
    inpainter: Inpainter | Stickers | LaMa, size: tuple[int, int], task: Task, runs: int
) -> tuple[float, float, int]:
    """Median wall and processor seconds of an edit, and the most bytes that it added to the process."""
    width, height = size
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    box = np.array([[0.4 * width, 0.4 * height, 0.6 * width, 0.4 * height + 0.2 * width]])
    mask = np.zeros((1, height, width), bool)
    x0, y0, x1, y1 = box[0].astype(int)
    mask[0, y0:y1, x0:x1] = True
    objects = sv.Detections(box, mask)
    edit = Edit(task, mask_settings_for(inpainter.card, task), (), Sampling(seed=0))
    took = []
    with Watch() as watch:
        for _ in range(1 + runs):
            start, busy = time.perf_counter(), time.process_time()
            edit_picture(image, objects, edit, inpainter)
            took.append((time.perf_counter() - start, time.process_time() - busy))
    wall, processor = zip(*took[1:], strict=True)
    return statistics.median(wall), statistics.median(processor), watch.added


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inpainter", default="embedded", help="a name or a path (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of a processor (%(default)s)")
    parser.add_argument("--size", default="1600x1200", help="of the picture (%(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="that count (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    width, height = map(int, options.size.split("x"))
    inpainter = Inpainter.from_pretrained(options.inpainter, local_files_only=True)
    print(machine())
    rows = []
    for name, task in TASKS.items():
        wall, processor, added = measure(inpainter, (width, height), task, options.runs)
        rows.append((name, f"{wall:.2f} s", f"{processor:.2f} s", f"{added / 1e6:.0f} MB"))
    title = f"An edit of {width} x {height} pixels by {inpainter.card.title}, {inpainter.card.steps} steps"
    print_table(title, ("task", "wall", "processor", "memory added"), rows)


if __name__ == "__main__":
    main()
