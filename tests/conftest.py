"""Fixtures that several test files share."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from groundingdino.config import GroundingDINOConfig, SwinConfig, TextConfig

ROOT = Path(__file__).resolve().parent.parent
BERT_VOCABULARY = ROOT / "assets" / "models" / "bert-base-uncased" / "vocab.txt"


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of expected outputs of the authors' implementation; it is no part of the product."""
    folder = ROOT.parent / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip("reference data is not beside this checkout (expected ../shared/reference)")
    return folder


@pytest.fixture(scope="session")
def seeded_state_dict(reference) -> Callable[[str, int], dict[str, Tensor]]:
    """(name of a manifest, seed) -> weights in the authors' layout, the same on every machine."""
    spec = importlib.util.spec_from_file_location("seeded_weights", reference / "seeded_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda name, seed: module.seeded_state_dict(reference / f"{name}_keys.json", seed)


@pytest.fixture(scope="session")
def mini_config() -> GroundingDINOConfig:
    """The architecture of the reference folder's `mini`: everything there is, small."""
    return GroundingDINOConfig(
        backbone=SwinConfig(embed_dim=24, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window_size=7),
        text=TextConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128),
        ffn_dim=256,
        enhancer_layers=2,
        decoder_layers=2,
        num_queries=60,
    )


@pytest.fixture(scope="session")
def tokenizer():
    """BERT's tokenizer from the vocabulary that ships with the package."""
    from transformers import BertTokenizerFast

    return BertTokenizerFast(vocab=str(BERT_VOCABULARY))
