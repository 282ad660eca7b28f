"""The words of the page in Chinese.

The program says everything in English, as this source does. `assets/page/zh-CN.json` has a translation for each
sentence that a visitor may read, with the same fields; a field whose own words are translated is "{0!t}" there. The
browser translates, see `assets/page/language.js`: endpoints, files and logs stay English.
"""

import json

import gradio as gr

from groundingdino.files.assets import ASSETS

LANGUAGE = "zh-CN"


def catalogue() -> dict[str, str]:
    """Chinese sentences by their English ones."""
    words: dict[str, str] = json.loads((ASSETS / "page" / f"{LANGUAGE}.json").read_text(encoding="utf-8"))
    return words


def languages(demo: gr.Blocks) -> gr.I18n:
    """What Gradio translates labels and choices by: the catalogue, and the entries of the page's lists as a whole."""
    words = catalogue()
    lists = [block.choices for block in demo.blocks.values() if isinstance(block, gr.Dropdown)]
    entries = {str(entry) for choices in lists for entry, _ in choices}
    entries |= {entry.replace("↓ ", "") for entry in entries}  # the arrow goes once a model is downloaded
    whole = {entry: " · ".join(words.get(part, part) for part in entry.split(" · ")) for entry in sorted(entries)}
    translations: dict[str, dict[str, str]] = {"en": {}, LANGUAGE: {**whole, **words}}
    return gr.I18n(**translations)


def head() -> str:
    """For the page's head: the script that translates all other words."""
    return f"<script>{(ASSETS / 'page' / 'language.js').read_text(encoding='utf-8')}</script>"
