"""Every kernel against the reference, which is the definition."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from groundingdino import kernels
from groundingdino.kernels import choice, cpu, reference

SHAPES = ((7, 9), (4, 5), (1, 3))
needs_numba = pytest.mark.skipif(not cpu.AVAILABLE, reason="numba is not installed")


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def case(dtype=torch.float32, heads=4, width=8, queries=11, points=3):
    torch.manual_seed(0)
    tokens = sum(height * columns for height, columns in SHAPES)
    value = torch.randn(2, tokens, heads, width, dtype=dtype)
    locations = torch.rand(2, queries, heads, len(SHAPES), points, 2) * 1.6 - 0.3  # a good part lies outside
    weights = torch.rand(2, queries, heads, len(SHAPES) * points).softmax(-1)
    return value, locations, weights.view(2, queries, heads, len(SHAPES), points)


def test_reference_reads_a_pixel_at_its_centre_and_zero_outside():
    value = torch.arange(6.0).view(1, 6, 1, 1)  # one level of 2 x 3
    centres = torch.tensor([[0.5 / 3, 0.25], [2.5 / 3, 0.75], [1.0 / 3, 0.25], [-0.5, 0.5]])
    output = reference.multi_scale_deformable_attention(
        value, ((2, 3),), centres.view(1, 4, 1, 1, 1, 2), torch.ones(1, 4, 1, 1, 1)
    )
    np.testing.assert_allclose(output.flatten().numpy(), [0, 5, 0.5, 0], atol=1e-6)


@needs_numba
@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("threads", [1, 2])
def test_cpu_forward(width, threads):
    value, locations, weights = case(width=width)
    with using_threads(threads):
        output = cpu.multi_scale_deformable_attention(value, SHAPES, locations, weights)
    expected = reference.multi_scale_deformable_attention(value, SHAPES, locations, weights)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


def offsets_case(size: int, dtype=torch.float32, width=8, points=3):
    """What two linear layers say of 11 queries, around points (size 2) or boxes (size 4)."""
    value, locations, _ = case(width=width, points=points)
    reference_points = torch.rand(2, 11, len(SHAPES), size)
    logits = 3 * torch.randn(locations.shape[:-1])
    return value.to(dtype), reference_points, 3 * torch.randn_like(locations), logits


@pytest.mark.parametrize("size", [2, 4])
def test_places_around_points_and_boxes(size):
    _, reference_points, offsets, logits = offsets_case(size)
    locations, weights = reference.sampling_places(SHAPES, reference_points, offsets, logits)
    height, columns = SHAPES[1]
    unit = torch.tensor([1 / columns, 1 / height]) if size == 2 else reference_points[1, 5, 1, 2:] / 2 / 3
    expected = reference_points[1, 5, 1, :2] + offsets[1, 5, 2, 1, 0] * unit
    torch.testing.assert_close(locations[1, 5, 2, 1, 0], expected)
    torch.testing.assert_close(weights[1, 5, 2].flatten(), logits[1, 5, 2].flatten().softmax(0))


@needs_numba
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("width", [8, 32, 5])
@pytest.mark.parametrize("threads", [1, 2])
def test_cpu_in_one_pass(size, width, threads):
    value, reference_points, offsets, logits = offsets_case(size, width=width)
    with using_threads(threads), torch.inference_mode():
        output = kernels.deformable_attention_of_offsets(value, SHAPES, reference_points, offsets, logits)
    expected = reference.multi_scale_deformable_attention(
        value, SHAPES, *reference.sampling_places(SHAPES, reference_points, offsets, logits)
    )
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


@needs_numba
@torch.no_grad()
def test_cpu_in_one_pass_reads_bf16_as_it_is():
    value, reference_points, offsets, logits = offsets_case(2, torch.bfloat16)
    output = cpu.deformable_attention_of_offsets(value, SHAPES, reference_points, offsets, logits)
    expected = cpu.deformable_attention_of_offsets(value.float(), SHAPES, reference_points, offsets, logits)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, expected.bfloat16())


@needs_numba
@torch.no_grad()
def test_one_pass_bears_what_no_picture_gives():
    value, reference_points, offsets, logits = offsets_case(2)
    offsets[:, 0], offsets[:, 1], offsets[:, 2] = torch.nan, torch.inf, 1e30
    logits[:, 3] = 1e4
    logits[:, 3, ..., 0] = -1e4
    output = cpu.deformable_attention_of_offsets(value, SHAPES, reference_points, offsets, logits)
    assert not output[:, :3].any()
    expected = reference.multi_scale_deformable_attention(
        value, SHAPES, *reference.sampling_places(SHAPES, reference_points, offsets, logits)
    )
    torch.testing.assert_close(output[:, 3:], expected[:, 3:], rtol=0, atol=1e-5)


def test_one_pass_leaves_gradients_to_the_other():
    value, reference_points, offsets, logits = offsets_case(2)
    offsets.requires_grad_()
    kernels.deformable_attention_of_offsets(value, SHAPES, reference_points, offsets, logits).sum().backward()
    assert offsets.grad.any()


@needs_numba
def test_cpu_backward():
    inputs = [tensor.requires_grad_() for tensor in case()]
    grad = torch.randn(2, 11, 32)
    expected, ours = (
        torch.autograd.grad(kernel(inputs[0], SHAPES, *inputs[1:]), inputs, grad)
        for kernel in (reference.multi_scale_deformable_attention, cpu.multi_scale_deformable_attention)
    )
    for ours_part, expected_part in zip(ours, expected, strict=True):
        torch.testing.assert_close(ours_part, expected_part, rtol=1e-4, atol=1e-4)


@needs_numba
def test_cpu_keeps_the_type():
    value, locations, weights = case(torch.bfloat16)
    output = cpu.multi_scale_deformable_attention(value, SHAPES, locations, weights)
    expected = reference.multi_scale_deformable_attention(value.float(), SHAPES, locations, weights)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, rtol=0.02, atol=0.02)


@needs_numba
def test_locations_that_are_not_numbers_read_nothing():
    value, locations, weights = case()
    output = cpu.multi_scale_deformable_attention(value, SHAPES, torch.full_like(locations, torch.nan), weights)
    assert not output.any()


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """The choice is made once for each device and type: here it is another machine's, and forgotten again."""
    choice.choose_for.cache_clear()
    yield
    choice.choose_for.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_the_choice_says_why(monkeypatch):
    value, *places = offsets_case(2)
    assert kernels.choose(value.to("meta")) == ("reference", "there is no kernel for meta yet")
    monkeypatch.setattr(cpu, "AVAILABLE", False)
    assert kernels.choose(value) == ("reference", "numba is not installed")
    output = kernels.deformable_attention_of_offsets(value, SHAPES, *places)
    assert torch.equal(output, reference.deformable_attention_of_offsets(value, SHAPES, *places))
    choice.choose_for.cache_clear()
    monkeypatch.setattr(cpu, "AVAILABLE", True)
    assert kernels.choose(value) == ("cpu", "")
    assert kernels.choose(value[:0]) == ("cpu", "")
    expected = ("reference", "the kernels compute in float32, which would lose some of torch.float64")
    assert kernels.choose(value.double()) == expected
    too_large = torch.zeros(1).expand(1, 2**20, 8, 256)
    assert kernels.choose(too_large) == ("reference", "a picture has more than 2147483647 numbers")


@pytest.mark.parametrize(
    ("installed", "major", "expected"),
    [
        (True, 9, ("triton", "")),
        (False, 9, ("reference", "Triton is not installed")),
        (True, 7, ("reference", "Triton needs a GPU of compute capability 8.0 or newer")),
    ],
)
@pytest.mark.usefixtures("asked_anew")
def test_the_choice_on_a_gpu(monkeypatch, installed, major, expected):
    monkeypatch.setattr("groundingdino.kernels.choice.TRITON_AVAILABLE", installed)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(major=major))
    value = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float16, shape=torch.Size([1, 83, 4, 8]))
    assert kernels.choose(value) == expected


def test_kernels_are_compiled_where_nothing_can_be_kept(monkeypatch):
    from groundingdino.kernels import numba_sampling

    compile_ = numba_sampling.njit

    def without_a_folder(cache: bool = False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_(**options)

    monkeypatch.setattr(numba_sampling, "njit", without_a_folder)
    assert numba_sampling.compiled(lambda x: x + 1)(2) == 3
