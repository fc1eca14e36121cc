"""Builds the page: one function per tab, and the buttons that lead from one tab to another."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from regstudio.data.pictures.decoder import read_apart
from regstudio.errors import RunError
from regstudio.files import asset, read_asset
from regstudio.methods import TITLES
from regstudio.studio.live_feed import Feed
from regstudio.studio.page_words import NO_TRAINING
from regstudio.studio.sharing import Login, Share
from regstudio.studio.studio import Studio
from regstudio.studio.time_estimate import Estimator
from regstudio.studio.training_control import ended, headline
from regstudio.studio.waiting_line import WaitingLine
from regstudio.ui.handlers import QUIET, shown_to_user
from regstudio.ui.server.serving import ServedPage, free_port, serve
from regstudio.ui.server.tunnel import GradioTunnel
from regstudio.ui.tabs import apply_tab, data_tab, help_tab, runs_tab, share_tab, train_tab, viewer_tab
from regstudio.ui.widgets.browser_tab import browser_tab
from regstudio.ui.widgets.watch import Watch

HEADER = f"""<span class="mark" aria-hidden="true">{read_asset("mark.svg")}</span>
<h1>RegStudio</h1><p class="now" role="status"></p>"""
SHARED_PORT = 7960
TABS = ("data", "train", "runs", "apply", "viewer", "share", "help")


class _Page(gr.Blocks):
    """Gradio's page, which draws each update that a handler yields, however soon the next one follows.

    Gradio sends the edits that make one update the next, and its script does them inside the objects of the one before:
    those are then drawn as they never were, or not at all.
    """

    def handle_streaming_diffs(
        self, block_fn: Any, data: list[Any], session_hash: str | None, run: str | None, *args: Any, **options: Any
    ) -> list[Any]:
        """Return what is sent of an update: whole values for whatever differs from the update before."""
        follows = session_hash is not None and run in self.pending_diff_streams[session_hash]
        whole = list(data)
        sent = super().handle_streaming_diffs(block_fn, data, session_hash, run, *args, **options)
        if not follows or options.get("final") or options.get("simple_format"):
            return sent
        return [edits and [["replace", [], value]] for edits, value in zip(sent, whole, strict=True)]


def build_app(studio: Studio, share: Share | None = None, line: WaitingLine | None = None) -> gr.Blocks:
    """Return the whole page for one studio."""
    read_apart(Path(get_upload_folder()))
    app = _empty_page("RegStudio")
    with app:
        _header(studio)
        estimator = Estimator(studio)
        tab, feed, asked = browser_tab(), Feed(studio, estimator.speeds), viewer_tab.asked_case()
        watch = Watch(tab)
        with gr.Tabs(selected="data", elem_id="tabs") as tabs:
            with _tab("data"):
                data = data_tab.build(studio, tab)
            with _tab("train"):
                train = train_tab.build(studio, feed, estimator, line or WaitingLine(studio), tab, watch, data)
            with _tab("runs"):
                runs = runs_tab.build(studio, feed, watch)
            with _tab("apply"):
                apply_method = apply_tab.build(studio, tab, watch, asked.request)
            with _tab("viewer"):
                viewer = viewer_tab.build(studio, asked, tab)
            with _tab("share"):
                share_tab.build(studio, share or Share(studio, serve_viewer, GradioTunnel()), watch)
            with _tab("help"):
                help_tab.build()
        for name in TABS:
            _open_tab_on(gr.Button(visible="hidden", elem_id=f"go-{name}").click, tabs, name)
        _open_tab_on(asked.request.change, tabs, "viewer")
        _open_tab_on(data.train.click, tabs, "train")
        _open_tab_on(runs.resumed.change, tabs, "train")
        data.two_images.click(two_images, None, [tabs, viewer.run, viewer.checkpoint, viewer.own], **QUIET)
        train.look.click(lambda: first_of(ended(studio)), None, [tabs, viewer.run], **QUIET)
        applied = train.apply.click(lambda: apply_tab.method_of(studio, ended(studio)), None, apply_method, **QUIET)
        applied.then(None, js="() => document.querySelector('#go-apply')?.click()")
        runs.view.click(first_of, runs.selected, [tabs, viewer.run], **QUIET)
        app.load(None, js=read_asset("names.js"))
        app.load(None, js=read_asset("drop_folder.js"))
        app.load(None, js=read_asset("address.js"))
    return app


def build_viewer(studio: Studio) -> gr.Blocks:
    """Return the page to share: only the viewer, of a read-only studio."""
    app = _empty_page("RegStudio viewer")
    with app:
        gr.HTML(html_template="<h1>RegStudio</h1><p class='now'>Shared to look at.</p>", elem_id="header")
        viewer_tab.build(studio, viewer_tab.asked_case())
        app.load(None, js=read_asset("address.js"))
    return app


def serve_viewer(studio: Studio, login: Login) -> ServedPage:
    """Serve the page to share on a free port of this machine, to those who know the login."""
    return serve(build_viewer(studio), port=free_port(SHARED_PORT), login=login, max_bytes=1)


@shown_to_user()
def first_of(selected: Sequence[str] | None) -> tuple[Any, Any]:
    """Open the first of the selected runs in the viewer."""
    if not selected:
        raise RunError("Select a run first: click its line in the table.")
    return gr.update(selected="viewer"), str(selected[0])


def two_images() -> tuple[Any, Any, Any, Any]:
    """Open the viewer with the fields for one's own images, and a method that needs no training."""
    method = next(iter(TITLES))  # at once: whoever is quick would register by a checkpoint that another run has
    checkpoint = gr.update(choices=[(TITLES[method], method)], value=method)
    return gr.update(selected="viewer"), NO_TRAINING, checkpoint, gr.update(open=True)


def _empty_page(title: str) -> gr.Blocks:
    gr.set_static_paths([asset("plotly"), asset("journeys")])
    return _Page(title=title, analytics_enabled=False, delete_cache=(600, 3600))


def _tab(name: str) -> gr.Tab:
    """Return the tab, which notes in the address that it is open."""
    tab = gr.Tab(name.capitalize(), id=name)
    tab.select(None, js=f"() => window.regstudioOpened?.({name!r})")
    return tab


def _open_tab_on(event: Callable[..., Any], tabs: gr.Tabs, tab_id: str) -> None:
    event(lambda: gr.update(selected=tab_id), None, tabs, **QUIET)


def _header(studio: Studio) -> None:
    def current(_: Any = None) -> str:
        return headline(studio)

    gr.HTML(html_template=HEADER, js_on_load=read_asset("header.js"), server_functions=[current], elem_id="header")
