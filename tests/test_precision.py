from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from groundingdino.config import EMBEDDED, SWIN_T
from groundingdino.precision import fastest_dtype, multiplies_bfloat16, store_bfloat16


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


def test_weights_kept_in_bfloat16_give_what_autocast_gives():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.TransformerEncoderLayer(8, 2, 8, batch_first=True))
    kept = deepcopy(layers.eval())
    store_bfloat16(kept)
    narrow = {name for name, parameter in kept.named_parameters() if parameter.dtype == torch.bfloat16}
    assert {"0.weight", "2.self_attn.in_proj_weight", "2.self_attn.out_proj.weight", "2.linear1.bias"} <= narrow
    assert not any("norm" in name or name.startswith("1.") for name in narrow)
    x = torch.randn(2, 3, 8)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(kept(x), layers(x), rtol=0, atol=2e-2)
