"""One line of JSON for each request: what was asked, how long it took and how it ended; its content only if wanted."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from groundingdino.runtime.interruption import Stopped

OK, REFUSED, FAILED = "ok", "refused", "failed"
WITHDRAWN, OVERTAKEN = "given up", "overtaken"  # by the visitor, or by a newer request of the same page

logger = logging.getLogger("groundingdino.requests")


@contextmanager
def logged(request: str, **content: Any) -> Iterator[dict[str, Any]]:
    """Writes a line when a request is over, however it ends; what is put into the record that it gives stands in it.

    Args:
        request: What was asked.
        content: What was typed or sent, which is written at the level DEBUG alone.
    """
    record: dict[str, Any] = {"request": request}
    begun, ended = time.monotonic(), FAILED
    try:
        yield record
        ended = record.pop("ended", OK)
    except (gr.Error, ValueError):
        ended = REFUSED
        raise
    except (GeneratorExit, Stopped):
        ended = WITHDRAWN
        raise
    finally:
        record |= {"seconds": round(time.monotonic() - begun, 3), "ended": ended}
        if logger.isEnabledFor(logging.DEBUG):
            record |= content
        logger.info(json.dumps(record, ensure_ascii=False, default=str))


def write_log(with_content: bool) -> None:
    """Writes the lines to standard error, one each."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if with_content else logging.INFO)
