"""A page of its own on which annotations are reviewed: picture after picture, accepted, rejected, moved and named.

Who starts it names the file; who opens the page names nothing but numbers of its pictures.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.annotations.document import Box, Marked
from groundingdino.annotations.review import Review
from groundingdino.page.handlers import FAULT
from groundingdino.page.layout import PAGE_FILES
from groundingdino.page.outlines import outlines
from groundingdino.page.status_line import count
from groundingdino.page.theme import THEME
from groundingdino.page.view import jpeg_url
from groundingdino.results.drawing import phrase_colors
from groundingdino.segmentation.masks import compact, join

SCRIPTS = ("parts.js", "review.js")
_LONGEST_SIDE = 2000  # pixels of the picture that is sent
_SAME = 0.6  # IoU of boxes of one name from which they are one object

logger = logging.getLogger(__name__)


class Seen(NamedTuple):
    """An object that a model finds."""

    name: str
    box: Box
    score: float


Look = Callable[[Image.Image, str], Sequence[Seen]]  # what a prompt finds in a picture; errors are ValueErrors
NOTHING_FOUND: dict[str, Any] = {"index": -1, "prompt": "", "objects": [], "note": ""}


class ReviewPage:
    """What the page does.

    Args:
        review: What is reviewed.
        look: What finds what a prompt names.
    """

    def __init__(self, review: Review, look: Look):
        self.review, self._look = review, look

    def open(self) -> dict[str, Any]:
        """The first picture that is not done."""
        return self.view(self.review.first())

    def decide(self, event: gr.EventData) -> Any:
        """Decisions on a picture, the way to another one, or the last decision taken back; what is shown then."""
        sent: Mapping[str, Any] = event._data or {}
        known = index = _whole(sent.get("index"))
        told: dict[str, Any] = {"stamp": sent.get("stamp")}
        try:
            actions = sent.get("actions") or ()
            first = actions[0] if actions and isinstance(actions[0], Mapping) else {}
            if "go" in first:
                index = _whole(first["go"])
            elif first.get("do") == "undo":
                undone = self.review.undo()
                index = known if undone is None else undone
            else:
                self.review.act(index, _whole(sent.get("version")), actions)
        except ValueError as error:
            told |= {"note": str(error), "tone": "error"}
        except Exception:  # else the page would wait for an answer for ever
            logger.exception("A decision could not be written")
            told |= {"note": FAULT, "tone": "error"}
        index = index if 0 <= index < len(self.review) else 0
        return gr.update(view=self.view(index, with_image=index != known) | told)

    def look(self, event: gr.EventData) -> Any:
        """What the prompt finds in the picture and is not marked there."""
        sent: Mapping[str, Any] = event._data or {}
        index, prompt = _whole(sent.get("index")), str(sent.get("prompt") or "")
        found: dict[str, Any] = {**NOTHING_FOUND, "index": index, "prompt": prompt}
        try:
            seen = self._look(self.review.image(index), prompt)
            new = without_known(seen, list(self.review.sheet(index).objects.values()))
            found["objects"] = [{"name": one.name, "box": one.box, "score": round(one.score, 4)} for one in new]
            rest = f", {len(seen) - len(new)} of them marked before" if len(seen) > len(new) else ""
            found["note"] = f"{count(len(seen))} found{rest}." if seen else f"Nothing found for “{prompt.strip()}”."
        except ValueError as error:
            found["note"] = str(error)
        except Exception:
            logger.exception("A prompt could not be looked for")
            found["note"] = FAULT
        return gr.update(found=found)

    def view(self, index: int, with_image: bool = True) -> dict[str, Any]:
        """What `assets/page/review.js` shows of a picture."""
        review, image = self.review, ""
        note: dict[str, Any] = {}
        names = review.document.names
        shown: dict[str, Any] = {
            "index": index,
            "total": len(review),
            "file": review.file(index),
            "image": None,
            "width": 1,
            "height": 1,
            "version": 0,
            "checked": False,
            "objects": [],
            "note": "",
            "tone": "",
            "stamp": None,
        }
        try:
            sheet = review.sheet(index)
            shown |= {
                "width": sheet.size[0],
                "height": sheet.size[1],
                "version": sheet.version,
                "checked": sheet.checked,
                "objects": [_object(key, one, sheet.size) for key, one in sheet.objects.items()],
            }
            if with_image:
                picture = review.image(index)
                picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
                image = jpeg_url(picture)
        except (ValueError, OSError) as error:  # a picture that cannot be read holds nobody up
            note = {"note": f"{error} Go on with the next one.", "tone": "error"}
        named = list(dict.fromkeys([*names, *(one["name"] for one in shown["objects"])]))
        colors = zip(named, phrase_colors(named), strict=True)
        shown["names"] = [{"name": name, "color": color.as_hex()} for name, color in colors]
        if with_image:
            shown["image"] = image or _BLANK
        return shown | {"counts": review.counts(), "undo": review.can_undo} | note


_BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def without_known(seen: Sequence[Seen], known: Sequence[Marked]) -> list[Seen]:
    """What is not marked yet, nor rejected before: no box of the same name lies over it."""
    left = []
    for one in seen:
        same = np.array([other.box for other in known if other.name == one.name], float).reshape(-1, 4)
        if not len(same) or sv.box_iou_batch(np.array([one.box], float), same).max() < _SAME:
            left.append(one)
    return left


def build(page: ReviewPage) -> gr.Blocks:
    """The page, laid out and wired up."""
    scripts = [(PAGE_FILES / name).read_text(encoding="utf-8") for name in SCRIPTS]
    with gr.Blocks(title="Review", analytics_enabled=False) as demo:
        sheet = gr.HTML(
            {},
            html_template=(PAGE_FILES / "review.html").read_text(encoding="utf-8"),
            js_on_load="\n".join(scripts),
            apply_default_css=False,
            view=page.open(),
            found=NOTHING_FOUND,
            elem_id="review",
        )
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        demo.load(lambda: gr.update(view=page.open()), None, sheet, **private)
        sheet.decide(page.decide, None, sheet, trigger_mode="multiple", queue=False, **private)
        sheet.look(page.look, None, sheet, trigger_mode="always_last", **private)
    return demo


def serve(demo: gr.Blocks, **options: Any) -> None:
    """Serves the page; `options` are of `launch`."""
    ours: dict[str, Any] = {
        "theme": THEME,
        "css_paths": PAGE_FILES / "review.css",
        "footer_links": [],
        "ssr_mode": False,
    }
    demo.launch(**ours | options)


def _object(key: str, one: Marked, size: tuple[int, int]) -> dict[str, Any]:
    score = "" if one.score is None else f"{one.score:.2f}"
    paths = _paths(one.outline, size)
    return {"id": key, "name": one.name, "box": one.box, "score": score, "state": one.state, "paths": paths}


def _paths(outline: Any, size: tuple[int, int]) -> list[str]:
    """A mask of COCO's as paths of SVG."""
    if isinstance(outline, Mapping):
        height, width = outline["size"]
        mask = sv.rle_to_mask(outline["counts"], (int(width), int(height)))
        return outlines(join([compact(mask.astype(bool))], size), 1.0) if mask.any() else []
    parts = (np.array(part, float).reshape(-1, 2) for part in outline or ())
    return ["M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in part) + "Z" for part in parts if len(part) >= 3]


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else -1
