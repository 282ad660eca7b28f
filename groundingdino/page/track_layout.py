"""The controls of the tab Track."""

from typing import Any, NamedTuple

import gradio as gr

from groundingdino.page.layout import Choice, choice, hand_over_files, slider
from groundingdino.page.limits import Limits
from groundingdino.page.picker import Picker
from groundingdino.page.track_view import EFFECTS, limits_in_words
from groundingdino.tracking.available_trackers import EMBEDDED


class TrackControls(NamedTuple):
    """Which video, which part of it, how, and what becomes of it."""

    video: gr.File
    record: gr.Video  # by a camera
    about: gr.HTML  # limits, or what was sent
    at: gr.Slider  # seconds of the paused frame
    start: gr.Number
    end: gr.Number
    from_here: gr.Button
    to_here: gr.Button
    every: gr.Slider
    masks: gr.Checkbox
    effect: gr.Radio
    color: gr.ColorPicker
    tracker: Choice
    backward: gr.Checkbox
    run: gr.Button
    cancel: gr.Button


def track_column(limits: Limits, picker: Picker[Any, Any]) -> TrackControls:
    """In the order in which they are needed."""
    video = gr.File(label="Video", file_types=["video", ".mkv", ".ts", ".gif"], height=110, elem_id="track-file")
    hand_over_files(video)
    with gr.Accordion("Record a clip", open=False, elem_id="track-record"):
        # As large as it can, a camera sends more than is followed in time, and some a picture in a mirror.
        camera = gr.WebcamOptions(
            mirror=False, constraints={"video": {"width": {"ideal": 1280}, "height": {"ideal": 720}}}
        )
        record = gr.Video(sources=["webcam"], webcam_options=camera, show_label=False, height=240, buttons=[])
        hand_over_files(record)
    about = gr.HTML(limits_in_words(limits), elem_id="about-video", elem_classes="about")
    # With the length of each video it gets another end, so it is made anew, see `layout.slider`.
    at = gr.Slider(0, 1, 0, label="Frame at second", interactive=False, elem_id="track-at")
    with gr.Row(elem_id="stretch"):
        start = gr.Number(None, label="From second", minimum=0, min_width=80, elem_id="track-start")
        end = gr.Number(None, label="To second", minimum=0, min_width=80, elem_id="track-end")
    with gr.Row(elem_id="stretch-here"):
        from_here = gr.Button("From this frame", size="sm", min_width=80)
        to_here = gr.Button("To this frame", size="sm", min_width=80)
    with gr.Row(elem_id="track-row"):
        run = gr.Button("Track", variant="primary", min_width=0, elem_id="track-run")
        cancel = gr.Button("Cancel (Esc)", min_width=0, elem_id="track-cancel")
    masks = gr.Checkbox(
        label="Cut out what is followed", info="By the segmenter of the tab Segment.", elem_id="track-masks"
    )
    effect = gr.Radio([*EFFECTS], value="Boxes", label="In the video", elem_id="track-effect")
    color = gr.ColorPicker("#00b140", label="Colour", elem_id="track-color")
    tracker = choice(picker, EMBEDDED, "Tracker")
    backward = gr.Checkbox(
        label="Backward pass",
        info="What a look finds first is followed back to the look before, too.",
        elem_id="track-backward",
    )
    info = "0 looks six times a second; a tracker of outlines once."
    every = slider(0, 60, 0, step=1, label="Look at one frame of", info=info, elem_id="track-every")
    return TrackControls(
        video,
        record,
        about,
        at,
        start,
        end,
        from_here,
        to_here,
        every,
        masks,
        effect,
        color,
        tracker,
        backward,
        run,
        cancel,
    )
