"""How the page looks: gradio's theme, and every other colour as a variable of its style sheets and scripts.

Text and buttons have a contrast of 4.5 at least, in light and dark.
"""

import gradio as gr

from regstudio.drawing.colours import LABEL_COLOURS, SERIES_COLOURS, hexadecimal

# System fonts: the page works offline.
THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.indigo,
    secondary_hue=gr.themes.colors.indigo,
    neutral_hue=gr.themes.colors.slate,
    radius_size=gr.themes.sizes.radius_sm,
    font=("system-ui", "sans-serif"),
    font_mono=("ui-monospace", "monospace"),
).set(
    body_text_color_subdued="*neutral_600",
    block_info_text_color="*neutral_600",
    input_placeholder_color="*neutral_500",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_dark="*primary_600",
    button_primary_background_fill_hover_dark="*primary_700",
    button_cancel_background_fill="#b91c1c",
    button_cancel_background_fill_hover="#991b1b",
    button_cancel_background_fill_dark="#b91c1c",
    button_cancel_background_fill_hover_dark="#991b1b",
    checkbox_background_color_selected="*primary_600",
    checkbox_background_color_selected_dark="*primary_600",
    link_text_color="*primary_700",
    link_text_color_hover="*primary_800",
    link_text_color_visited="*primary_700",
    link_text_color_dark="*primary_300",
    link_text_color_hover_dark="*primary_200",
    link_text_color_visited_dark="*primary_300",
)

# Signals, each with what is written on it; blue, vermilion and green differ for every kind of colour vision.
_SIGNALS = {
    "signal-busy": "#0072b2",
    "on-signal-busy": "#ffffff",
    "signal-good": "#007a59",
    "signal-warn": "#e69f00",
    "on-signal-warn": "#000000",
    "signal-bad": "#b33c00",
    "on-signal-bad": "#ffffff",
    "canvas-ground": "#111111",
    "canvas-mark": "#ffe600",
    "canvas-cursor": "#ffffff",
    "canvas-edge": "rgba(0, 0, 0, 0.55)",
}
_IN_DARK = {
    "signal-good": "#3cc79a",
    "signal-bad-text": "#ff9b6b",
    "signal-busy-text": "#6cb8e6",
    "selected-text": "#a5b4fc",
}


def colour_tokens() -> str:
    """Return the style sheet of the variables: --label-1, --series-1 and so on, and the signals."""
    light = {f"label-{number}": hexadecimal(colour) for number, colour in enumerate(LABEL_COLOURS, 1)}
    light |= {f"series-{number}": hexadecimal(colour) for number, colour in enumerate(SERIES_COLOURS, 1)}
    light |= _SIGNALS | {"signal-bad-text": "#b33c00", "signal-busy-text": "#0072b2", "selected-text": "#4338ca"}
    return _rule(".gradio-container", light) + _rule(":is(.dark .gradio-container, .gradio-container .dark)", _IN_DARK)


def _rule(selector: str, values: dict[str, str]) -> str:
    return selector + " { " + " ".join(f"--{name}: {value};" for name, value in values.items()) + " }\n"
