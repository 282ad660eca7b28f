"""Phrases as the tokens that the model reads."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertTokenizerFast

from groundingdino.detection.text_tokens import collate_phrases, span_weights, tokenize, tokenize_captions
from groundingdino.inputs.prompt import Prompt


def test_tokens_masks_and_positions_equal_the_published_ones(reference, tokenizer):
    for expected in json.loads(reference("prompts.json").read_text()):
        tokens = tokenize_captions([expected["caption"]], tokenizer)
        assert tokens.input_ids[0].tolist() == expected["input_ids"], expected["caption"]
        assert tokens.position_ids[0].tolist() == expected["position_ids"], expected["caption"]
        mask = ["".join("01"[allowed] for allowed in row) for row in tokens.attention_mask[0].int().tolist()]
        assert mask == expected["self_attention"], expected["caption"]


def test_a_padded_batch_equals_the_published_one(reference, tokenizer):
    expected = load_file(reference("mini/io.safetensors"))
    captions = json.loads(reference("mini/meta.json").read_text())["captions"]
    tokens = tokenize_captions(captions, tokenizer)
    torch.testing.assert_close(tokens.input_ids, expected["input.input_ids"])
    torch.testing.assert_close(tokens.token_mask, expected["input.attention_mask"].bool())
    torch.testing.assert_close(tokens.attention_mask, expected["expected.text_self_attention_mask"].bool())
    torch.testing.assert_close(tokens.position_ids, expected["expected.position_ids"])


def test_what_a_user_types_gives_the_tokens_of_the_published_caption(tokenizer):
    for text, caption in [
        ("CAT,dog", "cat . dog ."),
        ("a man on a horse\nfire hydrant", "a man on a horse . fire hydrant ."),
        ("Two dogs with a stick", "two dogs with a stick."),
        ("a cat and a pizza on the grass", "a cat and a pizza on the grass."),
        ("cat and pizza", "cat . pizza ."),
    ]:
        (passage,) = tokenize(Prompt.parse(text), tokenizer, 256).passages
        for ours, published in zip(passage.tokens, tokenize_captions([caption], tokenizer), strict=True):
            torch.testing.assert_close(ours, published)


def test_a_phrase_owns_its_word_tokens_and_no_delimiter(tokenizer):
    (passage,) = tokenize(Prompt.parse("fire hydrant . ant . 2.5 l"), tokenizer, 256).passages
    words = tokenizer.convert_ids_to_tokens(passage.tokens.input_ids[0])
    owned = [[words[token] for token in row.nonzero().flatten()] for row in passage.positive_map]
    assert owned == [["fire", "hydra", "##nt"], ["ant"], ["2", "5", "l"]]


def test_a_phrase_of_a_sentence_owns_all_pieces_of_its_words(tokenizer):
    prompt = Prompt.parse(
        "a fire hydrant and two over-long legs of the ants stand on a red hydrant near a fire hydrant"
    )
    (passage,) = tokenize(prompt, tokenizer, 256).passages
    words = tokenizer.convert_ids_to_tokens(passage.tokens.input_ids[0])

    def owned(positive_map):
        return [" ".join(words[token] for token in row.nonzero().flatten()) for row in positive_map]

    assert passage.phrases == (0, 1, 2)
    fire = "fire hydra ##nt"
    assert owned(passage.positive_map) == [f"{fire} {fire}", "two over - long legs of the ants", "red hydra ##nt"]
    assert owned(passage.noun_map) == ["hydra ##nt hydra ##nt", "legs ants", "hydra ##nt"]
    assert words[-2:] == [".", "[SEP]"]


def test_sentences_stand_beside_phrases(tokenizer):
    prompt = Prompt.parse("the cat sits on a mat. Dog. A cat watches the dog.")
    (passage,) = tokenize(prompt, tokenizer, 256).passages
    caption = tokenize_captions(["the cat sits on a mat . dog . a cat watches the dog ."], tokenizer)
    for ours, published in zip(passage.tokens, caption, strict=True):
        torch.testing.assert_close(ours, published)
    assert passage.phrases == (0, 1, 2, 0, 2)  # cat, mat, dog, cat, dog
    assert [row.nonzero().flatten().tolist() for row in passage.positive_map] == [[2], [6], [8], [11], [14]]
    assert passage.noun_map.any(1).tolist() == [True, True, False, True, True]


def test_of_a_list_each_phrase_is_read_once_and_keeps_its_number(tokenizer):
    prompt = Prompt.from_phrases(["", "Cat", "cat ", "and", "fire hydrant"])
    passages, notes = tokenize(prompt, tokenizer, 256)
    (passage,) = passages
    assert tokenizer.decode(passage.tokens.input_ids[0]) == "[CLS] cat. fire hydrant. [SEP]"
    assert passage.phrases == (1, 4)
    assert notes == ("Names nothing and is not looked for: “and”.",)


def test_spans_equal_the_published_positive_map(reference, tokenizer):
    for expected in json.loads(reference("token_spans.json").read_text())["token_spans"]:
        prompt = Prompt.from_spans(expected["caption"], expected["token_spans"])
        (passage,) = tokenize(prompt, tokenizer, 256).passages
        weights = span_weights(passage.positive_map)
        assert [row.nonzero().flatten().tolist() for row in weights] == expected["positive_map_nonzero"]
        for row, values in zip(weights, expected["positive_map_values"], strict=True):
            torch.testing.assert_close(row[row > 0], torch.tensor(values), atol=1e-6, rtol=0)


def test_a_long_prompt_is_packed_and_nothing_is_lost(tokenizer):
    phrases = tuple(f"fire hydrant {number}" for number in range(150))  # 4 to 5 tokens each, with the dot
    passages = tokenize(Prompt(phrases), tokenizer, 256).passages
    assert len(passages) == 3
    assert [index for passage in passages for index in passage.phrases] == list(range(150))
    for passage in passages:
        assert passage.tokens.input_ids.shape[1] <= 256
        assert passage.positive_map.shape == (len(passage.phrases), passage.tokens.input_ids.shape[1])
        for index, row in zip(passage.phrases, passage.positive_map, strict=True):
            assert tokenizer.decode(passage.tokens.input_ids[0, row]) == phrases[index]


def test_a_passage_is_filled_to_its_last_token(tokenizer):
    assert len(tokenize(Prompt.parse("cat . dog . ant"), tokenizer, 8).passages) == 1
    assert len(tokenize(Prompt.parse("cat . dog . ant"), tokenizer, 7).passages) == 2
    assert len(tokenize(Prompt(("cat " * 253,)), tokenizer, 256).passages) == 1


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(("ant", "cat " * 254)),
        Prompt.parse("cat is " * 127),
        Prompt.from_spans("cat " * 254, [[(0, 3)]]),
    ],
    ids=["phrase", "sentence", "caption"],
)
def test_a_phrase_longer_than_a_passage_is_refused(prompt, tokenizer):
    with pytest.raises(ValueError, match=r"“cat .*…” is 254 tokens long, but one phrase can have 253 at most"):
        tokenize(prompt, tokenizer, 256)


@pytest.mark.parametrize("text", ["кошка", "魑魅", "🐱", "cat 猫", "x" * 101])
def test_text_the_model_cannot_read_runs_with_a_note(text, tokenizer):
    passages, notes = tokenize(Prompt.parse(text), tokenizer, 256)
    assert len(passages) == 1
    (note,) = notes
    assert note.startswith("The model reads English only and cannot read “")


def test_a_note_stays_short(tokenizer):
    _, (note,) = tokenize(Prompt.parse("魑 魅 魍 魉 饕 餮"), tokenizer, 256)
    assert "“魑”, “魅”, “魍”, “魉” and 2 more" in note


@pytest.mark.parametrize("text", ["naïve café", "über-long", "C3-PO's no. 5", "cat!"])
def test_readable_text_has_no_note(text, tokenizer):
    assert tokenize(Prompt.parse(text), tokenizer, 256).notes == ()


def test_an_empty_prompt_has_no_passage(tokenizer):
    assert tokenize(Prompt.parse(" . "), tokenizer, 256) == ((), ())


@pytest.mark.parametrize("prompt", [Prompt.parse("cat [SEP] dog"), Prompt.from_spans("cat [SEP] dog", [[(0, 3)]])])
def test_a_typed_special_token_is_text(prompt, tokenizer):
    (passage,) = tokenize(prompt, tokenizer, 256).passages
    words = tokenizer.convert_ids_to_tokens(passage.tokens.input_ids[0])
    assert words == ["[CLS]", "cat", "[", "sep", "]", "dog", ".", "[SEP]"]
    assert passage.tokens.position_ids[0].tolist() == [0, 0, 1, 2, 3, 4, 5, 0]


def test_collate_phrases_maps_each_pictures_own_tokens(tokenizer):
    pictures = [["red cat", "dog"], ["electric guitar", "fire hydrant", "ant"], []]
    tokens, maps = collate_phrases(pictures, tokenizer, 256)
    assert tokens.input_ids.shape == (3, 11)
    assert tokens.token_mask.sum(1).tolist() == [7, 11, 2]
    for row, phrases, positive_map in zip(tokens.input_ids, pictures, maps, strict=True):
        assert positive_map.shape == (len(phrases), 11)
        assert [tokenizer.decode(row[words]) for words in positive_map] == phrases


def test_collate_phrases_refuses_what_does_not_fit(tokenizer):
    with pytest.raises(ValueError, match="9 tokens together, but at most 8 fit"):
        collate_phrases([["cat"], ["cat", "dog", "red ant"]], tokenizer, 8)


def test_tokens_move_between_devices(tokenizer):
    tokens = tokenize_captions(["cat ."], tokenizer).to("meta")
    assert {tensor.device.type for tensor in tokens} == {"meta"}


def test_a_vocabulary_without_a_question_mark_does_not_split_at_unknown_words():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "cat"]
    small = BertTokenizerFast(vocab={word: index for index, word in enumerate(words)})
    (passage,) = tokenize(Prompt(("cat zebra cat",)), small, 256).passages
    assert passage.tokens.position_ids[0].tolist() == [0, 0, 1, 2, 3, 0]
    assert passage.positive_map[0].tolist() == [False, True, True, True, False, False]


def test_a_vocabulary_without_a_dot_is_refused():
    small = BertTokenizerFast(vocab={word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])})
    with pytest.raises(ValueError, match="must hold"):
        tokenize(Prompt(("cat",)), small, 256)
