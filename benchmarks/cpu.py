"""One table for a CPU: `python -m benchmarks.cpu`, or some of its sections: `python -m benchmarks.cpu whole-800`.

Swin-T, the paper's and MM Grounding DINO's, with random weights against transformers' implementation on the same
weights and pictures, and each of our speed-ups off and on. Medians; what stands in one row was measured in turns in the
same run, on PyTorch's number of threads (OMP_NUM_THREADS), which sleep while they wait as those of the page and the
command line do (OMP_WAIT_POLICY=ACTIVE has them spin).
"""

import argparse
import ctypes
import gc
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from timm.models.swin_transformer import WindowAttention
from torch import Tensor
from transformers import (
    BertTokenizerFast,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
)

from benchmarks.table import PROMPT, boxes_apart, growing_cases, machine, print_table, spread
from groundingdino import kernels
from groundingdino.detection.available_models import MODELS
from groundingdino.detection.checkpoints import LoadedModel, load_checkpoint
from groundingdino.detection.config_json import from_transformers
from groundingdino.detection.detector import CacheBytes, Detector
from groundingdino.detection.precision import in_bfloat16, multiplies_bfloat16
from groundingdino.detection.text_tokens import tokenize_captions
from groundingdino.detection.tokenizer_files import BERT_VOCABULARY
from groundingdino.kernels import choice, reference
from groundingdino.model import GroundingDINO, ImageFeatures, Output, deformable_attention, fusion
from groundingdino.model.config import EMBEDDED, SWIN_T, GroundingDINOConfig
from groundingdino.model.fusion import BiAttention
from groundingdino.model.query_selection import QuerySelection
from groundingdino.model.text_tokens import TextTokens
from groundingdino.runtime.allocation import M_MMAP_MAX, M_TRIM_THRESHOLD, keep_freed_memory

T = TypeVar("T")

# Where bfloat16 is emulated it is several times slower, and nobody runs it.
DTYPES = (torch.float32, torch.bfloat16) if multiplies_bfloat16(torch.device("cpu")) else (torch.float32,)
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
SIZES = ((800, 1066), (480, 640))  # height and width
SHAPES = ((100, 134), (50, 67), (25, 34), (13, 17))  # Swin-T's levels at 800 x 1066
# transformers' own, untrained; of MM Grounding DINO as published, with heads of each layer's own.
PEERS: dict[str, Callable[[], Any]] = {
    "Swin-T": lambda: GroundingDinoForObjectDetection(GroundingDinoConfig()),
    "MM Swin-T": lambda: MMGroundingDinoForObjectDetection(
        MMGroundingDinoConfig(decoder_bbox_embed_share=False, decoder_cls_embed_share=False)
    ),
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Bench:
    """Both models with one set of weights, and the clock."""

    def __init__(self, repeats: int, clock: Callable[[], float]):
        self.repeats, self.clock = repeats, clock
        self.tokenizer = BertTokenizerFast(vocab=str(BERT_VOCABULARY))

    def medians(self, functions: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
        """Seconds of each, in turns, after a first call that does not count."""
        times: dict[str, list[float]] = {name: [] for name in functions}
        for function in functions.values():
            function()
        for _ in range(self.repeats):
            for name, function in functions.items():
                start = self.clock()
                function()
                times[name].append(self.clock() - start)
        return {name: statistics.median(values) for name, values in times.items()}

    def tokens(self, prompt: str = PROMPT, batch: int = 1) -> TextTokens:
        return tokenize_captions([prompt] * batch, self.tokenizer)

    def random(self, config: GroundingDINOConfig = SWIN_T) -> GroundingDINO:
        torch.manual_seed(0)
        model = GroundingDINO(config).eval()
        spread(model)
        return model


def narrowed(model: GroundingDINO) -> dict[torch.dtype, GroundingDINO]:
    """The model for each of `DTYPES`, as `Detector` keeps it."""
    return {dtype: model if dtype == torch.float32 else in_bfloat16(model) for dtype in DTYPES}


def picture(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Pixels and padding mask of a batch without padding."""
    return torch.randn(batch, 3, height, width), torch.zeros(batch, height, width, dtype=torch.bool)


def ground(model: GroundingDINO, image: ImageFeatures, tokens: TextTokens) -> Output:
    """What a new prompt costs."""
    return model.ground(image, model.encode_text(tokens))


def encode(model: GroundingDINO, inputs: tuple[Tensor, Tensor]) -> ImageFeatures:
    """What a new picture costs."""
    return model.encode_image(*inputs)


@contextmanager
def as_glibc_is() -> Iterator[None]:
    """Memory is allocated as in any other program, in a process where `keep_freed_memory` is on."""
    mallopt = ctypes.CDLL(None).mallopt
    # What glibc's moving thresholds end at: 32 MiB for blocks of their own, twice that for what is kept.
    for parameter, value in ((M_MMAP_MAX, 65536), (M_MMAP_THRESHOLD, 32 << 20), (M_TRIM_THRESHOLD, 64 << 20)):
        mallopt(parameter, value)
    try:
        yield
    finally:
        keep_freed_memory()


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def whole(bench: Bench, height: int, width: int, kind: str = "Swin-T") -> None:
    """First picture and new prompt, float32 and bfloat16, against transformers."""
    torch.manual_seed(0)
    theirs = PEERS[kind]().eval()
    spread(theirs)
    model = GroundingDINO(from_transformers(theirs.config.to_dict())).eval()
    load_checkpoint(model, theirs.state_dict())
    tokens, (pixels, padding_mask) = bench.tokens(), picture(height, width)
    models = narrowed(model)
    boxes: dict[str, Tensor] = {}

    @as_glibc_is()
    def peer() -> None:
        boxes["peer"] = theirs(
            pixel_values=pixels,
            input_ids=tokens.input_ids,
            token_type_ids=torch.zeros_like(tokens.input_ids),
            attention_mask=tokens.token_mask.long(),
            pixel_mask=(~padding_mask).long(),
        ).pred_boxes

    images: dict[torch.dtype, ImageFeatures] = {}

    def look(dtype: torch.dtype) -> None:
        images[dtype] = encode(models[dtype], (pixels, padding_mask))

    def answer(dtype: torch.dtype) -> None:
        boxes[name_of(dtype)] = ground(models[dtype], images[dtype], tokens).boxes

    functions: dict[str, Callable[[], Any]] = {"peer": peer}
    for dtype in DTYPES:
        functions |= {f"{dtype} image": partial(look, dtype), f"{dtype} prompt": partial(answer, dtype)}
    took = bench.medians(functions)
    rows = []
    for dtype in DTYPES:
        name, new = name_of(dtype), took[f"{dtype} prompt"]
        first = took[f"{dtype} image"] + new
        seconds = [f"{first:.2f} s", f"{took['peer'] / first:.1f}x", f"{new:.2f} s", f"{took['peer'] / new:.1f}x"]
        rows.append([name, f"{took['peer']:.2f} s", *seconds, boxes_apart(boxes[name], boxes["peer"])])
    header = [
        "precision",
        "transformers",
        "first picture",
        "",
        "new prompt",
        "",
        "boxes apart: middle, 99%, < 2e-2",
    ]
    print_table(f"{kind} against transformers, {height} x {width}, '{PROMPT}'", header, rows)


@contextmanager
def attention_in_steps(model: GroundingDINO) -> Iterator[None]:
    """Swin's windows without `scaled_dot_product_attention`, as timm has it."""
    modules = [module for module in model.modules() if isinstance(module, WindowAttention)]
    for module in modules:
        module.fused_attn = False  # type: ignore[misc]
    try:
        yield
    finally:
        for module in modules:
            module.fused_attn = True  # type: ignore[misc]


@contextmanager
def empty_masks_filled_in() -> Iterator[None]:
    """Without looking first whether anything is masked."""
    with (
        patch.object(fusion, "fill", Tensor.masked_fill),
        patch.object(deformable_attention, "fill", Tensor.masked_fill),
    ):
        yield


# What is done for speed alone, and how to do without it.
ABLATIONS: dict[str, Callable[[GroundingDINO], AbstractContextManager[object]]] = {
    "deformable attention by grid_sample": lambda _: patch.object(
        choice, "choose", lambda _: choice.Choice("reference", "")
    ),
    "bi-attention as published": lambda _: patch.object(BiAttention, "folding_pays", lambda *_: False),
    "freed memory given back": lambda _: as_glibc_is(),
    "Swin's attention in steps": attention_in_steps,
    "boxes of all image tokens": lambda _: patch.object(
        QuerySelection, "forward", lambda self, *inputs: self.select(self.propose(*inputs))
    ),
    "empty masks filled in": lambda _: empty_masks_filled_in(),
}


def ablation(bench: Bench) -> None:
    """How many times longer each model takes without one of the speed-ups."""
    cases = {f"Swin-T, {name_of(dtype)}": (model, SIZES[0]) for dtype, model in narrowed(bench.random()).items()}
    cases["embedded, float32"] = (bench.random(EMBEDDED), (384, 512))
    columns: list[dict[str, float]] = []
    for model, size in cases.values():
        inputs, tokens = picture(*size), bench.tokens()
        tokens = tokens._replace(input_ids=tokens.input_ids % model.config.text.vocab_size)
        image = encode(model, inputs)

        def without(name: str, function: Callable[[], Any], model: GroundingDINO = model) -> Callable[[], Any]:
            def run() -> None:
                with ABLATIONS[name](model) if name else nullcontext():
                    function()

            return run

        for part in (partial(encode, model, inputs), partial(ground, model, image, tokens)):
            columns.append(bench.medians({name: without(name, part) for name in ("", *ABLATIONS)}))
    rows = [["with all of them, s", *(f"{column['']:.3f}" for column in columns)]]
    rows += [[name, *(f"{column[name] / column['']:.2f}x" for column in columns)] for name in ABLATIONS]
    header = ["without", *(f"{case}: {part}" for case in cases for part in ("picture", "prompt"))]
    print_table("Each speed-up off", header, rows)


def sampling(bench: Bench) -> None:
    """Deformable attention of one enhancer layer: softmax, places, sampling."""
    torch.manual_seed(0)
    count, heads, points, width = sum(h * w for h, w in SHAPES), SWIN_T.num_heads, SWIN_T.num_points, 32
    centres = [torch.stack([torch.arange(h * w) % w / w, torch.arange(h * w) // w / h], -1) for h, w in SHAPES]
    points_of = torch.cat(centres)[None, :, None].expand(1, count, len(SHAPES), 2).contiguous()
    value = torch.randn(1, count, heads, width)
    offsets = 2 * torch.randn(1, count, heads, len(SHAPES), points, 2)
    logits = torch.randn(1, count, heads, len(SHAPES), points)

    def grid_sample() -> Tensor:
        places = reference.sampling_places(SHAPES, points_of, offsets, logits)
        return reference.multi_scale_deformable_attention(value, SHAPES, *places)

    def ours(value: Tensor) -> Tensor:
        return kernels.deformable_attention_of_offsets(value, SHAPES, points_of, offsets, logits)

    narrow = value.bfloat16()
    took = bench.medians({"grid": grid_sample, "ours": lambda: ours(value), "narrow": lambda: ours(narrow)})
    apart = (grid_sample() - ours(value)).abs().max()
    cells = [f"{1000 * took[name]:.0f} ms" for name in ("grid", "ours", "narrow")]
    header = ["grid_sample", "ours", "", "ours, bfloat16 value", "largest difference"]
    print_table(
        "Deformable attention of the enhancer, 800 x 1066",
        header,
        [[cells[0], cells[1], f"{took['grid'] / took['ours']:.1f}x", cells[2], f"{apart:.0e}"]],
    )


def parts(bench: Bench) -> None:
    """Seconds of each part of our forward."""
    models, tokens, rows = narrowed(bench.random()), bench.tokens(), []
    for height, width in SIZES:
        inputs = picture(height, width)
        for dtype, model in models.items():
            image, text = model.encode_image(*inputs), model.encode_text(tokens)
            enhanced = model.enhancer(image, text)
            queries = model.query_selection(*enhanced)
            functions: dict[str, Callable[[], Any]] = {
                "backbone and neck": partial(model.encode_image, *inputs),
                "text": partial(model.encode_text, tokens),
                "enhancer": partial(model.enhancer, image, text),
                "query selection": partial(model.query_selection, *enhanced),
                "decoder": partial(model.decoder, queries, *enhanced),
            }
            took = bench.medians(functions)
            rows.append((f"{height} x {width}", name_of(dtype), *(f"{seconds:.3f}" for seconds in took.values())))
    print_table("Parts of Swin-T, seconds", ["picture", "precision", *functions], rows)


def growth(bench: Bench) -> None:
    """Seconds as pictures, prompts and batches grow."""
    model, rows = bench.random(), []
    for name, size, batch, prompt in growing_cases():
        inputs, tokens = picture(*size, batch), bench.tokens(prompt, batch)
        image = model.encode_image(*inputs)
        took = bench.medians(
            {
                "image": partial(encode, model, inputs),
                "prompt": partial(ground, model, image, tokens),
            }
        )
        rows.append((name, f"{took['image']:.2f}", f"{took['prompt']:.2f}", f"{resident_mb():.0f}"))
        del inputs, image
        gc.collect()
    header = ["case", "picture, s", "prompt, s", "resident, MB"]
    print_table("Growth of Swin-T, float32, one after the other in one process", header, rows)


def memory(bench: Bench, pictures: int = 50) -> None:
    """Resident memory of a detector that sees ever new pictures and prompts."""
    config = replace(SWIN_T, short_side=320, long_side=576)  # about growth, not about size
    loaded = LoadedModel(bench.random(config), bench.tokenizer, MODELS["swin-t"])
    detector = Detector(loaded, CacheBytes(images=64 << 20))
    rng, sizes, seen = np.random.default_rng(0), ((640, 480), (480, 640), (512, 384), (600, 400)), []
    for index in range(pictures):
        width, height = sizes[index % len(sizes)]
        detector(Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)), f"cat . thing {index}")
        seen.append(resident_mb())
    tenth, last = seen[9], seen[-1]
    header = ["first", "10th", f"{pictures}th", "largest after the 10th against it"]
    row = [f"{value:.0f} MB" for value in (seen[0], tenth, last)]
    print_table(
        "Resident memory over different pictures and prompts", header, [[*row, f"{max(seen[9:]) / tenth - 1:+.1%}"]]
    )


def resident_mb() -> float:
    """Megabytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


SECTIONS: dict[str, Callable[[Bench], None]] = {
    "sampling": sampling,
    **{f"whole-{size[0]}": partial(whole, height=size[0], width=size[1]) for size in SIZES},
    "whole-mm": partial(whole, height=SIZES[0][0], width=SIZES[0][1], kind="MM Swin-T"),
    "ablation": ablation,
    "parts": parts,
    "growth": growth,
    "memory": memory,
}


def main() -> None:
    """Print the sections asked for."""
    parser = argparse.ArgumentParser(description="Measure the detector on a CPU.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; all by default")
    parser.add_argument("--repeats", type=int, default=5, help="measurements behind each median")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: where other programs share the cores")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}: expected {', '.join(SECTIONS)}")
    print(f"{machine()}; {arguments.clock} clock, medians of {arguments.repeats}", flush=True)
    keep_freed_memory()
    bench = Bench(arguments.repeats, CLOCKS[arguments.clock])
    for name in arguments.sections or SECTIONS:
        with torch.inference_mode():
            SECTIONS[name](bench)


if __name__ == "__main__":
    main()
