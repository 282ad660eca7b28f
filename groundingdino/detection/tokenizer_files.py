"""The tokenizer of a model's folder: what its files say, or a refusal that names what we cannot follow.

They are read as transformers does: `tokenizer.json` before `vocab.txt`, added tokens with either, and
`tokenizer_config.json` for what holds of both, such as `do_lower_case`.
"""

import json
from pathlib import Path
from typing import Any

from transformers import BertTokenizerFast

from groundingdino.files.assets import MODEL_ASSETS
from groundingdino.files.downloads import first_line

BERT_VOCABULARY = MODEL_ASSETS / "bert-base-uncased" / "vocab.txt"
_CLASSES = ("BertTokenizer", "BertTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend")
# Options and what `tokenizer.json` calls them.
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
# What a passage begins and ends with; phrases are told apart by these names, see `batch_tokens`.
_FIXED = {"cls_token": "[CLS]", "sep_token": "[SEP]"}


def load_tokenizer(folder: Path, vocab_size: int) -> BertTokenizerFast:
    """The tokenizer beside a model's weights, or BERT's own where none is; it never needs the network.

    Args:
        vocab_size: How many tokens the model knows.

    Raises:
        ValueError: The files cannot be read, contradict each other, describe another kind of tokenizer, hold more
            tokens than the model knows, or add some that no prompt reaches.
    """
    backend, options = folder / "tokenizer.json", folder / "tokenizer_config.json"
    if not backend.is_file() and not (folder / "vocab.txt").is_file():
        tokenizer = BertTokenizerFast(vocab=str(BERT_VOCABULARY))
    else:
        kind = _read(options).get("tokenizer_class") or _CLASSES[0]
        if kind not in _CLASSES:
            raise ValueError(f"'{options}' sets tokenizer_class to '{kind}': only BERT's tokenizer is supported.")
        try:
            tokenizer = BertTokenizerFast.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # whatever damaged files provoke
            raise ValueError(f"The tokenizer in '{folder}' cannot be read ({first_line(error)}).") from error
        _check_agreement(tokenizer, backend, options)
    if len(tokenizer) > vocab_size:
        raise ValueError(
            f"The tokenizer in '{folder}' has {len(tokenizer)} tokens but the model only {vocab_size}: put the "
            "model's own vocab.txt or tokenizer.json beside its weights."
        )
    for name, token in _FIXED.items():
        if getattr(tokenizer, name) != token:
            raise ValueError(
                f"The tokenizer in '{folder}' sets {name} to '{getattr(tokenizer, name)}': only {token} is supported."
            )
    _check_added(tokenizer, folder)
    return tokenizer


def _read(file: Path) -> dict[str, Any]:
    """A JSON file of a tokenizer; nothing where there is none."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"'{file}' cannot be read ({first_line(error)}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"'{file}' does not describe a tokenizer.")
    return content


def _check_agreement(tokenizer: BertTokenizerFast, backend: Path, options: Path) -> None:
    """Check that text is cut up as `tokenizer.json` says, which transformers passes over for BERT's class."""
    said, done = _read(backend), json.loads(tokenizer.backend_tokenizer.to_str())
    for part in ("normalizer", "pre_tokenizer", "model"):
        written, used = ({**(file.get(part) or {}), "vocab": None} for file in (said, done))
        if part == "normalizer":  # what the options say, which may have been set after the file was written, counts
            written |= {_NORMALIZER[name]: value for name, value in _read(options).items() if name in _NORMALIZER}
        for name in written.keys() & used.keys() if part in said else ():
            if written[name] != used[name]:
                raise ValueError(
                    f"'{backend}' sets {name} of its {part} to {json.dumps(written[name])}, where BERT's tokenizer "
                    f"with the options of '{options.name}' has {json.dumps(used[name])}: make the two agree."
                )


def _check_added(tokenizer: BertTokenizerFast, folder: Path) -> None:
    """Check that prompts reach the added tokens: they are read in lower case, and typed special tokens as text."""
    usual = {tokenizer.cls_token, tokenizer.sep_token, tokenizer.pad_token, tokenizer.unk_token, tokenizer.mask_token}
    for number, token in tokenizer.added_tokens_decoder.items():
        if token.content in usual:
            continue
        read = tokenizer(token.content.lower(), add_special_tokens=False, split_special_tokens=True).input_ids
        if number not in read:
            raise ValueError(
                f"The tokenizer in '{folder}' adds '{token.content}', which no prompt can reach: prompts are read in "
                "lower case, and special tokens in them as text."
            )
