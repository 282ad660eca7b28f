"""Bilinear sampling compiled by numba: what `cpu` runs on each of its threads.

For one query and head all samples are prepared side by side, in loops that become vectors; the channels of their four
corners are then read and summed in registers. LLVM keeps such a sum in memory when it is written as a numba loop, hence
the one piece that is written in LLVM's own language; any vector width and any processor will do for it.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

# Everything that is fast except the belief that there are no infinities and no NaN: a NaN reads nothing here.
FAST = {"contract", "reassoc", "nsz", "arcp", "afn"}
HALF, ONE, ZERO = np.float32(0.5), np.float32(1), np.float32(0)

# exp(x) = 2**k * exp(r), with ln 2 in two parts and a polynomial for |r| < ln(2) / 2 (Cephes, expf.c; error 2e-7).
LOG2_E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
E5, E4, E3 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
E2, E1, E0 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
LEAST = np.float32(-87)  # exp of less is no normal number


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled when it is first called, and kept on disk for the next start.

    Where no folder can be written to, as in a read-only container, every start compiles it anew: some seconds.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": FAST, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)


def _corner_sum(_typing, values, places, corner_weights, output, first, width):
    """output[first : first + width] = sum of corner_weights[k] * values[places[k] : places[k] + width] over all k.

    `values` is flat and holds float32, or bfloat16 as int16; the number of places is a multiple of four.
    """
    width = width.literal_value
    narrow = values.dtype == types.int16

    def generate(context, builder, signature, arguments):
        vector, wide, index = ir.VectorType(ir.FloatType(), width), ir.VectorType(ir.IntType(32), width), ir.IntType(64)
        arrays = [context.make_array(signature.args[i])(context, builder, arguments[i]) for i in range(4)]
        fma = get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{width}f32")

        def load(k):
            place = builder.sext(builder.load(builder.gep(arrays[1].data, [k])), index)
            pointer = builder.gep(arrays[0].data, [place])
            if not narrow:
                return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=4)
            bits = builder.load(builder.bitcast(pointer, ir.VectorType(ir.IntType(16), width).as_pointer()), align=2)
            return builder.bitcast(builder.shl(builder.zext(bits, wide), ir.Constant(wide, [16] * width)), vector)

        def weight(k):
            undefined = ir.Constant(vector, ir.Undefined)
            number = builder.load(builder.gep(arrays[2].data, [k]))
            lane = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(lane, undefined, ir.Constant(wide, [0] * width))

        before = builder.block
        loop, after = builder.append_basic_block("corners"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(index)
        k.add_incoming(index(0), before)
        sums = [builder.phi(vector), builder.phi(vector)]  # two, so that an addition need not wait for the last one
        totals = list(sums)
        for corner in range(4):
            at = builder.add(k, index(corner))
            totals[corner % 2] = builder.call(fma, [load(at), weight(at), totals[corner % 2]])
        following = builder.add(k, index(4))
        k.add_incoming(following, loop)
        for phi, total in zip(sums, totals, strict=True):
            phi.add_incoming(ir.Constant(vector, [0.0] * width), before)
            phi.add_incoming(total, loop)
        count = builder.extract_value(arrays[1].shape, 0)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
        builder.position_at_end(after)
        pointer = builder.bitcast(builder.gep(arrays[3].data, [arguments[4]]), vector.as_pointer())
        builder.store(builder.fadd(*totals), pointer, align=4)
        return context.get_dummy_value()

    return types.void(values, places, corner_weights, output, first, types.literal(width)), generate


_add_corners: Any = intrinsic(prefer_literal=True)(_corner_sum)  # without the typing context that numba fills in


@njit(nogil=True, fastmath=FAST, error_model="numpy")
def _corners(x, y, weights, columns, rows, starts, step, first, places, corner_weights):
    """Places in a flat value array, and weights, of the four corners of each sample at (x, y); 0 outside its level.

    `columns` and `rows` are each sample's level's, `starts` that level's first token, `step` the numbers per token.
    """
    count = len(x)
    for i in range(count):
        inside = (x[i] > -ONE) & (y[i] > -ONE) & (x[i] < columns[i]) & (y[i] < rows[i])
        across, down = x[i] if inside else ZERO, y[i] if inside else ZERO
        weight = weights[i] if inside else ZERO
        left, top = np.floor(across), np.floor(down)
        across, down = across - left, down - top
        left_weight = weight * (ONE - across) if left >= ZERO else ZERO
        right_weight = weight * across if left + ONE < columns[i] else ZERO
        top_weight = ONE - down if top >= ZERO else ZERO
        bottom_weight = down if top + ONE < rows[i] else ZERO
        width, height = np.int32(columns[i]), np.int32(rows[i])
        # A corner that lies outside has no weight; it only has to be somewhere.
        x0, x1 = max(np.int32(left), np.int32(0)), min(np.int32(left) + np.int32(1), width - np.int32(1))
        y0, y1 = max(np.int32(top), np.int32(0)), min(np.int32(top) + np.int32(1), height - np.int32(1))
        upper, lower = starts[i] + y0 * width, starts[i] + y1 * width
        places[i] = (upper + x0) * step + first
        places[count + i] = (upper + x1) * step + first
        places[2 * count + i] = (lower + x0) * step + first
        places[3 * count + i] = (lower + x1) * step + first
        corner_weights[i], corner_weights[count + i] = left_weight * top_weight, right_weight * top_weight
        corner_weights[2 * count + i], corner_weights[3 * count + i] = (
            left_weight * bottom_weight,
            right_weight * bottom_weight,
        )


@njit(nogil=True, fastmath=FAST, error_model="numpy")
def _softmax(logits, bits, powers, weights):
    """weights = softmax(logits); `bits` and `powers` are one scratch array seen as int32 and as float32."""
    largest = logits[0]
    for i in range(len(weights)):
        largest = max(largest, logits[i])
    for i in range(len(weights)):
        x = max(logits[i] - largest, LEAST)
        k = np.floor(x * LOG2_E + HALF)
        r = x - k * LN2_HIGH - k * LN2_LOW
        polynomial = ((((E5 * r + E4) * r + E3) * r + E2) * r + E1) * r + E0
        bits[i] = (np.int32(k) + np.int32(127)) << np.int32(23)  # 2**k
        weights[i] = polynomial * r * r + r + ONE
    total = ZERO
    for i in range(len(weights)):
        weights[i] *= powers[i]
        total += weights[i]
    scale = ONE / total
    for i in range(len(weights)):
        weights[i] *= scale


@njit(nogil=True)
def _levels_of_samples(shapes, points):
    """(columns, rows, starts), one number for each of a head's samples: its level's size and first token."""
    count = len(shapes) * points
    columns, rows, starts = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.int32)
    start = 0
    for level in range(len(shapes)):
        for i in range(level * points, (level + 1) * points):
            rows[i], columns[i], starts[i] = shapes[level, 0], shapes[level, 1], start
        start += shapes[level, 0] * shapes[level, 1]
    return columns, rows, starts


@lru_cache
def forward(width: int, levels: int, points: int) -> Callable[..., None]:
    """Sampling at given places, for heads of `width` channels: constants, so that loops become vectors.

    The function takes value (B, S * H * D), shapes (L, 2), locations (B * Q, H, L * P * 2), weights (B * Q, H, L * P),
    output (B * Q * H * D,), and the first and last of the `B * Q` rows to compute.
    """
    count = levels * points

    @compiled
    def run(value, shapes, locations, weights, output, first, last):
        heads, queries = weights.shape[1], len(weights) // len(value)
        columns, rows, starts = _levels_of_samples(shapes, points)
        places, corner_weights = np.empty(4 * count, np.int32), np.empty(4 * count, np.float32)
        x, y = np.empty(count, np.float32), np.empty(count, np.float32)
        for row in range(first, last):
            for head in range(heads):
                location = locations[row, head]
                for i in range(count):
                    x[i] = location[2 * i] * columns[i] - HALF
                    y[i] = location[2 * i + 1] * rows[i] - HALF
                step, channel = np.int32(heads * width), np.int32(head * width)
                _corners(x, y, weights[row, head], columns, rows, starts, step, channel, places, corner_weights)
                _add_corners(value[row // queries], places, corner_weights, output, (row * heads + head) * width, width)

    return run


@lru_cache
def fused_forward(width: int, levels: int, points: int) -> Callable[..., None]:
    """Sampling at the places and with the weights of `reference.sampling_places`, in one pass.

    The function takes value (B, S * H * D), shapes (L, 2), reference (B * Q, L, 2 or 4), offsets (B * Q, H, L * P * 2),
    logits (B * Q, H, L * P), output (B * Q * H * D,), and the first and last of the `B * Q` rows to compute.
    """
    count = levels * points

    @compiled
    def run(value, shapes, reference, offsets, logits, output, first, last):
        heads, queries = logits.shape[1], len(logits) // len(value)
        columns, rows, starts = _levels_of_samples(shapes, points)
        places, corner_weights = np.empty(4 * count, np.int32), np.empty(4 * count, np.float32)
        weights, bits = np.empty(count, np.float32), np.empty(count, np.int32)
        powers = bits.view(np.float32)
        x, y = np.empty(count, np.float32), np.empty(count, np.float32)
        centre_x, centre_y = np.empty(count, np.float32), np.empty(count, np.float32)
        unit_x, unit_y = np.ones(count, np.float32), np.ones(count, np.float32)  # of the offsets, in pixels
        for row in range(first, last):
            for level in range(levels):
                place = reference[row, level]
                for i in range(level * points, (level + 1) * points):
                    centre_x[i], centre_y[i] = place[0] * columns[i] - HALF, place[1] * rows[i] - HALF
                    if len(place) == 4:
                        unit_x[i] = place[2] * columns[i] * np.float32(0.5 / points)
                        unit_y[i] = place[3] * rows[i] * np.float32(0.5 / points)
            for head in range(heads):
                _softmax(logits[row, head], bits, powers, weights)
                offset = offsets[row, head]
                for i in range(count):
                    x[i] = offset[2 * i] * unit_x[i] + centre_x[i]
                    y[i] = offset[2 * i + 1] * unit_y[i] + centre_y[i]
                step, channel = np.int32(heads * width), np.int32(head * width)
                _corners(x, y, weights, columns, rows, starts, step, channel, places, corner_weights)
                _add_corners(value[row // queries], places, corner_weights, output, (row * heads + head) * width, width)

    return run


@lru_cache
def backward(width: int) -> Callable[..., None]:
    """Gradients of `forward`, for heads of `width` channels.

    The function takes value (B, S, H, D), shapes (L, 2), locations (B, Q, H, L, P, 2), weights (B, Q, H, L, P), the
    output's gradient (B, Q, H, D), zeroed arrays like the first, third and fourth for theirs, and the first and last of
    the `B * H` rows to compute: one row is one head of one picture, so that no two threads write the same gradient.
    """

    @compiled
    def run(value, shapes, locations, weights, grad, grad_value, grad_locations, grad_weights, first, last):
        queries, heads, levels, points = weights.shape[1:]
        columns, rows, starts = _levels_of_samples(shapes, points)
        for row in range(first, last):
            batch, head = row // heads, row % heads
            for query in range(queries):
                for i in range(levels * points):
                    level, point = i // points, i % points
                    x = locations[batch, query, head, level, point, 0] * columns[i] - HALF
                    y = locations[batch, query, head, level, point, 1] * rows[i] - HALF
                    if not (x > -ONE and y > -ONE and x < columns[i] and y < rows[i]):
                        continue
                    weight = weights[batch, query, head, level, point]
                    left, top = int(np.floor(x)), int(np.floor(y))
                    dx, dy, sampled = ZERO, ZERO, ZERO
                    for corner in range(4):
                        down, across = corner // 2, corner % 2
                        if not (0 <= top + down < rows[i] and 0 <= left + across < columns[i]):
                            continue
                        place = starts[i] + (top + down) * int(columns[i]) + left + across
                        across_x = x - np.float32(left) if across else ONE - (x - np.float32(left))
                        across_y = y - np.float32(top) if down else ONE - (y - np.float32(top))
                        scaled = weight * across_x * across_y
                        dot = ZERO
                        for c in range(width):
                            g = grad[batch, query, head, c]
                            dot += g * value[batch, place, head, c]
                            grad_value[batch, place, head, c] += scaled * g
                        sampled += dot * across_x * across_y
                        dx += dot * across_y * (ONE if across else -ONE)
                        dy += dot * across_x * (ONE if down else -ONE)
                    grad_weights[batch, query, head, level, point] = sampled
                    grad_locations[batch, query, head, level, point, 0] = weight * dx * columns[i]
                    grad_locations[batch, query, head, level, point, 1] = weight * dy * rows[i]

    return run
