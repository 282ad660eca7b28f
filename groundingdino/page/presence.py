"""Whether who asked is still there. Gradio knows, but ends only generators, and them at their next update."""

from gradio.context import LocalContext

from groundingdino.page.jobs import never
from groundingdino.runtime.interruption import StopCheck


def has_left() -> StopCheck:
    """What says whether whoever asked for what runs in this context has closed the connection, or cancelled.

    Where nobody waits by way of Gradio's queue, nobody leaves.
    """
    blocks, event = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    asked = blocks._queue.event_ids_to_events if blocks is not None and event else {}
    request = asked.get(event or "")
    if request is None:
        return never
    return lambda: not request.alive or request._id not in asked
