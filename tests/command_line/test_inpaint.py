import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundingdino.command_line.inpaint import show_steps
from groundingdino.command_line.main import main
from groundingdino.command_line.output import show_progress
from groundingdino.detection.detector import Detector
from groundingdino.editing import few_steps
from groundingdino.editing.inpainter import Inpainter
from groundingdino.editing.perform import EditProgress
from groundingdino.editing.recipe import read_recipe
from groundingdino.segmentation.segmenter import Segmenter
from tests.dauber import Dauber
from tests.oracle import Oracle
from tests.scissors import Scissors

SIZE = (320, 240)
CAT, OTHER_CAT = (10, 20, 110, 120), (200, 20, 300, 120)
TEAL = (0, 128, 128)


@pytest.fixture
def dauber(monkeypatch) -> Dauber:
    """The models that the command would load, replaced by some that need no weights."""
    dauber = Dauber()
    oracle = Oracle({SIZE: {"cat": [(0.9, CAT), (0.6, OTHER_CAT)]}})
    for kind, model in ((Detector, oracle), (Segmenter, Scissors()), (Inpainter, dauber)):
        monkeypatch.setattr(kind, "from_pretrained", lambda *_, model=model, **__: model)
    return dauber


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "cats.png"
    Image.new("RGB", SIZE, TEAL).save(path)
    return str(path)


@pytest.fixture
def inpaint(dauber, picture, tmp_path, capsys):  # noqa: ARG001  # puts the models in place
    """Runs the command; gives the record and the picture it wrote."""

    def run(*options: str, prompt: str = "cat") -> tuple[dict, Image.Image]:
        output = tmp_path / "out.png"
        assert main(["inpaint", picture, prompt, *options, "--output", str(output), "--json", "-"]) == 0
        return json.loads(capsys.readouterr().out), Image.open(output)

    return run


@pytest.mark.parametrize(
    ("options", "inside", "outside"),
    [
        (["--replace", "red", "--seed", "7"], (255, 0, 7), TEAL),
        (["--remove", "--seed", "0"], (128, 128, 0), TEAL),
        (["--background", "red", "--seed", "0"], TEAL, (255, 0, 0)),
        (["--color", "#010203"], TEAL, (1, 2, 3)),
        (["--transparent"], (*TEAL, 255), (0, 0, 0, 0)),
        (["--blur"], TEAL, TEAL),
        (["--pixelate"], TEAL, TEAL),
        (["--recolor", "red"], (255, 0, 0), TEAL),
        (["--blur-background"], TEAL, TEAL),
        (["--spotlight"], TEAL, (90, 90, 90)),
        (["--spotlight", "dark"], TEAL, (0, 45, 45)),
        (["--sticker"], (*TEAL, 255), (0, 0, 0, 0)),
    ],
)
def test_each_task_edits_what_it_says(inpaint, options, inside, outside):
    record, image = inpaint(*options)
    assert image.size == SIZE
    assert image.getpixel((60, 70)) == inside
    assert image.getpixel((150, 200)) == outside
    assert set(record) == {"width", "height", "model", "objects", "edit"}
    assert [found["phrase"] for found in record["objects"]] == ["cat", "cat"]
    assert record["edit"]["find"] == "cat"


def test_specks_beside_an_object_are_no_part_of_it(inpaint):
    Segmenter.from_pretrained().slips = True
    _, image = inpaint("--color", "white")
    assert image.getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize("way", ["fill", "opencv"])
def test_what_is_removed_without_a_model_is_continued_from_around_it(inpaint, picture, way):
    with Image.open(picture) as image:
        image.paste("white", (40, 50, 80, 90))  # a cat
        image.save(picture)
    _, image = inpaint("--remove", way)
    assert (np.asarray(image) == TEAL).all()


def test_a_picture_lies_behind(inpaint, tmp_path):
    Image.new("RGB", (9, 9), "red").save(tmp_path / "red.png")
    _, image = inpaint("--picture", str(tmp_path / "red.png"))
    assert image.getpixel((150, 200)) == (255, 0, 0)


def test_regions_are_painted_by_their_own_texts_whatever_is_found(inpaint, dauber):
    record, image = inpaint("--region", "0,0,50,50,red", "--region", "100,100,150,150,lime", prompt="")
    assert [text for text, _ in dauber.painted] == ["red", "lime"]
    assert image.getpixel((120, 120))[:2] == (0, 255)
    assert record["objects"] == []
    assert "find" not in record["edit"]


def test_regions_find_nothing_and_say_nothing_of_it(picture, dauber, tmp_path, capsys):  # noqa: ARG001
    output = str(tmp_path / "out.png")
    assert main(["inpaint", picture, "", "--region", "0,0,50,50,red", "--seed", "3", "--output", output]) == 0
    assert capsys.readouterr().out == "painted with --seed 3\n"


def test_a_picture_grows(inpaint, dauber):
    record, image = inpaint("--outpaint", "0,0,25%,10", "--text", "red", "--seed", "7", prompt="")
    assert (record["width"], record["height"], image.size) == (400, 250, (400, 250))
    assert [text for text, _ in dauber.painted] == ["red"]
    assert record["edit"]["margins"] == [0, 0, "25%", 10]
    assert "find" not in record["edit"]
    assert (image.getpixel((100, 100)), image.getpixel((390, 100))) == (TEAL, (255, 0, 7))


def test_few_steps_are_a_switch(inpaint, dauber):
    inpaint("--replace", "red", "--few-steps", "lcm-sd15", "--inpainter", "sd15")
    inpaint("--replace", "red", "--inpainter", "sd15")
    assert [sampling.few_steps for _, sampling in dauber.painted] == ["lcm-sd15", None]


def test_few_steps_that_fit_are_fetched_before_painting(inpaint, dauber, monkeypatch):
    fetched = []
    monkeypatch.setattr(few_steps, "fetch_few_steps", lambda name, *options: fetched.append((name, *options[1:])))
    dauber.few_steps = ("lcm-sd15",)
    inpaint("--replace", "red", "--few-steps", "lcm-sd15", "--inpainter", "sd15")
    assert fetched == [("lcm-sd15", False, show_progress)]
    inpaint("--replace", "red", "--few-steps", "hyper-sdxl", "--inpainter", "sd15")  # which a pipeline refuses
    assert len(fetched) == 1


def test_a_text_of_a_region_may_have_commas(inpaint, dauber):
    inpaint("--region", "0,0,50,50,rgb(255,0,0)", prompt="")
    assert dauber.painted[0][0] == "rgb(255,0,0)"


def test_masks_are_shaped_as_asked(inpaint, dauber):
    inpaint("--replace", "red", "--no-one-by-one")
    assert len(dauber.painted) == 1
    _, image = inpaint("--replace", "red", "--one-by-one", "--boxes", "--grow", "0", "--feather", "0", "--seed", "0")
    assert len(dauber.painted) == 3
    pixels = np.asarray(image)
    assert (pixels[20:120, 10:110] == (255, 0, 0)).all()
    assert (pixels[:20] == TEAL).all()
    _, image = inpaint("--replace", "red", "--boxes", "--grow", "5", "--feather", "0", "--seed", "0")
    assert image.getpixel((60, 16)) == (255, 0, 0)


def test_without_outlines_no_segmenter_is_loaded(inpaint):
    record, _ = inpaint("--replace", "red", "--boxes")
    assert record["model"] == "embedded + embedded"
    assert "mask" not in record["objects"][0]
    record, _ = inpaint("--replace", "red", "--no-boxes")
    assert record["model"] == "embedded + embedded + embedded"
    assert "mask" in record["objects"][0]


def test_what_is_pointed_at_is_edited_too(inpaint):
    record, image = inpaint("--color", "red", "--box", "150,150,200,200", prompt="")
    assert [found["phrase"] for found in record["objects"]] == ["object 1"]
    assert image.getpixel((175, 175)) == TEAL
    assert image.getpixel((60, 70)) == (255, 0, 0)


def test_settings_reach_the_model(inpaint, dauber):
    options = ["--steps", "9", "--guidance", "3.5", "--strength", "0.5", "--seed", "2", "--scheduler", "ddim"]
    inpaint("--replace", "red", *options, "--negative-prompt", "dog", "--inpainter", "sd15")
    sampling = dauber.painted[0][1]
    assert (sampling.steps, sampling.guidance, sampling.strength, sampling.seed) == (9, 3.5, 0.5, 2)
    assert (sampling.scheduler, sampling.negative_prompt) == ("ddim", "dog")


def test_each_candidate_has_a_file_with_its_own_seed(inpaint, tmp_path):
    record, _ = inpaint("--replace", "red", "--candidates", "3", "--seed", "5")
    recipes = [read_recipe(tmp_path / name) for name in ("out.png", "out-2.png", "out-3.png")]
    assert [recipe["seed"] for recipe in recipes] == record["edit"]["seeds"] == [5, 6, 7]
    assert Image.open(tmp_path / "out-3.png").getpixel((60, 70)) == (255, 0, 7)


def test_all_candidates_can_be_written_or_none_is_painted(dauber, picture, tmp_path, capsys):
    (tmp_path / "out-2.png").mkdir()
    options = ["--replace", "red", "--candidates", "2", "--output", str(tmp_path / "out.png")]
    assert main(["inpaint", picture, "cat", *options]) == 2
    assert "out-2.png' cannot be written" in capsys.readouterr().err
    assert dauber.painted == []


def test_a_segmenter_that_nothing_asks_for_is_refused(picture, capsys):
    options = ["--replace", "red", "--segmenter", "vit_b", "--output", "out.png"]
    assert main(["inpaint", picture, "cat", *options]) == 2
    assert capsys.readouterr().err == (
        "groundingdino: Painting whole boxes makes no use of --segmenter: run it without.\n"
    )


def test_where_nothing_is_found_the_picture_stays(dauber, picture, tmp_path, capsys):
    output = tmp_path / "out.png"
    assert main(["inpaint", picture, "dog", "--replace", "red", "--output", str(output), "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"width": 320, "height": 240, "model": "embedded", "objects": []}
    assert "nothing was found, so the picture stays as it is" in err
    assert Image.open(output).tobytes() == Image.open(picture).tobytes()
    assert dauber.painted == []


@pytest.mark.usefixtures("dauber")
def test_transparency_stays_but_where_something_is_painted(tmp_path):
    sticker, output = tmp_path / "sticker.png", tmp_path / "out.webp"
    Image.new("RGBA", SIZE, (*TEAL, 100)).save(sticker)
    assert main(["inpaint", str(sticker), "cat", "--replace", "red", "--output", str(output)]) == 0
    assert [Image.open(output).getpixel(place)[3] for place in ((60, 70), (150, 200))] == [255, 100]


@pytest.mark.usefixtures("dauber")
def test_a_table_tells_the_seeds(picture, tmp_path, capsys):
    output = ["--output", str(tmp_path / "out.png")]
    assert main(["inpaint", picture, "cat", "--replace", "red", "--candidates", "2", "--seed", "5", *output]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["painted with --seed 5", "painted with --seed 6"]


@pytest.mark.parametrize(
    ("prompt", "options", "sentence"),
    [
        ("", ["--replace", "red"], "Nothing is asked for: expected a prompt that names something, --point or --box."),
        ("cat", ["--replace", " "], "There is no text"),
        ("cat", ["--color", "blurple"], "'blurple' is no colour"),
        ("cat", ["--picture", "/no/such.png"], "There is no picture at '/no/such.png'"),
        ("cat", ["--replace", "red", "--steps", "0"], "steps from 1 to 150, got 0"),
        ("cat", ["--replace", "red", "--grow", "900"], "-512 to 512"),
        ("cat", ["--remove", "--box", "900,900,950,950"], "lies outside the picture"),
    ],
)
@pytest.mark.usefixtures("dauber")
def test_bad_input_is_one_line_and_status_2(picture, tmp_path, capsys, prompt, options, sentence):
    assert main(["inpaint", picture, prompt, *options, "--output", str(tmp_path / "out.png")]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "unread"),
    [
        ("--transparent --candidates 4 --steps 50 --seed 1", "--steps, --seed, --candidates"),
        ("--color red --inpainter sd15 --guidance 2 --strength 0.5", "--inpainter, --guidance, --strength"),
        ("--remove opencv --scheduler ddim --negative-prompt dog", "--negative-prompt, --scheduler"),
        ("--background beach --one-by-one", "--one-by-one"),
        ("--region 0,0,9,9,cat --point 1,1,1 --grow 20 --no-boxes", "--point, --grow, --no-boxes"),
        ("--region 0,0,9,9,cat --nms-threshold off --segmenter vit_b", "--nms-threshold, --segmenter"),
        ("--outpaint 25% --point 1,1,1 --grow 20 --one-by-one", "--point, --grow, --one-by-one"),
        ("--replace cat --text dog", "--text"),
        ("--transparent --few-steps lcm-sd15", "--few-steps"),
    ],
)
def test_an_option_that_the_task_does_not_read_is_refused(picture, capsys, monkeypatch, options, unread):
    for kind in (Detector, Segmenter, Inpainter):
        monkeypatch.setattr(kind, "from_pretrained", lambda *_, **__: pytest.fail("A model was loaded."))
    assert main(["inpaint", picture, "cat", *options.split(), "--output", "out.png"]) == 2
    assert capsys.readouterr().err == f"groundingdino: This edit makes no use of {unread}: run it without.\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--strength 0.5 --steps 9", "Stickers (offline) makes no use of --steps, --strength"),
        ("--inpainter gligen --strength 0.5", "GLIGEN inpainting makes no use of --strength"),
        ("--inpainter flux-fill --negative-prompt dog", "FLUX.1 Fill makes no use of --negative-prompt"),
    ],
)
def test_an_option_that_the_inpainter_ignores_is_refused(picture, capsys, monkeypatch, options, told):
    for kind in (Detector, Segmenter, Inpainter):
        monkeypatch.setattr(kind, "from_pretrained", lambda *_, **__: pytest.fail("A model was loaded."))
    assert main(["inpaint", picture, "cat", "--replace", "red", *options.split(), "--output", "out.png"]) == 2
    assert capsys.readouterr().err == f"groundingdino: {told}: run it without.\n"


def test_a_prompt_beside_regions_is_refused(picture, capsys, tmp_path):
    output = str(tmp_path / "out.png")
    assert main(["inpaint", picture, "cat", "--region", "0,0,50,50,red", "--output", output]) == 2
    assert "so 'cat' is not looked for: pass an empty prompt" in capsys.readouterr().err


def test_what_holds_anyway_may_be_said(inpaint):
    inpaint("--transparent", "--candidates", "1", "--strength", "1", "--inpainter", "embedded")


def test_without_a_file_to_write_nothing_is_loaded(picture, capsys, monkeypatch):
    for kind in (Detector, Segmenter, Inpainter):
        monkeypatch.setattr(kind, "from_pretrained", lambda *_, **__: pytest.fail("A model was loaded."))
    assert main(["inpaint", picture, "cat", "--replace", "red", "--json", "-"]) == 2
    sentence = "groundingdino: There is nowhere to put the picture: give --output, as in --output out.png.\n"
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize(("alpha", "task"), [("", ["--transparent"]), ("A", ["--replace", "red"])])
def test_a_file_without_transparency_is_refused_before_anything_runs(tmp_path, capsys, monkeypatch, alpha, task):
    for kind in (Detector, Segmenter, Inpainter):
        monkeypatch.setattr(kind, "from_pretrained", lambda *_, **__: pytest.fail("A model was loaded."))
    picture, output = tmp_path / "cats.png", tmp_path / "out.jpg"
    Image.new(f"RGB{alpha}", SIZE).save(picture)
    assert main(["inpaint", str(picture), "cat", *task, "--output", str(output)]) == 2
    assert f"'{output}' cannot be written: cannot write mode RGBA as JPEG" in capsys.readouterr().err


@pytest.mark.usefixtures("dauber")
def test_an_opaque_background_may_be_saved_without_transparency(tmp_path):
    sticker, output = tmp_path / "sticker.png", tmp_path / "out.jpg"
    Image.new("RGBA", SIZE, (*TEAL, 100)).save(sticker)
    assert main(["inpaint", str(sticker), "cat", "--color", "#010203", "--output", str(output)]) == 0
    assert Image.open(output).getpixel((150, 200)) == pytest.approx((1, 2, 3), abs=2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "one of the arguments --replace --remove --background"),
        (["--replace", "dog", "--remove"], "not allowed with argument"),
        (["--remove", "magic"], "invalid choice: 'magic'"),
        (["--region", "0,0,10,10"], "expected X0,Y0,X1,Y1,TEXT, not '0,0,10,10'"),
        (["--region", "5,5,1,1,cat"], "X0 < X1"),
        (["--outpaint", "1,2"], "Expected margins in pixels or per cent"),
        (["--outpaint", "300%"], "Expected a margin of 0 or more pixels, or of 0% to 100%"),
        (["--replace", "dog", "--steps", "many"], "invalid int value: 'many'"),
        (["--replace", "dog", "--scheduler", "nonsense"], "invalid choice: 'nonsense' (choose from 'ddim'"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(picture, capsys, options, sentence):
    with pytest.raises(SystemExit) as stop:
        main(["inpaint", picture, "cat", *options])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_steps_are_one_line_on_a_terminal_and_nothing_elsewhere(capsys, monkeypatch):
    show_steps(EditProgress(1, 2, 1, 1))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    show_steps(EditProgress(1, 2, 1, 1))
    show_steps(EditProgress(2, 2, 1, 1))
    assert capsys.readouterr().err == "\rpainting: step 1 of 2\rpainting: step 2 of 2\n"


def test_an_own_mask_takes_the_place_of_what_is_found(inpaint, tmp_path):
    mask = Image.new("L", SIZE)
    mask.paste(255, (200, 100, 240, 140))
    mask.save(tmp_path / "mask.png")
    record, image = inpaint("--recolor", "red", "--mask", str(tmp_path / "mask.png"), prompt="")
    assert image.getpixel((220, 120)) == (255, 0, 0)
    assert image.getpixel((190, 120)) == image.getpixel((60, 70)) == TEAL
    assert record["objects"] == []


def test_with_an_own_mask_nothing_is_looked_for(picture, dauber, tmp_path, capsys):  # noqa: ARG001
    Image.new("L", SIZE, 255).save(tmp_path / "mask.png")
    command = ["inpaint", picture, "", "--blur", "--mask", str(tmp_path / "mask.png"), "--point", "5,5,1"]
    assert main([*command, "--output", str(tmp_path / "out.png")]) == 2
    assert "This edit makes no use of --point: run it without." in capsys.readouterr().err
