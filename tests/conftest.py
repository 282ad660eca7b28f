"""Fixtures that several test files share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of expected outputs of the authors' implementation; it is no part of the product."""
    folder = ROOT.parent / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip("reference data is not beside this checkout (expected ../shared/reference)")
    return folder


@pytest.fixture(scope="session")
def tokenizer():
    """BERT's tokenizer from the vocabulary that ships with the package."""
    from transformers import BertTokenizerFast

    return BertTokenizerFast(vocab=str(ROOT / "assets" / "models" / "bert-base-uncased" / "vocab.txt"))
