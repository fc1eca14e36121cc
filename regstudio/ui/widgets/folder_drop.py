"""A field for files that takes whole folders, too: dropped, or chosen by a button. assets/drop_folder.js zips those."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from regstudio.errors import DataError

_CHOOSE = "() => window.regstudioChooseFolder?.({elem_id!r})"


def folder_drop(label: str, *, elem_id: str, height: int, one_zip: bool = False, **options: Any) -> gr.File:
    """Return the field, with the button to choose a folder below it; with `one_zip` it holds one zip and no more."""
    classes = ["takes-folders", *["takes-one-zip"] * one_zip]
    field = gr.File(
        label=label,
        file_count="multiple",
        height=height,
        elem_id=elem_id,
        elem_classes=classes,
        min_width=120,
        **options,
    )
    choose = gr.Button("Choose a folder of this computer", size="sm", elem_id=f"{elem_id}-choose")
    choose.click(None, js=_CHOOSE.format(elem_id=elem_id))
    return field


def zip_of(files: Sequence[str] | None) -> Path | None:
    """Return the one zip that the field holds, None where it is empty; raises DataError for anything else."""
    paths = [Path(str(file)) for file in files or ()]
    if not paths:
        return None
    if len(paths) > 1 or paths[0].suffix.lower() != ".zip":
        raise DataError("The images came as single files, without their folder. Reload the page, and drop them again.")
    return paths[0]
