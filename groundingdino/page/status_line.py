"""One line on what was found, how long each part took, and which models did it."""

from typing import Any

import numpy as np

from groundingdino.detection.agreement import SAME_PLACE, agreement
from groundingdino.detection.objects import labels_of, select
from groundingdino.page.advice import Advice
from groundingdino.page.studio import Findings

NO_PICTURE = "Choose a picture to start."


def sentence(message: str, tone: str = "idle", detail: str = "", advice: Advice | None = None) -> dict[str, Any]:
    """A status line: a message, smaller detail behind it, a tone, and which model would be better, if one would.

    The tone is idle, working, done, nothing (was found), hint or error. While a word is being typed the browser says
    of nothing that it was not found yet.
    """
    line: dict[str, Any] = {"message": message, "tone": tone, "detail": detail}
    return {**line, "advice": advice} if advice else line


def status(findings: Findings, shown: int, otherwise: str = "", advice: Advice | None = None) -> dict[str, Any]:
    """What was found, of which `shown` objects are not hidden, and how long each part took.

    `otherwise` says how to point at something without a prompt; by default by a click, where masks are made.
    `advice` takes the place of advice on words: who looks for something in a photograph needs another model for it.
    """
    with_masks = findings.segmenter is not None or findings.detections.mask is not None
    otherwise = otherwise or ("click on it" if with_masks else "")
    found, best, threshold = len(findings.detections), findings.best_score, findings.box_threshold
    tone = "done" if found else "nothing"
    if found:
        message = f"{count(found)}, {found - shown} hidden" if found > shown else count(found)
    elif not findings.phrases and not best:
        asks = "Type what you are looking for."
        asks = f"Type what you are looking for, or {otherwise}." if otherwise else asks
        message = " ".join([asks, *findings.notes])
        return sentence(message, detail=_models(findings))
    elif best > findings.card.box_threshold:  # lower than that, there would be boxes around what is not there
        message = f"Nothing scores more than your threshold of {threshold:.2f}, but something {best:.2f}: lower it."
    else:
        message = "Nothing found. Try another word."
        if findings.by_examples:
            message = "Nothing found. Draw another example."
        elif advice:
            message = "Nothing found."
    notes = findings.notes
    if findings.by_examples:
        notes = "Looked for by the boxes that you drew, not by words.", *notes
    if findings.other:
        tone = "done" if found or len(findings.other.detections) else tone
        notes = _compared(findings, findings.other), *notes
    if notes:
        message = " ".join([message.rstrip(".") + ".", *notes])
    if findings.draft_side:
        where = "the whole picture" if findings.lacks_tiles else f"a draft of {findings.draft_side} pixels"
        draft = f"{count(found)} in {where}, {findings.follows} …"
        return sentence(draft, "working", _timing(findings))
    return sentence(message, tone, _timing(findings), advice)


def _compared(findings: Findings, other: Findings) -> str:
    """How far two models agree on what the prompt names."""
    ours, theirs = (
        select(one.detections, np.isin(labels_of(one.detections), findings.phrases)) for one in (findings, other)
    )
    agreed = agreement(ours, theirs)
    title = other.card.title
    if not agreed.total:
        return f"{title} finds nothing, either."
    if agreed.total == 1:
        return f"{title} has {len(theirs)}: {agreed.both} of 1 box agrees (IoU ≥ {SAME_PLACE})."
    return f"{title} has {len(theirs)}: {agreed.both} of {agreed.total} boxes agree (IoU ≥ {SAME_PLACE})."


def mask_status(findings: Findings, chosen: int, alpha: np.ndarray) -> dict[str, Any]:
    """What an edit of the `chosen` objects would change; `alpha` (H, W) uint8 says how much of each pixel is new."""
    share = np.count_nonzero(alpha) / alpha.size
    percent = f"{share:.0%}" if share >= 0.01 else "less than 1%"
    message = f"{count(chosen) if chosen else 'What you drew'}: {percent} of the picture will change."
    message = " ".join([message, *findings.notes])
    if findings.draft_side:
        then = "Its tiles follow …" if findings.lacks_tiles else "The whole picture follows …"
        return sentence(f"{message} {then}", "working", _models(findings))
    return sentence(message, "done", _models(findings))


def in_queue(place: int) -> dict[str, Any]:
    """That `place` requests of others have their turn first."""
    others = "1 request is" if place == 1 else f"{place} requests are"
    return sentence(f"Many are looking: {others} before yours …", "working")


def count(number: int) -> str:
    """A number of objects in words."""
    return "1 object" if number == 1 else f"{number} objects"


def _timing(findings: Findings) -> str:
    text, picture, grounding, embedding, masks = findings.timing
    if findings.segmenter:
        # A new prompt costs one part and a click another; what was kept from before is said of each.
        both = None if picture is None and embedding is None else (picture or 0) + (embedding or 0)
        parts = [
            f"text {_or_cached(text)}",
            f"picture {_or_cached(both)}",
            f"grounding {_or_cached(grounding)}",
            f"masks {_or_cached(masks)}",
        ]
    elif text is None and picture is None and grounding is None:
        parts = ["0 ms of model, scores kept"]
    else:
        parts = [
            f"text {_milliseconds(text)}",
            "picture cached" if picture is None else f"picture {_milliseconds(picture)}",
            f"grounding {_milliseconds(grounding)}",
        ]
    if findings.passes > 1 and grounding is not None:
        parts.append(f"{findings.passes} passes")
    return " · ".join([*parts, _models(findings)])


def _models(findings: Findings) -> str:
    titles = [findings.card.title] + ([findings.segmenter.title] if findings.segmenter else [])
    return " + ".join(dict.fromkeys(titles))


def _or_cached(value: float | None) -> str:
    return "cached" if value is None else _milliseconds(value)


def _milliseconds(value: float | None) -> str:
    return f"{value or 0:.0f} ms" if (value or 0) < 10_000 else f"{(value or 0) / 1000:.0f} s"
