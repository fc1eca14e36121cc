"""The Share tab: starts and stops a public link to chosen runs, and shows where it leads."""

import html
from collections.abc import Sequence
from typing import Any

import gradio as gr

from regstudio.studio.sharing import NO_LINK, USER, Share, Status
from regstudio.studio.studio import Studio
from regstudio.ui.handlers import QUIET, fingerprint, on_tab_select, shown_fingerprint, shown_to_user
from regstudio.ui.widgets.changing_dropdown import ChangingDropdown
from regstudio.ui.widgets.icons import EMPTY_SHARE, nothing_yet
from regstudio.ui.widgets.watch import Watch

ABOUT = (
    "Share trained runs with a colleague through a temporary public link. Whoever has the link and the password sees "
    "the Viewer with the runs chosen here: no files of this machine but theirs, no training, no deletion. The link "
    "passes through Gradio's servers and ends with this program."
)
NOTHING = "There is no run to share yet: train one first, in the Train tab."
WHOLE = "The **whole studio** is shared: whoever has the password can train, delete runs, and read files."


def build(studio: Studio, share: Share, watch: Watch) -> None:
    """Lay out the tab; called inside its gr.Tab."""
    gr.Markdown(ABOUT)
    runs = ChangingDropdown(
        [], multiselect=True, label="Runs to share", info="none chosen: all runs there are now", elem_id="share-runs"
    )
    with gr.Row():
        start = gr.Button("Share", variant="primary", elem_id="share-start")
        stop = gr.Button("Stop sharing", elem_id="share-stop", interactive=False)
    empty = gr.HTML(nothing_yet(EMPTY_SHARE, NOTHING), visible=False, apply_default_css=False, elem_id="share-empty")
    message = gr.Markdown(describe(Status()), elem_id="share-status")
    with gr.Row(visible=False) as access:
        link = gr.Textbox(label="Link", interactive=False, buttons=["copy"], elem_id="share-link")
        user = gr.Textbox(USER, label="User", interactive=False, buttons=["copy"], elem_id="share-user")
        password = gr.Textbox(label="Password", interactive=False, buttons=["copy"], elem_id="share-password")
    seen = shown_fingerprint()

    def look(known: Any) -> Any:
        """Show the state of the link, if it changed since this page last did."""
        status, something = share.status, bool(studio.run_folders())
        now = fingerprint((status, something))
        if now == known:
            return [gr.skip()] * len(shown)
        active = status.state in ("opening", "open")
        nothing = not something and status.state == "closed"
        return [
            gr.update(visible=nothing),
            gr.Markdown(describe(status), visible=not nothing),
            gr.update(visible=status.state == "open"),
            status.link,
            USER,
            status.password,
            gr.Button(interactive=something and not active),
            gr.Button(interactive=active),
            now,
        ]

    @shown_to_user()
    def begin(names: Sequence[str] | None) -> None:
        share.start(str(name) for name in names or [])

    @shown_to_user()
    def listed() -> Any:
        return gr.Dropdown(choices=[run.path.name for run in studio.run_folders()])

    shown = [empty, message, access, link, user, password, start, stop, seen]
    start.click(begin, runs, None, **QUIET).success(look, seen, shown, **QUIET)
    stop.click(shown_to_user()(share.stop), None, None, **QUIET).success(look, seen, shown, **QUIET)
    watch.on_change("share", lambda _: (share.status, bool(studio.run_folders())), look, [seen], shown)
    on_tab_select(listed, None, runs, **QUIET)


def describe(status: Status) -> str:
    """Return the state of the public link in words."""
    if status.state == "failed":
        return html.escape(NO_LINK.format(reason=status.problem))
    if status.state == "open":
        return WHOLE if status.whole_studio else "The chosen runs are shared."
    return "Opening the tunnel. This takes some seconds." if status.state == "opening" else "Nothing is shared."
