"""One table for a GPU: `python -m benchmarks.gpu`.

The operator against the authors' CUDA op and transformers' PyTorch code, then Swin-T whole and in parts against
transformers on the same weights. Medians; what stands in one row was measured in turns in the same run.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import authors_op
from benchmarks.table import PROMPT, boxes_apart, growing_cases, machine, print_table, spread
from groundingdino.detection.checkpoints import load_checkpoint
from groundingdino.detection.config_json import from_transformers
from groundingdino.detection.precision import in_bfloat16
from groundingdino.detection.text_tokens import tokenize_captions
from groundingdino.detection.tokenizer_files import BERT_VOCABULARY
from groundingdino.kernels import reference
from groundingdino.model import GroundingDINO
from groundingdino.model.config import SWIN_T

SHAPES = ((100, 167), (50, 84), (25, 42), (13, 21))  # Swin-T's levels at 800 x 1333
HEADS, WIDTH, POINTS = 8, 32, 4
ROUNDS = 5


def operator_inputs(batch: int, dtype: torch.dtype) -> list[Tensor]:
    """Value, locations and weights of the enhancer: each token looks around itself, most of it within 4 pixels."""
    torch.manual_seed(0)
    centres = torch.cat(
        [
            torch.stack([(torch.arange(h * w) % w + 0.5) / w, (torch.arange(h * w) // w + 0.5) / h], -1)
            for h, w in SHAPES
        ]
    ).cuda()
    tokens, levels = len(centres), len(SHAPES)
    value = torch.randn(batch, tokens, HEADS, WIDTH, device="cuda").to(dtype)
    pixels = torch.tensor([(1 / w, 1 / h) for h, w in SHAPES], device="cuda")[:, None]
    offsets = 2 * torch.randn(batch, tokens, HEADS, levels, POINTS, 2, device="cuda")
    locations = centres[:, None, None, None] + offsets * pixels
    weights = torch.randn(batch, tokens, HEADS, levels * POINTS, device="cuda").softmax(-1)
    return [value, locations, weights.view(locations.shape[:-1])]


def medians(functions: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of each, in turns, with a cold L2 cache."""
    from triton.testing import do_bench

    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            times[name].append(do_bench(function, warmup=10, rep=40, return_mode="median"))
    return {name: statistics.median(values) for name, values in times.items()}


def wall_medians(functions: Mapping[str, Callable[[], Any]], repeats: int = 15) -> dict[str, float]:
    """Milliseconds of each until the GPU is done, in turns, after three rounds that compile and warm up."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats + 3):
        for name, function in functions.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            function()
            torch.cuda.synchronize()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values[3:]) for name, values in times.items()}


def difference(ours: Tensor, theirs: Tensor) -> str:
    return f"{(ours.float() - theirs.float()).abs().max().item():.1e}"


def peak_mb(function: Callable[[], Any]) -> str:
    """Highest allocation while the function runs, above what was there before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    torch.cuda.synchronize()
    return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.0f} MB"


def row(what: str, peer: str, ours: float, theirs: float, gap: str, memory: str = "") -> list[str]:
    return [what, f"{ours:.3f}", peer, f"{theirs:.3f}", f"{theirs / ours:.2f}x", gap, memory]


def operator_rows(authors: Any) -> list[list[str]]:
    """Forward and backward, fp32 and bf16, batch 1 and 4; all of a batch in turns."""
    from transformers.models.grounding_dino.modeling_grounding_dino import MultiScaleDeformableAttention

    from groundingdino.kernels import triton as ours

    their_module = MultiScaleDeformableAttention()
    sizes = [size for shape in SHAPES for size in shape]
    shapes = torch.tensor(SHAPES, device="cuda")
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    backward = torch.ops.groundingdino.deformable_attention_backward
    rows = []
    for batch in (1, 4):
        forwards: dict[str, Callable[[], Any]] = {}
        backwards: dict[str, Callable[[], Any]] = {}

        def add(dtype: torch.dtype, batch: int = batch, forwards: Any = forwards, backwards: Any = backwards) -> None:
            name = str(dtype).removeprefix("torch.")
            value, locations, weights = operator_inputs(batch, dtype)
            # transformers wants one type.
            theirs = [x.to(dtype, copy=True).requires_grad_() for x in (value, locations, weights)]

            def transformers() -> Tensor:
                return their_module(theirs[0], shapes, SHAPES, starts, *theirs[1:], 64)

            forward = partial(ours.multi_scale_deformable_attention, value, SHAPES, locations, weights)
            output, their_output = forward(), transformers()
            grad = torch.randn_like(output)
            forwards[f"{name} ours"] = forward
            backwards[f"{name} ours"] = lambda: backward(grad, value, sizes, None, locations, weights, output)
            forwards[f"{name} transformers"] = torch.no_grad()(transformers)
            backwards[f"{name} transformers"] = lambda: torch.autograd.grad(
                their_output, theirs, grad, retain_graph=True
            )
            if authors is None or dtype != torch.float32:
                return

            def authors_backward() -> list[Tensor]:
                grads = [torch.zeros_like(x) for x in (value, locations, weights)]
                authors.backward(value, shapes, starts, locations, weights, grad, *grads, 64)
                return grads

            forwards[f"{name} authors' op"] = lambda: authors.forward(value, shapes, starts, locations, weights, 64)
            backwards[f"{name} authors' op"] = authors_backward

        add(torch.float32)
        add(torch.bfloat16)
        for part, functions in (("forward", forwards), ("backward", backwards)):
            times = medians(functions)
            for what, peer in (
                ("float32", "float32 authors' op"),
                ("float32", "float32 transformers"),
                ("bfloat16", "bfloat16 transformers"),
                ("bfloat16", "float32 ours"),
            ):
                if peer in functions:
                    ours_result, theirs_result = (first(functions[name]()) for name in (f"{what} ours", peer))
                    gap, memory = difference(ours_result, theirs_result), peak_mb(functions[f"{what} ours"])
                    rows.append(
                        row(f"{part}, {what}, batch {batch}", peer, times[f"{what} ours"], times[peer], gap, memory)
                    )
    return rows


def first(result: Any) -> Tensor:
    """The output of a forward pass, or the first gradient, value's, of a backward pass."""
    return result if isinstance(result, Tensor) else result[0]


def fused_rows(authors: Any) -> list[list[str]]:
    """What a layer of the model asks for: softmax and sampling places in the same pass, against before it."""
    from groundingdino.kernels import triton as ours

    shapes = torch.tensor(SHAPES, device="cuda")
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]])
    rows = []
    for batch in (1, 4):
        value, locations, weights = operator_inputs(batch, torch.float32)
        points = locations.mean((2, 4)).contiguous()  # (B, Q, L, 2)
        pixels = torch.tensor([(w, h) for h, w in SHAPES], device="cuda")[:, None]
        offsets = ((locations - points[:, :, None, :, None]) * pixels).contiguous()
        logits = weights.log()

        def in_steps(sample: Callable[..., Tensor], inputs: tuple[Tensor, ...] = (points, offsets, logits)) -> Tensor:
            return sample(*reference.sampling_places(SHAPES, *inputs))

        def theirs(places: Tensor, shares: Tensor, value: Tensor = value) -> Tensor:
            return authors.forward(value, shapes, starts, places.contiguous(), shares.contiguous(), 64)

        def alone(places: Tensor, shares: Tensor, value: Tensor = value) -> Tensor:
            return ours.multi_scale_deformable_attention(value, SHAPES, places, shares)

        functions: dict[str, Callable[[], Any]] = {
            "ours": partial(ours.deformable_attention_of_offsets, value, SHAPES, points, offsets, logits),
            "ours, in steps": partial(in_steps, alone),
        }
        if authors is not None:
            functions["authors' op, in steps"] = partial(in_steps, theirs)
        times = medians(functions)
        memory = peak_mb(functions["ours"])
        for peer in list(functions)[1:]:
            gap = difference(functions["ours"](), functions[peer]())
            rows.append(row(f"forward, float32, batch {batch}", peer, times["ours"], times[peer], gap, memory))
    return rows


def tile_rows() -> list[list[str]]:
    """What other tiles would give, so that `tile_for` can be chosen again on another GPU."""
    from groundingdino.kernels import triton as ours

    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        value, locations, weights = operator_inputs(1, dtype)
        chosen = ours.tile_for(HEADS, WIDTH, value.element_size())

        def with_tile(tile: Any) -> Callable[[], Tensor]:
            def run() -> Tensor:
                ours.tile_for = lambda *_: tile
                return ours.multi_scale_deformable_attention(value, SHAPES, locations, weights)  # noqa: B023

            return run

        tiles = [
            chosen._replace(rows=count, group=group)
            for count in (chosen.rows // 2, chosen.rows, 2 * chosen.rows)
            for group in (1, 2, 8)
        ]
        pick = ours.tile_for
        try:
            times = medians({str(tile): with_tile(tile) for tile in [chosen, *tiles]})
        finally:
            ours.tile_for = pick
        rows += [[str(dtype), tile, f"{value:.3f}"] for tile, value in times.items()]
    return rows


def model_rows() -> list[list[str]]:
    """The published size with random weights, the same in both implementations, in bf16."""
    from transformers import BertTokenizerFast, GroundingDinoConfig, GroundingDinoForObjectDetection

    torch.manual_seed(0)
    theirs = GroundingDinoForObjectDetection(GroundingDinoConfig()).eval()
    spread(theirs)
    model = GroundingDINO(from_transformers(theirs.config.to_dict())).eval()
    load_checkpoint(model, theirs.state_dict())
    model = in_bfloat16(model.cuda())  # as `Detector` has it
    theirs.cuda()
    pixels = torch.randn(1, 3, 800, 1333, device="cuda")
    padding = torch.zeros(1, 800, 1333, dtype=torch.bool, device="cuda")
    tokens = tokenize_captions([PROMPT], BertTokenizerFast(vocab=str(BERT_VOCABULARY))).to("cuda")
    mask = tokens.token_mask.long()

    def run_theirs() -> Any:
        with torch.autocast("cuda", torch.bfloat16):
            return theirs(
                pixel_values=pixels,
                input_ids=tokens.input_ids,
                attention_mask=mask,
                token_type_ids=torch.zeros_like(mask),
                pixel_mask=(~padding).long(),
            )

    with torch.inference_mode():
        image, text = model.encode_image(pixels, padding), model.encode_text(tokens)
        enhanced, enhanced_text = model.enhancer(image, text)
        queries = model.query_selection(enhanced, enhanced_text)
        functions: dict[str, Callable[[], Any]] = {
            "first picture": lambda: model(pixels, padding, tokens),
            "new prompt": lambda: model.ground(image, model.encode_text(tokens)),
            "transformers": run_theirs,
            "  Swin-T and projection": lambda: model.encode_image(pixels, padding),
            "  BERT and projection": lambda: model.encode_text(tokens),
            "  enhancer": lambda: model.enhancer(image, text),
            "  query selection": lambda: model.query_selection(enhanced, enhanced_text),
            "  decoder": lambda: model.decoder(queries, enhanced, enhanced_text),
        }
        times = wall_medians(functions)
        gap = boxes_apart(functions["first picture"]().boxes, run_theirs().pred_boxes)
        memory = {name: peak_mb(function) for name, function in functions.items()}
        peer = times.pop("transformers")
        rows = []
        for name, value in times.items():
            if name.startswith(" "):
                rows.append([name, f"{value:.3f}", "", "", "", "", memory[name]])
            else:
                found = gap if name == "first picture" else ""
                rows.append(row(name, "transformers", value, peer, found, memory[name]))
        for name in ("new prompt", "first picture"):
            try:
                replay = captured(functions[name])
            except RuntimeError as error:
                rows.append([f"{name}, CUDA graph", "", "", "", "", f"none: {str(error).splitlines()[0]}", ""])
                break
            pair = wall_medians({"eager": functions[name], "graph": replay})
            rows.append(row(f"{name}, CUDA graph", "eager", pair["graph"], pair["eager"], ""))
    return rows


def growth_rows() -> list[list[str]]:
    """Milliseconds and memory as pictures, prompts and batches grow, in bf16."""
    from transformers import BertTokenizerFast

    torch.manual_seed(0)
    model = GroundingDINO(SWIN_T).eval()
    spread(model)
    model = in_bfloat16(model.cuda())
    tokenizer, rows = BertTokenizerFast(vocab=str(BERT_VOCABULARY)), []
    for name, (height, width), batch, prompt in growing_cases():
        pixels = torch.randn(batch, 3, height, width, device="cuda")
        padding = torch.zeros(batch, height, width, dtype=torch.bool, device="cuda")
        tokens = tokenize_captions([prompt] * batch, tokenizer).to("cuda")
        with torch.inference_mode():
            look = partial(model.encode_image, pixels, padding)
            image = look()

            def answer(image: Any = image, tokens: Any = tokens) -> Any:
                return model.ground(image, model.encode_text(tokens))

            times = wall_medians({"picture": look, "prompt": answer})
            rows.append([name, f"{times['picture']:.2f}", f"{times['prompt']:.2f}", peak_mb(look), peak_mb(answer)])
    return rows


def captured(function: Callable[[], Any]) -> Callable[[], None]:
    """The function as one launch.

    Raises:
        RuntimeError: It waits for the GPU somewhere, so that it cannot be captured.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--authors-source", type=Path, help=f"source archive of {authors_op.SOURCE}, instead of a download"
    )
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("This benchmark needs an NVIDIA GPU and Triton, and nvcc for the authors' op.", file=sys.stderr)
        return 2
    print(machine())
    try:
        authors = authors_op.build(arguments.authors_source)
    except (RuntimeError, ValueError) as error:
        authors = None
        print(f"\nWithout the authors' op: {str(error).splitlines()[0]}.")
    header = ("what", "ours ms", "against", "its ms", "faster", "max difference", "our peak memory")
    print_table("Deformable attention, Swin-T at 800x1333", header, operator_rows(authors))
    print_table("The same with softmax and places", header, fused_rows(authors))
    print_table("Tiles of the forward kernel, batch 1", ("type", "tile", "ms"), tile_rows())
    growth_header = ("case", "picture, ms", "prompt, ms", "memory of the picture", "of the prompt")
    print_table("Growth of Swin-T, bf16", growth_header, growth_rows())
    # Last, since a capture that fails may leave the stream unfit for more.
    print_table("Swin-T at 800x1333, bf16", header, model_rows())
    return 0


if __name__ == "__main__":
    sys.exit(main())
