"""Every kernel against the reference, which is the definition."""

import numpy as np
import pytest
import torch

from groundingdino import kernels
from groundingdino.kernels import cpu, reference

SHAPES = ((7, 9), (4, 5), (1, 3))


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


@pytest.mark.skipif(not cpu.AVAILABLE, reason="numba is not installed")
@pytest.mark.parametrize("width", [8, 32])
@pytest.mark.parametrize("threads", [1, 2])
def test_cpu_forward(width, threads):
    value, locations, weights = case(width=width)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        output = cpu.multi_scale_deformable_attention(value, SHAPES, locations, weights)
    finally:
        torch.set_num_threads(before)
    expected = reference.multi_scale_deformable_attention(value, SHAPES, locations, weights)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(not cpu.AVAILABLE, reason="numba is not installed")
def test_cpu_backward():
    inputs = [tensor.requires_grad_() for tensor in case()]
    grad = torch.randn(2, 11, 32)
    expected, ours = (
        torch.autograd.grad(kernel(inputs[0], SHAPES, *inputs[1:]), inputs, grad)
        for kernel in (reference.multi_scale_deformable_attention, cpu.multi_scale_deformable_attention)
    )
    for ours_part, expected_part in zip(ours, expected, strict=True):
        torch.testing.assert_close(ours_part, expected_part, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not cpu.AVAILABLE, reason="numba is not installed")
def test_cpu_keeps_the_type():
    value, locations, weights = case(torch.bfloat16)
    output = cpu.multi_scale_deformable_attention(value, SHAPES, locations, weights)
    expected = reference.multi_scale_deformable_attention(value.float(), SHAPES, locations, weights)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, rtol=0.02, atol=0.02)


@pytest.mark.skipif(not cpu.AVAILABLE, reason="numba is not installed")
def test_locations_that_are_not_numbers_read_nothing():
    value, locations, weights = case()
    output = cpu.multi_scale_deformable_attention(value, SHAPES, torch.full_like(locations, torch.nan), weights)
    assert not output.any()


def test_the_choice_says_why(monkeypatch):
    value, locations, weights = case()
    assert kernels.choose(value.to("meta")) == ("reference", "there is no kernel for meta yet")
    monkeypatch.setattr(cpu, "AVAILABLE", False)
    assert kernels.choose(value) == ("reference", "numba is not installed")
    output = kernels.deformable_attention(value, SHAPES, locations, weights)
    expected = reference.multi_scale_deformable_attention(value, SHAPES, locations, weights)
    assert torch.equal(output, expected)
    monkeypatch.setattr(cpu, "AVAILABLE", True)
    assert kernels.choose(value) == ("cpu", "")
