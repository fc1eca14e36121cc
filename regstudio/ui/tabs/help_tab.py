"""The Help tab: the pages of the handbook, to be chosen from a list or by the links between them."""

import gradio as gr

from regstudio.files import asset, read_asset
from regstudio.studio import handbook
from regstudio.ui.handlers import QUIET, on_page_load, shown_to_user


def build() -> None:
    """Lay out the tab; called inside its gr.Tab."""
    pages = handbook.pages()
    with gr.Row():
        with gr.Column(scale=1, min_width=220):
            choice = gr.Radio(
                [(page.title, page.name) for page in pages], value=pages[0].name, label="Pages", elem_id="help-pages"
            )
        with gr.Column(scale=4, min_width=320):
            text = gr.Markdown(_with_pictures(pages[0].text), elem_id="help-page")

    @shown_to_user()
    def show(name: object) -> str:
        return _with_pictures(handbook.page(str(name)).text)

    choice.change(show, choice, text, **QUIET)
    on_page_load(None, js=read_asset("help.js"))


def _with_pictures(text: str) -> str:
    """Return the text with its pictures where the page serves them."""
    return text.replace(f"]({handbook.PICTURES}", f"](/gradio_api/file={asset('journeys').as_posix()}/")
