"""What visitors are told where the program itself fails: that it did. The log has the rest."""

import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from groundingdino.page.request_log import FAILED, REFUSED

FAULT = "Something went wrong on the server; its log says what."

logger = logging.getLogger(__name__)


def noticed(write: Callable[[], str], line: dict[str, Any]) -> str | None:
    """Path of the file that is written; None, after a notice, where it cannot be.

    Args:
        line: Of the log, in which it stands how that ended.
    """
    try:
        return write()
    except ValueError as error:
        line["ended"] = REFUSED
        gr.Warning(str(error))
    except Exception:
        logger.exception("A file could not be made")
        line["ended"] = FAILED
        gr.Warning(FAULT)
    return None
