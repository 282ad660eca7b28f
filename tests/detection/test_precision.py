from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, ops
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from groundingdino.detection.precision import fastest_dtype, in_bfloat16, multiplies_bfloat16
from groundingdino.kernels import choice
from groundingdino.model import GroundingDINO, layers
from groundingdino.model.config import EMBEDDED, SWIN_T
from groundingdino.model.text_tokens import TextTokens


@pytest.mark.parametrize(
    ("capabilities", "config", "expected"),
    [
        ({"avx512_bf16": True}, SWIN_T, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, SWIN_T, torch.bfloat16),
        ({"avx512_f": True}, SWIN_T, torch.float32),
        ({}, SWIN_T, torch.float32),
        ({"avx512_bf16": True}, EMBEDDED, torch.float32),
        ({"avx512_bf16": True}, replace(EMBEDDED, hidden_dim=256), torch.bfloat16),
    ],
)
def test_on_a_cpu(monkeypatch, capabilities, config, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fastest_dtype(torch.device("cpu"), config) == expected


@pytest.mark.parametrize(("generation", "expected"), [(9, torch.bfloat16), (7, torch.float32)])
def test_on_a_gpu(monkeypatch, generation, expected):
    """Of several GPUs the one asked about counts."""
    generations = {1: generation}
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(major=generations[device.index])
    )
    assert fastest_dtype(torch.device("cuda:1"), EMBEDDED) == expected


def test_on_anything_else():
    assert fastest_dtype(torch.device("mps"), SWIN_T) == torch.float32


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False), ({}, False)],
)
def test_whether_a_cpu_multiplies_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert multiplies_bfloat16(torch.device("cpu")) == expected


def test_what_is_kept_in_bfloat16(mini_config):
    given = GroundingDINO(mini_config)
    model = in_bfloat16(given)
    assert in_bfloat16(model) is model
    assert {parameter.dtype for parameter in given.parameters()} == {torch.float32}
    narrow = {name for name, parameter in model.named_parameters() if parameter.dtype == torch.bfloat16}
    wide = dict(model.named_parameters()).keys() - narrow
    assert {name.split(".")[0] for name in wide} == {"backbone", "neck"}
    assert "backbone.stages.0.0.attn.qkv.weight" in narrow
    assert {"backbone.stages.0.0.norm1.weight", "neck.projections.0.0.weight", "neck.level_embed"} <= wide


class OneType(TorchDispatchMode):
    """Products of tensors of different types fail, as on a device; fake tensors would let them pass."""

    def __torch_dispatch__(self, function, _, args=(), kwargs=None):
        if function.overloadpacket in (ops.aten.mm, ops.aten.addmm, ops.aten.bmm):
            first, *others = (x.dtype for x in args if isinstance(x, Tensor))
            assert others == [first] * len(others), function
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def test_a_gpu_computes_the_prompts_side_in_bfloat16(mini_config, monkeypatch):
    """Without a GPU: tensors of which only the type, shape and device are known, and kernels that check those."""
    monkeypatch.setattr(choice, "choose", lambda _: choice.Choice("triton", ""))
    monkeypatch.setattr(layers, "wavelengths", layers.wavelengths.__wrapped__)  # not to keep those of such tensors
    with FakeTensorMode(), OneType(), torch.device("cuda"):
        pixels, padding_mask = torch.randn(1, 3, 96, 128), torch.zeros(1, 96, 128, dtype=torch.bool)
        image = GroundingDINO(mini_config).encode_image(pixels, padding_mask)
        image = image._replace(tokens=image.tokens.bfloat16(), positions=image.positions.bfloat16())
        torch.set_default_dtype(torch.bfloat16)
        try:
            model = GroundingDINO(mini_config)
        finally:
            torch.set_default_dtype(torch.float32)
        ids, mask = torch.zeros(1, 6, dtype=torch.long), torch.ones(1, 6, 6, dtype=torch.bool)
        text = model.encode_text(TextTokens(ids, mask[:, 0], mask, ids))
        output = model.ground(image, text)
    assert text.features.dtype == torch.bfloat16
    assert output.boxes.device.type == "cuda"
    assert output.boxes.dtype == output.logits.dtype == torch.float32
