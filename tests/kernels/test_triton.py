"""The Triton kernel against the reference: on a GPU where there is one, else in Triton's interpreter on the CPU.

Triton must know that it is to be interpreted before it is imported, so that run has a process of its own.
"""

import os
import subprocess
import sys

import pytest
import torch

from groundingdino.kernels import reference
from groundingdino.kernels.choice import TRITON_AVAILABLE
from groundingdino.model.deformable_attention import DeformableAttention

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
SHAPES = ((4, 7), (1, 3), (2, 1))
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 4e-2}

pytestmark = pytest.mark.skipif(not TRITON_AVAILABLE, reason="Triton is not installed")
kernel = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(), reason="no GPU here: test_in_the_interpreter runs it"
)
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
def test_in_the_interpreter():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", __file__]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout


def triton():
    from groundingdino.kernels import triton

    return triton


def case(dtype=torch.float32, heads=2, width=8, queries=5, points=2, batch=2):
    torch.manual_seed(0)
    tokens = sum(height * columns for height, columns in SHAPES)
    value = torch.randn(batch, tokens, heads, width).to(dtype)
    locations = torch.rand(batch, queries, heads, len(SHAPES), points, 2) * 1.6 - 0.3  # a good part lies outside
    weights = torch.rand(batch, queries, heads, len(SHAPES) * points).softmax(-1)
    return [x.to(DEVICE) for x in (value, locations, weights.view(locations.shape[:-1]))]


def offsets_case(size, dtype=torch.float32):
    """As two linear layers give them under autocast, around points (size 2) or boxes (size 4)."""
    value, locations, weights = case(dtype)
    reference_points = torch.rand(2, 5, len(SHAPES), size).to(DEVICE)
    offsets, logits = 3 * torch.randn(locations.shape), 3 * torch.randn(weights.shape)
    return [value, reference_points, offsets.to(value), logits.to(value)]


def expected_of_offsets(value, reference_points, offsets, logits):
    places = reference.sampling_places(SHAPES, reference_points, offsets, logits)
    return reference.multi_scale_deformable_attention(value, SHAPES, *places)


def assert_same(ours, expected, tolerance):
    """Differences in shares of the largest number."""
    assert ours.shape == expected.shape
    assert (ours.float() - expected).abs().max() <= tolerance * max(1, expected.abs().max())


def compare(ours, expected, inputs, tolerance):
    """Values and all gradients of two functions; the second gets the same inputs in float32."""
    inputs = [x.requires_grad_() for x in inputs]
    precise = [x.detach().float().requires_grad_() for x in inputs]
    output, right = ours(*inputs), expected(*precise)
    assert output.dtype == inputs[0].dtype
    assert_same(output, right, tolerance)
    grad = torch.randn(right.shape, device=right.device)
    grads = torch.autograd.grad(output, inputs, grad.to(output.dtype))
    for x, ours_part, right_part in zip(inputs, grads, torch.autograd.grad(right, precise, grad), strict=True):
        assert ours_part.dtype == x.dtype
        assert_same(ours_part, right_part, tolerance)


@kernel
@pytest.mark.parametrize(
    ("dtype", "heads", "width", "points"),
    [
        (torch.float32, 2, 8, 2),
        (torch.float32, 3, 24, 1),  # channels that fill no power of two, heads that do not pair
        (torch.float32, 1, 2, 3),  # more samples than channels
        (torch.float16, 2, 8, 2),
        (torch.bfloat16, 2, 8, 2),
        (torch.bfloat16, 2, 5, 1),  # cannot be read in pairs
    ],
)
def test_samples_at_locations(dtype, heads, width, points):
    value, locations, weights = case(dtype, heads, width, points=points)
    compare(
        lambda *x: triton().multi_scale_deformable_attention(x[0], SHAPES, *x[1:]),
        lambda *x: reference.multi_scale_deformable_attention(x[0], SHAPES, *x[1:]),
        [value, locations, weights],
        TOLERANCE[dtype],
    )


@kernel
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_samples_around_points_and_boxes(dtype, size):
    compare(
        lambda value, *x: triton().deformable_attention_of_offsets(value, SHAPES, *x),
        expected_of_offsets,
        offsets_case(size, dtype),
        TOLERANCE[dtype],
    )


@kernel
def test_gradients_are_slopes():
    value, reference_points, offsets, logits = [x.requires_grad_() for x in offsets_case(4)]
    inputs = [value, reference_points, offsets, logits]
    directions = [torch.randn_like(x) for x in inputs]

    def after(step):
        moved = [x + step * direction for x, direction in zip(inputs, directions, strict=True)]
        return triton().deformable_attention_of_offsets(moved[0], SHAPES, *moved[1:])

    with torch.no_grad():
        change = (after(1e-3) - after(-1e-3)) / 2e-3
    grad = torch.randn_like(change)
    grads = torch.autograd.grad(after(0), inputs, grad)
    slope = sum((part * direction).sum() for part, direction in zip(grads, directions, strict=True))
    torch.testing.assert_close(slope, (change * grad).sum(), rtol=1e-2, atol=0)


@kernel
def test_what_no_picture_gives_reads_nothing():
    value, reference_points, offsets, logits = offsets_case(2)
    offsets[:, 0], offsets[:, 1], offsets[:, 2] = torch.nan, torch.inf, 1e30
    offsets.requires_grad_()
    output = triton().deformable_attention_of_offsets(value, SHAPES, reference_points, offsets, logits)
    assert not output[:, :3].any()
    (grad,) = torch.autograd.grad(output.sum(), offsets)
    assert not grad[:, :3].any()
    assert grad[:, 3:].isfinite().all()
    assert_same(output[:, 3:], expected_of_offsets(value, reference_points, offsets, logits)[:, 3:], 1e-5)


@kernel
@pytest.mark.parametrize("sizes", [{"queries": 0}, {"batch": 0}])
def test_nothing_to_do(sizes):
    value, locations, weights = [x.requires_grad_() for x in case(**sizes)]
    output = triton().multi_scale_deformable_attention(value, SHAPES, locations, weights)
    assert output.shape == (*locations.shape[:2], 16)
    output.sum().backward()
    assert not value.grad.any()


@kernel
def test_views_are_read_in_their_order():
    value, locations, weights = case()
    expected = reference.multi_scale_deformable_attention(value, SHAPES, locations, weights)
    scattered = [x.transpose(0, 1).contiguous().transpose(0, 1) for x in (value, locations, weights)]
    assert_same(triton().multi_scale_deformable_attention(scattered[0], SHAPES, *scattered[1:]), expected, 1e-5)


@kernel
@pytest.mark.parametrize("shapes", [((4, 7), (1, 3)), ((4, 7), (1, 3), (0, 1), (2, 1))])
def test_levels_must_make_up_the_tokens(shapes):
    value, locations, weights = case()
    with pytest.raises(ValueError, match="do not make the 33 tokens"):
        triton().multi_scale_deformable_attention(value, shapes, locations, weights)


@kernel
@pytest.mark.parametrize("size", [None, 4])
def test_the_operator_keeps_torch_librarys_contract(size):
    if size is None:
        value, places, shares = case(batch=1, queries=2)
        points = None
    else:
        value, points, places, shares = [x[:1, :2] if x.shape[1] == 5 else x[:1] for x in offsets_case(size)]
    inputs = [x if x is None else x.requires_grad_() for x in (value, points, places, shares)]
    sizes = [size for shape in SHAPES for size in shape]
    triton()
    torch.library.opcheck(torch.ops.groundingdino.deformable_attention.default, (inputs[0], sizes, *inputs[1:]))


@kernel
def test_torch_compile_keeps_it_in_the_graph():
    inputs = [x.requires_grad_() for x in offsets_case(2)]
    function = triton().deformable_attention_of_offsets
    compiled = torch.compile(lambda v, *x: 2 * function(v, SHAPES, *x), fullgraph=True, backend="aot_eager")
    compare(compiled, lambda *x: 2 * expected_of_offsets(*x), inputs, 1e-5)


@on_gpu
@pytest.mark.parametrize("size", [2, 4])
def test_the_models_own_sizes_under_autocast(size):
    torch.manual_seed(0)
    shapes = ((50, 84), (25, 42), (13, 21), (7, 11))
    tokens = sum(height * columns for height, columns in shapes)
    module = DeformableAttention(256, 8, 4, 4)
    torch.nn.init.normal_(module.attention_weights.weight, std=0.05)
    torch.nn.init.normal_(module.sampling_offsets.weight, std=0.02)
    query, memory = torch.randn(2, 900, 256), torch.randn(2, tokens, 256)
    padding_mask = torch.zeros(2, tokens, dtype=torch.bool)
    padding_mask[1, -40:] = True
    arguments = (query, torch.rand(2, 900, 4, size), memory, padding_mask)

    def attend(query, reference_points, memory, padding_mask):
        return module(query, reference_points, module.project(memory, padding_mask), shapes)

    expected = attend(*arguments)
    module.cuda()
    arguments = [x.cuda() for x in arguments]
    assert_same(attend(*arguments).cpu(), expected, 1e-3)
    with torch.autocast("cuda", torch.bfloat16):
        output = attend(*arguments)
    assert output.dtype == torch.bfloat16
    assert_same(output.cpu(), expected, 4e-2)
    output.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


@on_gpu
@pytest.mark.parametrize("step", ["backward", "forward"])
def test_other_sizes_compile_nothing_anew(monkeypatch, step):
    import triton as compiler

    compilations = []
    monkeypatch.setattr(compiler.knobs.runtime, "jit_post_compile_hook", lambda *_, **__: compilations.append(1))
    seen = []
    for shapes in (((4, 7), (1, 3), (2, 1)), ((16, 32), (8, 16), (1, 1)), ((5, 1), (16, 16), (3, 3))):
        tokens = sum(height * columns for height, columns in shapes)
        value = torch.randn(1, tokens, 2, 8, device="cuda", requires_grad=step == "backward")
        points = torch.rand(1, tokens, 3, 2, device="cuda")
        offsets, logits = (
            torch.randn(1, tokens, 2, 3, 2, 2, device="cuda"),
            torch.randn(1, tokens, 2, 3, 2, device="cuda"),
        )
        output = triton().deformable_attention_of_offsets(value, shapes, points, offsets, logits)
        if step == "backward":
            output.sum().backward()
        seen.append(len(compilations))
    assert seen[0] == seen[1] == seen[2]


@on_gpu
def test_cuda_graphs_replay_it():
    inputs = offsets_case(2)
    function = triton().deformable_attention_of_offsets
    function(inputs[0], SHAPES, *inputs[1:])  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = function(inputs[0], SHAPES, *inputs[1:])
    inputs[0].normal_()
    graph.replay()
    assert_same(output, expected_of_offsets(*inputs), 1e-5)
