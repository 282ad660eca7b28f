from dataclasses import replace

import pytest
import torch

from groundingdino.config import EMBEDDED, SWIN_T
from groundingdino.precision import fastest_dtype, multiplies_bfloat16


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


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_on_a_gpu(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native)
    assert fastest_dtype(torch.device("cuda"), EMBEDDED) == expected


def test_on_anything_else():
    assert fastest_dtype(torch.device("mps"), SWIN_T) == torch.float32


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx512_f": True}, False), ({}, False)],
)
def test_whether_a_cpu_multiplies_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert multiplies_bfloat16(torch.device("cpu")) == expected
