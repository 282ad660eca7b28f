"""Multi-scale deformable attention on a GPU, in Triton: compiled at its first call, no compiler to install.

The authors' CUDA op gives each channel a thread, which computes its sample's place anew; here a thread holds 16 bytes
of channels, so that places are computed a quarter (fp32) or an eighth (bf16) as often and a corner is read in wide
loads. A tile is some queries of one head, or of a few heads where one is narrower than a cache line: neighbouring
queries look at neighbouring pixels, which the tile then shares. Sums are float32 whatever the inputs are. A sample
always reads four pixels of its level, those that are not its corners with no weight: a read costs less than deciding.

Source: Deformable DETR (arXiv 2010.04159), section 4.1, equation 3; `reference` is the definition.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

# What places are given as: edge to edge of a level, or offsets from reference points or from boxes, of 2 or 4 numbers.
LOCATIONS = tl.constexpr(0)
POINTS_XY = tl.constexpr(2)
BOXES = tl.constexpr(4)

LINE = 128  # bytes of a GPU's cache line
VECTOR = 16  # bytes a thread reads at once
WARPS = 4


class Tile(NamedTuple):
    """What one program computes: `rows` pairs of query and head, `group` heads of each query, `lanes` channels."""

    rows: int
    group: int
    lanes: int


def tile_for(heads: int, width: int, bytes_per_number: int) -> Tile:
    """One vector of channels for each thread, and heads side by side until they fill a cache line."""
    lanes = triton.next_power_of_2(width)
    group = max(1, LINE // (lanes * bytes_per_number))
    while heads % group:
        group //= 2
    rows = WARPS * 32 * VECTOR // (lanes * bytes_per_number)
    return Tile(min(128, max(group, rows, 1)), group, lanes)


@triton.jit
def _level(sizes, level: tl.constexpr):
    """Rows and columns of a level. Sizes come as float32: of whole numbers Triton compiles each kind anew."""
    return tl.cast(sizes[2 * level], tl.int32), tl.cast(sizes[2 * level + 1], tl.int32)


@triton.jit
def _tile(tokens, queries, HEADS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, GROUP: tl.constexpr):
    """Offset of the tile's picture in value; its first row of B * Q * H; each row from there; whether it exists."""
    groups: tl.constexpr = HEADS // GROUP
    batch = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0) // groups * (ROWS // GROUP)  # heads change first: tiles at work together share queries
    row = tl.arange(0, ROWS)
    query = row // GROUP
    exists = first + query < queries
    query = tl.minimum(query, queries - 1 - first)
    head = tl.program_id(0) % groups * GROUP + row % GROUP
    return batch * tokens * (HEADS * WIDTH), batch * queries + first, query, head, exists


@triton.jit
def _softmax(logits, rows, SAMPLES: tl.constexpr):
    """Maximum and one over the sum of exponentials of each row's logits."""
    sample = tl.arange(0, triton.next_power_of_2(SAMPLES))
    scores = tl.load(logits + rows[:, None] * SAMPLES + sample, mask=sample < SAMPLES, other=-float("inf"))
    scores = scores.to(tl.float32)
    peak = tl.max(scores, 1)
    return peak, 1 / tl.sum(tl.exp(scores - peak[:, None]), 1)


@triton.jit
def _axis(at, size):
    """The first of the two pixels beside a place on one axis, and how far from it the place is.

    Both pixels are in the level, also for a place outside: `_linear` is then 0 for those that are too far off.
    """
    low = tl.maximum(tl.minimum(tl.floor(at), size - 2.0), 0.0)  # also where the place is not a number
    return low.to(tl.int32), at - low


@triton.jit
def _second(size):
    """Steps from the first to the second pixel of `_axis`, and their distance: not a number if there is only one."""
    return tl.minimum(size - 1, 1), tl.where(size > 1, 1.0, float("nan"))


@triton.jit
def _linear(distance):
    """What a pixel counts at this distance from a place, 0 if that is not a number."""
    return tl.maximum(1 - tl.abs(distance), 0.0)


@triton.jit
def _slope(distance):
    """Derivative of `_linear`; at a pixel's centre that towards the next one, as grid_sample has it."""
    slope = tl.where(distance < 0, 1.0, -1.0)
    return tl.where((distance >= -1) & (distance < 1), slope, 0.0)


@triton.jit
def _place(
    reference,
    places,
    rows,
    query,
    height,
    columns,
    level: tl.constexpr,
    point: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    REFERENCE: tl.constexpr,
):
    """A sample's place in pixels, (0, 0) at the centre of the first.

    `REFERENCE`, of the three constants above, says what it is given as.
    """
    here = places + (rows * (LEVELS * POINTS) + level * POINTS + point) * 2
    x = tl.load(here).to(tl.float32)
    y = tl.load(here + 1).to(tl.float32)
    if REFERENCE == LOCATIONS:
        x *= columns
        y *= height
    else:  # no early return: before Triton 3.7 what follows one is compiled all the same
        reference += query * (LEVELS * REFERENCE) + level * REFERENCE
        if REFERENCE == BOXES:
            x *= tl.load(reference + 2).to(tl.float32) * (0.5 / POINTS) * columns
            y *= tl.load(reference + 3).to(tl.float32) * (0.5 / POINTS) * height
        x += tl.load(reference).to(tl.float32) * columns
        y += tl.load(reference + 1).to(tl.float32) * height
    return x - 0.5, y - 0.5


@triton.jit(do_not_specialize=["tokens", "queries"])
def _forward(
    value,
    reference,
    places,
    logits,
    output,
    sizes,
    tokens,
    queries,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    REFERENCE: tl.constexpr,
    ROWS: tl.constexpr,
    GROUP: tl.constexpr,
    LANES: tl.constexpr,
    PAIRS: tl.constexpr,
):
    picture, first, query, head, exists = _tile(tokens, queries, HEADS, WIDTH, ROWS, GROUP)
    rows = query * HEADS + head
    lane = tl.arange(0, LANES)[None, :]
    channels = lane < WIDTH
    # bf16 is read two channels to a word: half of the instructions that would part them otherwise.
    PACK: tl.constexpr = 2 if PAIRS else 1
    if PAIRS:
        value = value.to(tl.pointer_type(tl.int32), bitcast=True)
    word = tl.arange(0, LANES // PACK)[None, :]
    words = word < WIDTH // PACK
    value += picture // PACK + head[:, None] * (WIDTH // PACK) + word
    places += first * (HEADS * LEVELS * POINTS * 2)
    logits += first * (HEADS * LEVELS * POINTS)
    if REFERENCE != LOCATIONS:
        reference += first * (LEVELS * REFERENCE)
        peak, scale = _softmax(logits, rows, LEVELS * POINTS)

    total = tl.zeros([ROWS, LANES // PACK], tl.float32)
    odd_total = tl.zeros([ROWS, LANES // PACK], tl.float32)
    start = 0
    for level in tl.static_range(LEVELS):
        height, columns = _level(sizes, level)
        right, after = _second(columns)
        down, below = _second(height)
        for point in tl.static_range(POINTS):
            x, y = _place(reference, places, rows, query, height, columns, level, point, LEVELS, POINTS, REFERENCE)
            weight = tl.load(logits + rows * (LEVELS * POINTS) + level * POINTS + point).to(tl.float32)
            if REFERENCE != LOCATIONS:
                weight = tl.exp(weight - peak)
            column, x = _axis(x, columns)
            row, y = _axis(y, height)
            corner = value + ((start + row * columns + column) * (HEADS * WIDTH // PACK))[:, None]
            for lower in tl.static_range(2):
                row_weight = weight * _linear(y - below if lower else y)
                for later in tl.static_range(2):
                    corner_weight = (row_weight * _linear(x - after if later else x))[:, None]
                    step = (lower * down * columns + later * right) * (HEADS * WIDTH // PACK)
                    seen = tl.load(corner + step, mask=words, other=0)
                    if PAIRS:  # a bf16 is the upper half of a float32
                        total += corner_weight * (seen << 16).to(tl.float32, bitcast=True)
                        odd_total += corner_weight * (seen & -65536).to(tl.float32, bitcast=True)
                    else:
                        total += corner_weight * seen.to(tl.float32)
        start += height * columns
    if PAIRS:
        total = tl.interleave(total, odd_total)
    if REFERENCE != LOCATIONS:
        total *= scale[:, None]
    output += first * (HEADS * WIDTH) + (rows * WIDTH)[:, None] + lane
    tl.store(output, total.to(output.dtype.element_ty), mask=exists[:, None] & channels)


@triton.jit(do_not_specialize=["tokens", "queries"])
def _backward(
    grad,
    value,
    reference,
    places,
    logits,
    output,
    grad_value,
    grad_places,
    grad_logits,
    sizes,
    tokens,
    queries,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    REFERENCE: tl.constexpr,
    ROWS: tl.constexpr,
    GROUP: tl.constexpr,
    LANES: tl.constexpr,
):
    """Gradients of what `_forward` reads; `grad_places` is of the place in pixels, but of locations in [0, 1]."""
    picture, first, query, head, exists = _tile(tokens, queries, HEADS, WIDTH, ROWS, GROUP)
    rows = query * HEADS + head
    lane = tl.arange(0, LANES)[None, :]
    channels = lane < WIDTH
    present = exists[:, None] & channels
    value += picture + head[:, None] * WIDTH + lane
    grad_value += picture + head[:, None] * WIDTH + lane
    places += first * (HEADS * LEVELS * POINTS * 2)
    logits += first * (HEADS * LEVELS * POINTS)
    grad_places += first * (HEADS * LEVELS * POINTS * 2)
    grad_logits += first * (HEADS * LEVELS * POINTS)
    here = first * (HEADS * WIDTH) + (rows * WIDTH)[:, None] + lane
    wanted = tl.load(grad + here, mask=present, other=0.0).to(tl.float32)
    if REFERENCE != LOCATIONS:
        reference += first * (LEVELS * REFERENCE)
        peak, scale = _softmax(logits, rows, LEVELS * POINTS)
        # What all samples of a row lose together: sum of weight * gradient of weight = gradient * output.
        common = tl.sum(wanted * tl.load(output + here, mask=present, other=0.0).to(tl.float32), 1)

    # Gradients of a row's samples gather in as many slots as it has lanes: so they stay in their threads until the end.
    SLOTS: tl.constexpr = max(LANES, triton.next_power_of_2(LEVELS * POINTS))
    slot = tl.arange(0, SLOTS)[None, :]
    grads_x = tl.zeros([ROWS, SLOTS], tl.float32)
    grads_y = tl.zeros([ROWS, SLOTS], tl.float32)
    grads_weight = tl.zeros([ROWS, SLOTS], tl.float32)
    start = 0
    for level in tl.static_range(LEVELS):
        height, columns = _level(sizes, level)
        right, after = _second(columns)
        down, below = _second(height)
        for point in tl.static_range(POINTS):
            x, y = _place(reference, places, rows, query, height, columns, level, point, LEVELS, POINTS, REFERENCE)
            weight = tl.load(logits + rows * (LEVELS * POINTS) + level * POINTS + point).to(tl.float32)
            if REFERENCE != LOCATIONS:
                weight = tl.exp(weight - peak) * scale
            column, x = _axis(x, columns)
            row, y = _axis(y, height)
            corner = ((start + row * columns + column) * (HEADS * WIDTH))[:, None]
            grad_weight = tl.zeros([ROWS], tl.float32)
            grad_x = tl.zeros([ROWS], tl.float32)
            grad_y = tl.zeros([ROWS], tl.float32)
            for lower in tl.static_range(2):
                y_distance = y - below if lower else y
                row_weight, row_slope = _linear(y_distance), _slope(y_distance)
                for later in tl.static_range(2):
                    x_distance = x - after if later else x
                    column_weight, column_slope = _linear(x_distance), _slope(x_distance)
                    step = (lower * down * columns + later * right) * (HEADS * WIDTH)
                    seen = tl.load(value + corner + step, mask=channels, other=0.0).to(tl.float32)
                    agreement = tl.sum(wanted * seen, 1)
                    corner_weight = row_weight * column_weight
                    grad_weight += agreement * corner_weight
                    grad_x += agreement * row_weight * column_slope
                    grad_y += agreement * column_weight * row_slope
                    tl.atomic_add(
                        grad_value + corner + step,
                        (weight * corner_weight)[:, None] * wanted,
                        mask=present & (corner_weight > 0)[:, None],
                        sem="relaxed",
                    )
            grad_x *= weight
            grad_y *= weight
            if REFERENCE != LOCATIONS:
                grad_weight = weight * (grad_weight - common)
            if REFERENCE != POINTS_XY:
                grad_x *= columns
                grad_y *= height
            grads_x = tl.where(slot == level * POINTS + point, grad_x[:, None], grads_x)
            grads_y = tl.where(slot == level * POINTS + point, grad_y[:, None], grads_y)
            grads_weight = tl.where(slot == level * POINTS + point, grad_weight[:, None], grads_weight)
        start += height * columns
    sample = (rows * (LEVELS * POINTS))[:, None] + slot
    stored = exists[:, None] & (slot < LEVELS * POINTS)
    tl.store(grad_places + 2 * sample, grads_x.to(grad_places.dtype.element_ty), mask=stored)
    tl.store(grad_places + 2 * sample + 1, grads_y.to(grad_places.dtype.element_ty), mask=stored)
    tl.store(grad_logits + sample, grads_weight.to(grad_logits.dtype.element_ty), mask=stored)


def _sizes(spatial_shapes: Sequence[int], value: Tensor) -> tuple[float, ...]:
    """Heights and widths for a kernel's `_level`."""
    sizes = tuple(spatial_shapes)
    areas = [height * columns for height, columns in zip(sizes[::2], sizes[1::2], strict=True)]
    if min(sizes) < 1 or sum(areas) != value.shape[1]:
        raise ValueError(f"Levels of (height, width, ...) {sizes} do not make the {value.shape[1]} tokens of value.")
    return tuple(map(float, sizes))


def _launch(kernel: Any, value: Tensor, reference: Tensor | None, logits: Tensor, sizes: tuple[float, ...]) -> Any:
    """(kernel's pointers, whatever it wants besides) -> None; one program for each tile of each picture."""
    batch, tokens, heads, width = value.shape
    _, queries, _, levels, points = logits.shape
    tile = tile_for(heads, width, value.element_size())
    grid = (triton.cdiv(queries, tile.rows // tile.group) * (heads // tile.group), batch)

    def run(*pointers: Tensor | None, **options: bool) -> None:
        if not logits.numel():
            return
        with torch.cuda.device_of(value):
            kernel[grid](
                *pointers,
                sizes,
                tokens,
                queries,
                HEADS=heads,
                WIDTH=width,
                LEVELS=levels,
                POINTS=points,
                REFERENCE=LOCATIONS.value if reference is None else reference.shape[-1],
                ROWS=tile.rows,
                GROUP=tile.group,
                LANES=tile.lanes,
                num_warps=WARPS,
                **options,
            )

    return run


@torch.library.custom_op("groundingdino::deformable_attention", mutates_args=())
def _op(
    value: Tensor, spatial_shapes: Sequence[int], reference: Tensor | None, places: Tensor, logits: Tensor
) -> Tensor:
    value, places, logits = value.contiguous(), places.contiguous(), logits.contiguous()
    reference = None if reference is None else reference.contiguous()
    output = value.new_empty(*logits.shape[:2], value.shape[2] * value.shape[3])
    pairs = value.dtype == torch.bfloat16 and value.shape[3] % 2 == 0 and value.data_ptr() % 4 == 0
    run = _launch(_forward, value, reference, logits, _sizes(spatial_shapes, value))
    run(value, reference, places, logits, output, PAIRS=pairs)
    return output


@_op.register_fake
def _(*inputs: Any) -> Tensor:
    value, _, _, _, logits = inputs
    return value.new_empty(*logits.shape[:2], value.shape[2] * value.shape[3])


@torch.library.custom_op("groundingdino::deformable_attention_backward", mutates_args=())
def _backward_op(
    grad: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[int],
    reference: Tensor | None,
    places: Tensor,
    logits: Tensor,
    output: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, of places (of locations where `reference` is boxes) and of logits."""
    grad, value, places, logits = (x.contiguous() for x in (grad, value, places, logits))
    reference = None if reference is None else reference.contiguous()
    grad_value = torch.zeros_like(value, dtype=torch.float32)  # many samples add to a pixel
    grad_places, grad_logits = torch.empty_like(places), torch.empty_like(logits)
    run = _launch(_backward, value, reference, logits, _sizes(spatial_shapes, value))
    run(grad, value, reference, places, logits, output, grad_value, grad_places, grad_logits)
    return grad_value.to(value.dtype), grad_places, grad_logits


@_backward_op.register_fake
def _(*inputs: Any) -> tuple[Tensor, ...]:
    _, value, _, _, places, logits, _ = inputs
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (value, places, logits))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    value, spatial_shapes, reference, places, logits = inputs
    ctx.save_for_backward(value, reference, places, logits, output)
    ctx.spatial_shapes = spatial_shapes


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    value, reference, places, logits, output = ctx.saved_tensors
    grad_value, grad_places, grad_logits = _backward_op(
        grad, value, ctx.spatial_shapes, reference, places, logits, output
    )
    grad_reference = None
    if reference is not None and reference.shape[-1] == BOXES.value:
        unit = 0.5 / places.shape[4]
        if ctx.needs_input_grad[2]:
            grad_boxes = torch.cat([grad_places, grad_places * places * unit], -1)
            grad_reference = grad_boxes.sum((2, 4), dtype=torch.float32).to(reference.dtype)
        grad_places = (grad_places * unit * reference[:, :, None, :, None, 2:]).to(places.dtype)
    elif reference is not None and ctx.needs_input_grad[2]:
        sizes = grad_places.new_tensor(ctx.spatial_shapes, dtype=torch.float32).view(-1, 2).flip(-1)
        grad_reference = (grad_places.sum((2, 4), dtype=torch.float32) * sizes).to(reference.dtype)
    return grad_value, None, grad_reference, grad_places, grad_logits


_op.register_autograd(_differentiate, setup_context=_save)


def _flat(spatial_shapes: tuple[tuple[int, int], ...]) -> list[int]:
    return [size for shape in spatial_shapes for size in shape]


def multi_scale_deformable_attention(
    value: Tensor, spatial_shapes: tuple[tuple[int, int], ...], locations: Tensor, weights: Tensor
) -> Tensor:
    """As `reference.multi_scale_deformable_attention`; sums in float32 and returns value's type.

    Raises:
        ValueError: The levels do not make up the tokens.
    """
    return _op(value, _flat(spatial_shapes), None, locations, weights)


def deformable_attention_of_offsets(
    value: Tensor,
    spatial_shapes: tuple[tuple[int, int], ...],
    reference_points: Tensor,
    offsets: Tensor,
    logits: Tensor,
) -> Tensor:
    """The above at `reference.sampling_places`, in the same pass, with gradients of everything it reads.

    Raises:
        ValueError: The levels do not make up the tokens.
    """
    return _op(value, _flat(spatial_shapes), reference_points, offsets, logits)
