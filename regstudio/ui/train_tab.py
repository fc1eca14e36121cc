"""The Train tab."""

import gradio as gr

from regstudio.ui.studio import Studio


def build(studio: Studio) -> None:
    """Lay out the tab; called inside its gr.Tab."""
    gr.Markdown("Train")
