"""Colours, sizes and letters of the pages."""

import gradio as gr

THEME = gr.themes.Default(
    primary_hue="indigo",
    neutral_hue="slate",
    # Nothing that is to be read is smaller than 14 pixels, or paler than contrast 4.5.
    text_size=gr.themes.Size("12px", "13px", "14px", "15px", "17px", "22px", "26px", name="text_page"),
    font=("ui-sans-serif", "system-ui", "sans-serif"),  # the visitor's own fonts: no page waits for a font server
    font_mono=("ui-monospace", "monospace"),
).set(
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_300",
    block_info_text_size="*text_sm",
    # Indigo's middle is a little too pale beside white.
    color_accent="*primary_600",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_border_color="*primary_600",
)
