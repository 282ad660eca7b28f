"""Calls of programs: what they send is read strictly, and however one goes, it ends with an answer or a sentence."""

import inspect
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from groundingdino.detection.examples import NO_EXAMPLES, Examples
from groundingdino.inputs.coordinates import Size, items, shown
from groundingdino.page.faults import FAULT
from groundingdino.page.request_log import logged
from groundingdino.page.studio import Findings, Thresholds
from groundingdino.runtime.interruption import Stopped

NAMES = ("mode", "model", "segmenter", "inpainter")  # parameters that stand in the log
WORDS = ("prompt", "text", "negative_prompt", "regions")  # and those that do only if it is wanted

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


def published(endpoint: Callable[P, R]) -> Callable[P, R]:
    """An endpoint that takes null, which programs send for what they leave open, for the parameter's default.

    Its docstring is what programs and agents read of it.
    """
    signature = inspect.signature(endpoint)
    defaults = {name: None if one.default is one.empty else one.default for name, one in signature.parameters.items()}

    @wraps(endpoint)
    def answer(*values: P.args, **options: P.kwargs) -> R:
        given = signature.bind(*values, **options)
        given.arguments |= {name: defaults[name] for name, value in given.arguments.items() if value is None}
        sent = {name: value for name, value in given.arguments.items() if name != "self"}
        words = {name: sent[name] for name in WORDS if name in sent}
        with _errors_for_gradio(), logged(endpoint.__name__, **words) as line:
            line |= {name: sent[name] for name in NAMES if sent.get(name)}
            return endpoint(*given.args, **given.kwargs)

    answer.__doc__ = _in_single_lines(inspect.cleandoc(endpoint.__doc__ or ""))
    return answer


def _in_single_lines(docstring: str) -> str:
    """A docstring with one line for each parameter, and one for what is returned: Gradio reads no more of them."""
    said, returns, returned = docstring.partition("Returns:\n")
    return re.sub(r"\n {8,}", " ", said) + returns + f"    {' '.join(returned.split())}"


@contextmanager
def _errors_for_gradio() -> Iterator[None]:
    """A sentence for whoever asked, however it went wrong; Gradio would tell of all but its own errors that there is
    one."""
    try:
        yield
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except Stopped as error:
        raise gr.Error("Given up, as nobody waits for it.", print_exception=False) from error
    except Exception as error:
        logger.exception("A call failed")
        raise gr.Error(FAULT, print_exception=False) from error


def refuse_unread(
    mode: str, regions: Sequence[Sequence[float | str]] | None, background: str | None, margins: Any
) -> None:
    """Check that nothing was passed that says what to edit or what to lay behind and is nothing to this mode."""
    if regions and mode != "regions":
        raise ValueError(f"The mode '{mode}' makes no use of regions: pass none, or the mode 'regions'.")
    if background and mode != "picture":
        raise ValueError(f"The mode '{mode}' makes no use of a background picture: pass none, or the mode 'picture'.")
    if margins is not None and mode != "outpaint":
        raise ValueError(f"The mode '{mode}' makes no use of margins: pass none, or the mode 'outpaint'.")


def flag_of(name: str, value: Any) -> bool | None:
    """Whatever else programs send would count as true."""
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"Expected true or false as {name}, got {shown(value)}.")
    return value


def examples_of(like: Any, unlike: Any, size: Size, thresholds: Thresholds) -> Examples:
    """Boxes in the place of words; none, if none were passed."""
    wanted, unwanted = items(like or ()), items(unlike or ())
    if wanted is None or unwanted is None:
        raise ValueError("Expected like and unlike as [[x0, y0, x1, y1], ...].")
    if not (wanted or unwanted):
        return NO_EXAMPLES
    if thresholds.each or thresholds.tiles:
        raise ValueError("Examples are looked for in one pass: leave out each and tiles.")
    return Examples.of(wanted, unwanted, size)


def thresholds_of(
    box: float | None, text: float | None, nms: float | None, best_only: Any, each: Any, tiles: Any
) -> Thresholds:
    """How it is looked; a ValueError for what is neither true nor false."""
    switches = {"best_only": best_only, "each": each, "tiles": tiles}
    return Thresholds(box, text, nms, **{name: flag_of(name, value) or False for name, value in switches.items()})


def as_used(thresholds: Thresholds, findings: Findings) -> dict[str, float | None]:
    """The same by their names, with what a model's own were where none was passed."""
    text = findings.card.text_threshold if thresholds.text is None else thresholds.text
    return replace(thresholds, box=findings.box_threshold, text=text).named()
