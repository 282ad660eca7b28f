import io
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import groundingdino
from groundingdino.editing.edits import Edit, MaskSettings, Sampling
from groundingdino.editing.margins import Margins
from groundingdino.editing.recipe import png_with_recipe, read_recipe, recipe_json, recipe_of, search_of
from groundingdino.editing.tasks import (
    ColorBackground,
    Outpaint,
    Region,
    Regions,
    Remove,
    Replace,
    TransparentBackground,
)

SIZE = (960, 640)
PICTURE = Image.new("RGBA", (4, 4), (1, 2, 3, 4))


def test_a_recipe_says_what_was_asked_and_what_was_used():
    edit = Edit(Replace("dög"), MaskSettings(4, None, True), (), Sampling(seed=7, negative_prompt="cat", strength=0.5))
    assert recipe_of(edit, SIZE, "sd15", [7, 8], {"steps": 30}) == {
        "mode": "replace",
        "inpainter": "sd15",
        "text": "dög",
        "mask": {"feather": 5, "grow": 4, "boxes": False, "strokes": 0, "one_by_one": True},
        "seeds": [7, 8],
        "negative_prompt": "cat",
        "strength": 0.5,
        "steps": 30,
    }


@pytest.mark.parametrize(
    ("task", "part"),
    [
        (Remove("fill"), {"mode": "remove", "by": "fill"}),
        (ColorBackground("red"), {"mode": "color", "color": "red"}),
        (TransparentBackground(), {"mode": "transparent"}),
        (Outpaint(Margins.parse("5%")), {"mode": "outpaint", "margins": ["5%"] * 4, "mask": {"feather": 5}}),
        (Regions((Region((0, 0, 5, 5), "cat"),)), {"mode": "regions", "regions": [[0, 0, 5, 5, "cat"]]}),
    ],
)
def test_each_task_has_its_own_part_and_none_of_the_sampling_without_a_model(task, part):
    recipe = recipe_of(Edit(task), SIZE, None, [], {})
    assert part.items() <= recipe.items()
    assert recipe["inpainter"] is None
    assert "seeds" not in recipe
    assert "strength" not in recipe


def test_how_objects_were_found_joins_it():
    assert search_of("cat", ["swin-t", "vit_b"], {"box_threshold": 0.3}) == {
        "find": "cat",
        "found_by": ["swin-t", "vit_b"],
        "box_threshold": 0.3,
    }


def test_a_recipe_travels_in_the_png_file(tmp_path):
    recipe = {"text": "dög 🐕", "seed": 7, "regions": [[1.5, 2, 3, 4, "x"]]}
    data = png_with_recipe(PICTURE, recipe)
    (tmp_path / "edit.png").write_bytes(data)
    assert read_recipe(data) == read_recipe(tmp_path / "edit.png") == recipe
    with Image.open(io.BytesIO(data)) as image:
        assert (image.mode, image.getpixel((0, 0))) == ("RGBA", (1, 2, 3, 4))
    assert json.loads(recipe_json(recipe)) == recipe


def test_a_picture_without_a_recipe_says_so():
    buffer = io.BytesIO()
    PICTURE.save(buffer, "PNG")
    with pytest.raises(ValueError, match="holds no recipe"):
        read_recipe(buffer.getvalue())


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_what_another_program_wrote_under_that_name_is_no_recipe(text):
    image, buffer, chunks = PICTURE.copy(), io.BytesIO(), PngInfo()
    chunks.add_itxt("groundingdino", text)
    image.save(buffer, "PNG", pnginfo=chunks)
    with pytest.raises(ValueError, match="holds no recipe"):
        read_recipe(buffer.getvalue())


def test_everybody_may_read_recipes():
    assert groundingdino.read_recipe is read_recipe


@pytest.mark.parametrize("source", [b"no picture", "/no/such.png"])
def test_what_is_no_picture_has_no_recipe_either(source):
    with pytest.raises(ValueError, match=r"The picture is not an image|There is no picture at"):
        read_recipe(source)
