"""Every word of the page is there in English and in Chinese."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import gradio
import gradio as gr

from app import build
from groundingdino.detection.available_models import MODELS
from groundingdino.editing.available_models import INPAINTERS
from groundingdino.page.language import LANGUAGE, catalogue, head, languages
from groundingdino.page.layout import PAGE_FILES
from groundingdino.page.studio import Studio
from groundingdino.segmentation.available_models import SEGMENTERS
from tests.sentences import is_sentence, of_html, of_python, of_script

PACKAGE = Path(__file__).parents[2] / "groundingdino"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(file for file in PAGE_FILES.glob("*.js") if file.stem != "review")
# What programs, agents and hosts read is English.
OTHERS: tuple[str, ...] = (
    "calls",
    "endpoints",
    "fetching",
    "mcp_answers",
    "opening",
    "operation",
    "publishing",
    "request_log",
    "settings",
)
OTHERS = (*OTHERS, "review_page")  # which one starts for oneself, from the command line
PAGE = sorted(file for file in (PACKAGE / "page").glob("*.py") if file.stem not in OTHERS)
# Modules beyond the page whose errors, notes and cards its visitors read.
ROOMS = [
    PACKAGE / f"{name}.py"
    for name in (
        *("artwork/reading", "detection/available_models", "detection/examples", "detection/text_tokens"),
        "detection/tiles",
        *("editing/available_models", "editing/backgrounds", "editing/crops", "editing/edits", "editing/few_steps"),
        *("editing/filling", "editing/inpainter", "editing/lama", "editing/margins", "editing/mask", "editing/modes"),
        *(
            "editing/out_of_memory",
            "editing/perform",
            "editing/schedulers",
            "editing/stickers",
            "editing/tasks",
            "files/downloads",
            "files/hub",
        ),
        *("inputs/image_files", "inputs/prompt", "segmentation/available_models", "segmentation/object_ids"),
        *(
            "tracking/available_trackers",
            "tracking/corrections",
            "tracking/edits",
            "tracking/exports",
            "tracking/video",
        ),
    )
]
# Sentences in these modules that no visitor of the page reads, by their beginnings.
UNSEEN = (
    *("Connection closed by visitor", "ZeroGPU ", "Try again (in "),  # by which another program's errors are known
    "There is no video at",  # likewise of ours, whose whole is translated
    *("The caption", "The prompt", "Phrase {0}", "A box has x0 < x1", "Self ", "MaskPrompt "),  # parts, and types
    *("The limit of {0}", "There is no model {0}; offer", "{0} and its controls"),  # to hosts
    "{0} is not on this machine and downloads",
    "Tracked by Grounding DINO",  # in a file
    # Of arguments that only programs pass.
    *("A span ", "Spans ", "There are more than {0} spans", "Each phrase needs", "Name {0} of {1}", "The vocabulary"),
    *(
        "The phrases of one picture",
        "There is no model {0}: expected",
        "There is no inpainter",
        "There is no segmenter",
        "There is no tracker",
    ),
    *("There is no mode", "'{0}' {1}: expected a pipeline", "Objects are ", "All else becomes", "The file is open for"),
    *(
        "Expected a list",
        "Expected a task",
        *("Expected corrections as", "An object has", "The mask of"),
        "Expected regions as",
        "Expected a picture",
        "Expected a file",
        "It is true",
    ),
    *("From the hub.", "Your own weights.", "LCM: 4 to 8 steps, for"),
    # Names.
    *("CreativeML Open", "MM Grounding DINO", "Grounding DINO Swin-", "SAM ", "Segment Anything ViT-"),
)
NAMES = ("COCO", "Florence-2", "Grounding DINO", "JSON", "MOT", "MP4", "YOLO", "YouTube-VIS")
WORDS = catalogue()


@cache
def built() -> gr.Blocks:
    return build(Studio.open("cpu", local_files_only=True))


def texts_of_components() -> set[str]:
    """What the components of the page show when it is opened, and what models are said to be for."""
    config, texts = built().config, set[str]()

    def visit(node: Any) -> None:
        block = built().blocks.get(node["id"])
        if getattr(block, "visible", True) is False or type(block).__name__ == "Api":  # those of the endpoints
            return
        texts.update(text for name in ("label", "info", "placeholder") if (text := getattr(block, name, None)))
        texts.update(entry for entry, _ in getattr(block, "choices", None) or ())
        if isinstance(block, gr.Button | gr.HTML) and isinstance(block.value, str):
            texts.update(of_html(block.value))
        for child in node.get("children") or ():
            visit(child)

    visit(config["layout"])
    for cards in (MODELS, SEGMENTERS, INPAINTERS):
        for card in cards.values():
            texts |= {" and ".join(card.knows), " and ".join(card.knows).capitalize()}
    parts = {part for text in texts for part in text.split(" · ")}
    # Sizes, and a sentence that is filled in.
    return {part for part in parts if not re.fullmatch(r"(↓ )?[\d.]+ [MG]B|Up to 120 seconds.*", part)}


@cache
def texts() -> tuple[frozenset[str], frozenset[str]]:
    """All that the page has to say, and all that the program's source and Gradio's scripts say."""
    html = of_html((PAGE_FILES / "result.html").read_text(encoding="utf-8"))
    components = texts_of_components()
    titles = {card.title.partition(" (")[0] for cards in (MODELS, SEGMENTERS, INPAINTERS) for card in cards.values()}
    sources = [of_python(file) for file in (*PAGE, *ROOMS)] + [of_script(file) for file in SCRIPTS]
    sentences = {text for source in sources for text in source if is_sentence(text) and not text.startswith(UNSEEN)}
    names = {*NAMES, *(title for title in titles if title not in WORDS)}
    said = (components | html | sentences) - names
    everything = set().union(components, html, titles, *sources, *map(of_python, SOURCES))
    return frozenset(said), frozenset(everything)


def test_no_sentence_is_there_in_english_alone():
    assert sorted(texts()[0] - WORDS.keys()) == []


def test_no_translation_is_of_what_nobody_says():
    gradio_says = [
        file.read_text(encoding="utf-8", errors="ignore")
        for file in (Path(gradio.__file__).parent / "templates" / "frontend" / "assets").glob("*.js")
    ]
    unsaid = [
        english
        for english in sorted(WORDS.keys() - texts()[1])
        if not any(english.replace("{0}", "") in said for said in gradio_says)
    ]
    assert unsaid == []


def test_an_untranslated_sentence_is_noticed():
    """The two tests above see a new one, and one that went, wherever they are."""
    said, everything = texts()
    for text in (
        "Something went wrong on the server; its log says what.",  # a constant
        "{0} is on its way …",  # an f-string
        "Say in the table what '{0}' becomes, or what to put there in all regions.",  # an error
        "Nothing is selected: name what to edit, tick it, or draw over it with the brush.",  # of another room
        "It was painted at {0} pixels and enlarged: for finer detail, edit a smaller part or one object after the "
        "other, or choose a model that works at more pixels.",  # a note
        "Separate several things by dots, commas or “and”.",  # a component's
        "Photographs",  # part of an entry of a list
        "Eraser: paint over what is left as it is (E)",  # a tooltip in HTML
        "Show the frame where {0} {1} begins",  # a script's
    ):
        assert text in said
    assert "No such sentence." not in everything


def test_fields_are_the_same_in_both():
    def fields(text: str) -> list[str]:
        return sorted(field.replace("!t}", "}") for field in re.findall(r"\{[^{}]*\}", text))

    assert [english for english, chinese in WORDS.items() if fields(english) != fields(chinese)] == []
    assert sum("{" in english for english in WORDS) > 150


def test_chinese_is_chinese():
    assert [english for english, chinese in WORDS.items() if not re.search("[\u4e00-\u9fff（：]", chinese)] == []  # noqa: RUF001
    # Its own punctuation, and none at the end where the English has none.
    assert [
        text for text in WORDS.values() if re.search("[\u4e00-\u9fff][,;:?!]|[\u4e00-\u9fff]\\.(?!\\.)", text)
    ] == []
    ends = {".": "。", "…": "…", "?": "？"}  # noqa: RUF001
    wrong = [
        english
        for english, chinese in WORDS.items()
        if (english[-1] in ends) != (chinese[-1] in ends.values()) and english[-1] != chinese[-1]
    ]
    assert wrong == []


def test_gradio_takes_no_sentence_for_a_name_of_its_own():
    """It looks names of its own words up in the same dictionary, such as "common"."""
    assert [english for english in WORDS if re.fullmatch("[a-z_]+(\\.[a-z_]+)*", english) and english in GRADIOS] == []


GRADIOS = (
    *("annotated_image", "audio", "blocks", "chatbot", "checkbox", "code", "color_picker", "common", "dataframe"),
    *("dropdown", "errors", "file", "highlighted_text", "image", "label", "login", "number", "plot", "radio"),
    *("slider", "upload_text", "lang", "dataset", "gallery", "html", "json", "model3d", "video"),
)


def test_gradio_has_the_catalogue_and_the_lists_as_a_whole():
    translations = languages(built()).translations_dict
    assert {*translations} == {"en", LANGUAGE}
    chinese = translations[LANGUAGE]
    assert WORDS.items() <= chinese.items()
    assert chinese["Drawings · Embedded · 11 MB"] == "图画 · 内置 · 11 MB"
    assert chinese["Photographs · Grounding DINO Swin-T · ↓ 694 MB"] == "照片 · Grounding DINO Swin-T · ↓ 694 MB"
    assert chinese["Photographs · Grounding DINO Swin-T · 694 MB"] == "照片 · Grounding DINO Swin-T · 694 MB"
    assert head().startswith("<script>")
    assert head().count("</script>") == 1
