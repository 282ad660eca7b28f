"""Updates that reach the page whole: of a generator Gradio sends what has changed since its last one."""

from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction


class WholeUpdates(gr.Blocks):
    """A page whose updates do not depend on each other.

    Gradio's page applies a difference to the very object that came before, which it may not have shown yet: what the
    next update lacks, as the one that ends a generator lacks everything, is then never shown, and the page stays as it
    was. Seen about once in a hundred openings on a busy machine.
    """

    def handle_streaming_diffs(
        self,
        block_fn: BlockFunction,
        data: list[Any],
        session_hash: str | None,
        run: str | None,
        final: bool,
        simple_format: bool = False,
    ) -> list[Any]:
        """As Gradio's, but each difference replaces all that was there."""
        follows = session_hash is not None and run in self.pending_diff_streams[session_hash]
        whole = list(data)
        told = super().handle_streaming_diffs(block_fn, data, session_hash, run, final, simple_format)
        if not follows or final or simple_format:
            return told
        return [[["replace", [], value]] for value in whole]
