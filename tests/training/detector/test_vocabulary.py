import string
import sys

import pytest
from transformers import BertTokenizerFast

from groundingdino.artwork.names import COLOURS, load_names, plural
from groundingdino.model.config import PHOTOGRAPHIC
from groundingdino.training.detector import vocabulary
from groundingdino.training.detector.vocabulary import PATH, SIZE, build


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizerFast(vocab=str(PATH))


def test_it_fits_the_embedded_model(tokenizer):
    assert len(tokenizer) <= SIZE == PHOTOGRAPHIC.text.vocab_size
    assert tokenizer.convert_ids_to_tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_the_next_training_keeps_the_shipped_list_and_adds_what_photographs_show():
    shipped = PATH.read_text(encoding="utf-8").split()
    longer = build(shipped)
    assert longer[: len(shipped)] == shipped
    assert {"bench", "sink", "refrigerator"} <= set(longer[len(shipped) :])
    assert build(longer) == longer


def test_known_tokens_keep_their_ids():
    known = build()[:100]
    assert build([*known, "zeppelin"])[:101] == [*known, "zeppelin"]


def test_names_are_whole_words(tokenizer):
    for name in load_names():
        for word in (*name.words, plural(name.name)):
            tokens = tokenizer.tokenize(word)
            assert not any(token.startswith("##") for token in tokens), word
            assert "[UNK]" not in tokens
    assert all(tokenizer.tokenize(colour) == [colour] for colour in (*COLOURS, "grey"))


@pytest.mark.parametrize("text", ["Xylophone!", string.printable, "a.b,c;d?e", "piñata", "don't", "r2d2 zzz"])
def test_no_ascii_text_is_unknown(tokenizer, text):
    assert "[UNK]" not in tokenizer.tokenize(text)


def test_too_many_words_are_refused(monkeypatch):
    monkeypatch.setattr(vocabulary, "SIZE", 500)
    with pytest.raises(ValueError, match="at most 500 tokens"):
        build()


def test_the_command_writes_the_list(tmp_path, monkeypatch):
    path = tmp_path / "new" / "vocab.txt"
    monkeypatch.setattr(sys, "argv", ["vocabulary", "--output", str(path)])
    vocabulary.main()
    assert path.read_text(encoding="utf-8").split() == build()
