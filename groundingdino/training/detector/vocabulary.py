"""The word list of the embedded model: BERT's special tokens, characters, and whole words of training's prompts.

    python -m groundingdino.training.detector.vocabulary          # writes assets/models/detector/vocab.txt

A list that is there already is only added to, so that weights trained with it stay valid; without it, one is made anew.
Every word a training prompt can hold is one token. Other words fall into endings and letters, so that no text in ASCII
becomes [UNK].
"""

import argparse
import re
import string
from collections.abc import Sequence
from pathlib import Path

from groundingdino.artwork.names import COLOURS, load_names, plural
from groundingdino.files.assets import ASSETS
from groundingdino.training.detector.mixture import read_settings, texts
from groundingdino.training.scenes.captions import ARTICLES, SPELLINGS

SIZE = 2304  # the vocabulary of `model.config.PHOTOGRAPHIC`
PATH = ASSETS / "models" / "detector" / "vocab.txt"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ENDINGS = ("##s", "##es", "##ed", "##er", "##ing", "##ly", "##y")


def build(known: Sequence[str] = ()) -> list[str]:
    """The tokens in the order of their ids.

    Args:
        known: the tokens of a model that exists. They keep their ids; words it lacks come after them.

    Raises:
        ValueError: the words do not fit in `SIZE` tokens.
    """
    phrases = [word for name in load_names() for word in sorted(name.words)]
    photographed = texts(read_settings())
    words_of = [*COLOURS, *SPELLINGS.values(), *ARTICLES, *phrases, *photographed]
    said = [*words_of, *map(plural, [*phrases, *photographed])]
    words = sorted({word for text in said for word in re.findall(r"[a-z0-9]+", _plain(text))})
    letters = [*string.ascii_lowercase, *string.digits]
    characters = [*string.punctuation, *letters, *("##" + letter for letter in letters)]
    tokens = list(dict.fromkeys([*known, *SPECIAL_TOKENS, *characters, *ENDINGS, *words]))
    if len(tokens) > SIZE:
        raise ValueError(f"The vocabulary should have at most {SIZE} tokens, but the names need {len(tokens)}.")
    return tokens


def _plain(text: str) -> str:
    """Lower case without accents, as BERT's uncased tokenizer reads it."""
    return text.lower().replace("ñ", "n")


def main() -> None:
    """Command line, see the top of the file."""
    parser = argparse.ArgumentParser(
        prog="python -m groundingdino.training.detector.vocabulary",
        description="Write the word list of the embedded model.",
    )
    parser.add_argument("--output", type=Path, default=PATH, help="default: %(default)s")
    path = parser.parse_args().output
    tokens = build(path.read_text(encoding="utf-8").split() if path.is_file() else ())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    print(f"{path}: {len(tokens)} tokens")


if __name__ == "__main__":
    main()
