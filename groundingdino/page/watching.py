"""What was followed, shown in the answer of the tab Track: the video that was made, and a timeline of tracks."""

from typing import Any, NamedTuple

import gradio as gr

from groundingdino.files.assets import ASSETS
from groundingdino.page.track_view import NO_STRIP, NO_TRACKS

STILL, MOVING = "Frame", "Video"  # what the page shows of a video


class Watching(NamedTuple):
    """Its components; page.css shows them in the tab Track alone."""

    shown: gr.Radio
    video: gr.Video
    strip: gr.HTML  # thumbnails; its value is what is paused and marked
    tracks: gr.HTML  # the timeline; its value says which tracks are ticked off


def watch_part() -> Watching:
    options: dict[str, Any] = {"show_label": False, "container": False, "elem_id": "track-view"}
    shown = gr.Radio([STILL, MOVING], value=STILL, interactive=True, **options)  # no event takes it in
    video = gr.Video(show_label=False, interactive=False, buttons=[], autoplay=True, loop=True, elem_id="track-video")
    strip = _drawn("strip", "The video", view=NO_STRIP, elem_id="strip")
    tracks = _drawn("timeline", "Tracks", view=NO_TRACKS, elem_id="tracks")
    return Watching(shown, video, strip, tracks)


def _drawn(name: str, label: str, **options: Any) -> gr.HTML:
    """What the script of that name draws."""
    return gr.HTML(
        {},
        html_template=f'<div class="{name}" role="group" aria-label="{label}"></div>',
        js_on_load=(ASSETS / "page" / f"{name}.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        **options,
    )
