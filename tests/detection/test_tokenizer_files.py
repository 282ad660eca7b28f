import json

import pytest
from tokenizers import AddedToken
from transformers import BertTokenizerFast

from groundingdino.detection.tokenizer_files import load_tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "cat", "Cat", "cafe", "café", "fork", "##lift"]


@pytest.fixture
def folder(tmp_path):
    """One with a vocabulary alone."""
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    return tmp_path


def write(file, **values):
    old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(old | values), encoding="utf-8")


def pieces(folder, text: str) -> list[str]:
    return load_tokenizer(folder, 99).tokenize(text)


def save(folder, *added: str | AddedToken, **options) -> None:
    """As transformers saves a tokenizer now: `tokenizer.json` and its options."""
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), **options)
    tokenizer.add_tokens(list(added))
    tokenizer.save_pretrained(folder)


def test_a_vocabulary_alone_is_read_as_berts(folder):
    assert pieces(folder, "Cat café forklift") == ["cat", "cafe", "fork", "##lift"]


def test_without_files_it_is_berts_own(tmp_path):
    assert len(load_tokenizer(tmp_path, 30522)) == 30522


def test_a_whole_tokenizer_counts_more_than_a_vocabulary_beside_it(folder):
    save(folder, "forklift")
    assert (folder / "vocab.txt").exists()
    tokenizer = load_tokenizer(folder, 99)
    assert tokenizer.tokenize("a Forklift .") == ["[UNK]", "forklift", "."]
    assert tokenizer("forklift .").input_ids == [2, len(WORDS), 5, 3]


def test_added_tokens_beside_a_vocabulary_count(folder):
    write(folder / "added_tokens.json", forklift=len(WORDS))
    assert pieces(folder, "cat forklift") == ["cat", "forklift"]


def test_added_tokens_among_the_options_count(folder):
    token = {"content": "forklift", "lstrip": False, "rstrip": False, "normalized": True, "single_word": False}
    write(folder / "tokenizer_config.json", added_tokens_decoder={len(WORDS): {**token, "special": False}})
    assert pieces(folder, "cat forklift") == ["cat", "forklift"]


@pytest.mark.parametrize("saved", [True, False])
def test_capitals_and_accents_stay_where_the_options_say_so(saved, folder):
    if saved:
        save(folder, do_lower_case=False)
    write(folder / "tokenizer_config.json", do_lower_case=False)
    assert pieces(folder, "Cat cat café") == ["Cat", "cat", "café"]


def test_options_that_were_set_later_count(folder):
    save(folder)
    write(folder / "tokenizer_config.json", do_lower_case=False)
    assert pieces(folder, "Cat cat café") == ["Cat", "cat", "café"]


def test_accents_may_stay_alone(folder):
    save(folder, strip_accents=False)
    assert pieces(folder, "Cat Café") == ["cat", "café"]


def change(part, **values):
    def apply(folder):
        save(folder)
        content = json.loads((folder / "tokenizer.json").read_text())
        write(folder / "tokenizer.json", **{part: {**content[part], **values}})
        options = json.loads((folder / "tokenizer_config.json").read_text())
        kept = {name: value for name, value in options.items() if "case" not in name and "accents" not in name}
        (folder / "tokenizer_config.json").write_text(json.dumps(kept))

    return apply


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (change("normalizer", lowercase=False), r"sets lowercase of its normalizer to false, where .* has true"),
        (change("normalizer", strip_accents=False), r"sets strip_accents of its normalizer to false"),
        (change("pre_tokenizer", type="Whitespace"), r"sets type of its pre_tokenizer to \"Whitespace\""),
        (change("model", max_input_chars_per_word=5), r"sets max_input_chars_per_word of its model to 5"),
        (
            lambda folder: write(folder / "tokenizer_config.json", tokenizer_class="RobertaTokenizer"),
            r"tokenizer_config.json' sets tokenizer_class to 'RobertaTokenizer': only BERT's",
        ),
        (lambda folder: write(folder / "special_tokens_map.json", cls_token="cat"), r"sets cls_token to 'cat': only"),
        (lambda folder: save(folder, AddedToken("Forklift", normalized=False)), r"adds 'Forklift', which no prompt"),
        (lambda folder: save(folder, AddedToken("<thing>", special=True)), r"adds '<thing>', which no prompt can"),
        (lambda folder: save(folder, "BMW", do_lower_case=False), r"adds 'BMW', which no prompt can reach"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), r"The tokenizer in .* cannot be read \("),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), r"The tokenizer in .* cannot be read \("),
        (lambda folder: (folder / "tokenizer_config.json").write_text("[]"), r"'.*' does not describe a tokenizer"),
        (
            lambda folder: (folder / "tokenizer_config.json").write_text("{"),
            r"tokenizer_config.json' cannot be read \(",
        ),
        (lambda folder: save(folder, *map(str, range(1000, 1099))), r"has 111 tokens but the model only 99: put the"),
    ],
)
def test_what_we_cannot_follow_is_refused_by_name(damage, sentence, folder):
    damage(folder)
    with pytest.raises(ValueError, match=sentence) as refusal:
        load_tokenizer(folder, 99)
    assert "\n" not in str(refusal.value)


def test_how_long_a_text_was_cut_when_it_was_saved_does_not_matter(folder):
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
    tokenizer("cat", truncation=True, max_length=3, padding="max_length")
    tokenizer.save_pretrained(folder)
    assert json.loads((folder / "tokenizer.json").read_text())["truncation"]["max_length"] == 3
    assert load_tokenizer(folder, 99)(["cat cat cat cat cat"]).input_ids == [[2, 6, 6, 6, 6, 6, 3]]
