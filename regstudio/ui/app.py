"""Composes the page: one function per tab, and what leads from one tab to another."""

import gradio as gr

from regstudio.ui import data_tab, runs_tab, train_tab, viewer_tab
from regstudio.ui.assets import ASSETS
from regstudio.ui.studio import Studio


def build_app(studio: Studio) -> gr.Blocks:
    """Return the whole page for one studio."""
    gr.set_static_paths([ASSETS])
    app = gr.Blocks(title="RegStudio", analytics_enabled=False, delete_cache=(600, 3600))
    with app:
        gr.Markdown("# RegStudio", elem_id="title")
        with gr.Tabs(selected="data", elem_id="tabs"):
            with gr.Tab("Data", id="data"):
                data_tab.build(studio)
            with gr.Tab("Train", id="train"):
                train_tab.build(studio)
            with gr.Tab("Runs", id="runs"):
                runs_tab.build(studio)
            with gr.Tab("Viewer", id="viewer"):
                viewer_tab.build(studio)
    return app
