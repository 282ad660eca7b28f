import json

import numpy as np
import pytest
from PIL import Image

from groundingdino.artwork.drawings import MAIN_STYLE, Artwork
from groundingdino.artwork.names import COLOURS, load_names
from groundingdino.training.scenes.examples import EXAMPLES, FOLDER, PHOTOGRAPHED, draw


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.file)
def test_everything_in_the_picture_is_seen_and_the_prompt_names_some_of_it(example):
    canvas = draw(example, Artwork((MAIN_STYLE,), 96))
    boxes = canvas.boxes()
    assert len(boxes) == len(example.items)
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.max(1).min() >= 0.09 * min(example.size) * 0.7
    names = {name.name: name for name in load_names()}
    shown = {word for item in example.items for word in names[item.name].words}
    for phrase in example.prompt.split(" . "):
        first, _, rest = phrase.partition(" ")
        assert (rest if first in COLOURS else phrase) in shown


def test_what_is_shipped_is_what_is_drawn():
    record = json.loads((FOLDER / "examples.json").read_text(encoding="utf-8"))
    prompts = {example.file: example.prompt for example in EXAMPLES} | PHOTOGRAPHED
    assert record == [{"file": file, "prompt": prompt} for file, prompt in prompts.items()]
    assert {path.name for path in FOLDER.glob("*.webp")} == prompts.keys()
    shapes = set()
    for example in EXAMPLES:
        path = FOLDER / example.file
        picture = Image.open(path).convert("RGB")
        assert picture.size == example.size
        assert path.stat().st_size < 120_000
        shapes.add(np.sign(picture.width - picture.height))
    assert shapes == {-1, 0, 1}


def test_an_example_for_the_first_minute():
    things = [{item.name for item in example.items} for example in EXAMPLES]
    assert any({"cat", "pizza"} <= some for some in things)


def test_drawing_is_repeatable():
    artwork = Artwork((MAIN_STYLE,), 96)
    assert np.array_equal(draw(EXAMPLES[4], artwork).pixels, draw(EXAMPLES[4], artwork).pixels)
