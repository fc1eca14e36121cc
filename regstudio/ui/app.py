"""Composes the page: one function per tab, and what leads from one tab to another."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from regstudio.errors import RunError
from regstudio.files import asset, read_asset
from regstudio.studio.sharing import Login, Share
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import told
from regstudio.ui.server.serving import Page, free_port, serve
from regstudio.ui.server.tunnel import GradioTunnel
from regstudio.ui.tabs import data_tab, runs_tab, share_tab, train_tab, viewer_tab

HEADER = """<h1>RegStudio</h1><p class="now" role="status"></p>"""
SHARED_PORT = 7960
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build_app(studio: Studio, share: Share | None = None) -> gr.Blocks:
    """Return the whole page for one studio."""
    app = _blank("RegStudio")
    with app:
        _header(studio)
        with gr.Tabs(selected="data", elem_id="tabs") as tabs:
            with gr.Tab("Data", id="data"):
                data = data_tab.build(studio)
            with gr.Tab("Train", id="train"):
                train = train_tab.build(studio)
            with gr.Tab("Runs", id="runs"):
                runs = runs_tab.build(studio)
            with gr.Tab("Viewer", id="viewer"):
                viewer = viewer_tab.build(studio)
            with gr.Tab("Share", id="share"):
                share_tab.build(studio, share or Share(studio, serve_viewer, GradioTunnel()))
        train.offer_short(data.demo.click)
        _lead(data.train.click, tabs, "train")
        _lead(runs.resumed.change, tabs, "train")
        runs.view.click(first_of, runs.selected, [tabs, viewer.run], **QUIET)
        app.load(None, js=read_asset("names.js"))
    return app


def build_viewer(studio: Studio) -> gr.Blocks:
    """Return the page that others see: the viewer of a read-only studio, and nothing else."""
    app = _blank("RegStudio viewer")
    with app:
        gr.HTML(html_template="<h1>RegStudio</h1><p class='now'>Shared to look at.</p>", elem_id="header")
        viewer_tab.build(studio)
    return app


def serve_viewer(studio: Studio, login: Login) -> Page:
    """Serve the page that others see on a free port of this machine, to those who know the login."""
    return serve(build_viewer(studio), port=free_port(SHARED_PORT), login=login, most_bytes=1)


@told()
def first_of(selected: Sequence[str] | None) -> tuple[Any, Any]:
    """Open the first of the selected runs in the viewer."""
    if not selected:
        raise RunError("Select a run first: click its line in the table.")
    return gr.Tabs(selected="viewer"), str(selected[0])


def now(studio: Studio) -> str:
    """Say in a few words what is running."""
    job = studio.known_job
    if job is None or job.run is None:
        return "Nothing is training."
    words = {"idle": "Starting", "running": "Training", "paused": "Paused:", "stopping": "Stopping"}
    name = job.run.path.name
    return f"{words[job.state]} {name}" if job.state in words else f"{name}: {job.state}"


def _blank(title: str) -> gr.Blocks:
    gr.set_static_paths([asset("plotly")])
    return gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 3600))


def _lead(event: Callable[..., Any], tabs: gr.Tabs, to: str) -> None:
    event(lambda: gr.Tabs(selected=to), None, tabs, **QUIET)


def _header(studio: Studio) -> None:
    def current(_: Any = None) -> str:
        return now(studio)

    gr.HTML(html_template=HEADER, js_on_load=read_asset("header.js"), server_functions=[current], elem_id="header")
