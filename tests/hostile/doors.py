"""The ways into the program: each function gives one hostile input to one of them and returns what it says."""

import html
import shutil
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import tqdm
from click.testing import CliRunner

from regstudio.cli import main
from regstudio.config import build_config
from regstudio.data.pictures.writing import write_image, write_label
from regstudio.studio.studio import Studio
from regstudio.studio.uploads import receive
from regstudio.training.setup import check_data
from regstudio.training.trainer import train
from regstudio.ui.handlers import shown_to_user
from regstudio.ui.tabs.viewer_handlers import OWN_FIELDS, ViewerHandlers
from tests.hostile.worker import Answer
from tests.pictures import ids, ramp

_TINY = {"network": "voxelmorph", "device": "cpu", "compare": False}
_NONE = "none"  # a folder that there is not


class Doors:
    """The commands and the page's handlers, beside faultless files in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        tqdm.tqdm.monitor_interval = 0  # no thread that watches the bars
        self.folder = folder
        self.good = folder / "good"
        write_image(self.good / "fixed" / "atlas.png", ramp())
        write_label(self.good / "fixed_seg" / "atlas_seg.png", ids())
        for number in (1, 2):
            write_image(self.good / "moving" / f"t{number}.png", ramp(shift=number))
            write_image(self.good / "validation_moving" / f"v{number}.png", ramp(shift=10 + number))
            write_label(self.good / "validation_moving_seg" / f"v{number}_seg.png", ids())
        self.atlas = self.good / "fixed" / "atlas.png"
        self.moving = self.good / "moving" / "t1.png"
        np.save(folder / "flow.npy", np.zeros((2, *ramp().shape), np.float32))
        config = build_config({"data_base_dir": self.good, "runs_dir": folder / "runs", "run_name": "first", **_TINY})
        config = build_config({"epochs": 1, "steps_per_epoch": 1}, config)
        list(train(config, check_data(config).index))
        self.run = folder / "runs" / "first"
        self.studio = Studio(runs_dir=folder / "runs", roots=(folder,), demo_dir=self.good, data_base_dir=self.good)
        self._viewer = ViewerHandlers(self.studio, False)

    def check_atlas(self, path: Path) -> Answer:
        """`check` of a data set whose atlas it is."""
        return self._data("check", path, "fixed")

    def train_atlas(self, path: Path) -> Answer:
        """`train` on it."""
        return self._data("train", path, "fixed")

    def check_moving(self, path: Path) -> Answer:
        """`check` of a data set whose one image to train on it is."""
        return self._data("check", path, "train_moving")

    def train_moving(self, path: Path) -> Answer:
        """`train` on it."""
        return self._data("train", path, "train_moving")

    def register_fixed(self, path: Path) -> Answer:
        """`register` to it."""
        return self._register("--fixed", path, "--moving", self.moving)

    def register_moving(self, path: Path) -> Answer:
        """`register` it to the atlas."""
        return self._register("--fixed", self.atlas, "--moving", path)

    def apply_image(self, path: Path) -> Answer:
        """`apply` a flow to it."""
        return self._apply("--flow", self.folder / "flow.npy", "--image", path)

    def apply_label(self, path: Path) -> Answer:
        """`apply` a flow to it as a label."""
        return self._apply("--flow", self.folder / "flow.npy", "--label", path)

    def apply_points(self, path: Path) -> Answer:
        """`apply` a flow to it as a table of points."""
        return self._apply("--flow", self.folder / "flow.npy", "--points", path)

    def apply_flow(self, path: Path) -> Answer:
        """`apply` it as a flow to an image."""
        return self._apply("--flow", path, "--image", self.moving)

    def check_label(self, path: Path) -> Answer:
        """`check` of a data set with it as the atlas's label."""
        flags = ("--fixed_seg_subdir", path.parent, "--atlas_seg_name", path.name)
        return _command("check", "--data_base_dir", self.good, *flags)

    def register_fixed_label(self, path: Path) -> Answer:
        """`register` with it as the label of the fixed image."""
        return self._register("--fixed", self.atlas, "--moving", self.moving, "--fixed_seg", path)

    def register_label(self, path: Path) -> Answer:
        """`register` with it as the label of the moving image."""
        return self._register("--fixed", self.atlas, "--moving", self.moving, "--moving_seg", path)

    def page_label(self, path: Path) -> Answer:
        """The page's Register button with it as the label of the moving image."""
        return self._own(self.atlas, self.moving, None, path)

    def page_upload(self, path: Path) -> Answer:
        """The page's upload of a data folder."""
        target = self.folder / "data_uploads"
        shutil.rmtree(target, ignore_errors=True)
        layout = self.studio.workspace().config.layout
        answer = _handler(shown_to_user()(lambda: receive(self.studio, layout, [path], "new", None)))
        left = [] if answer.code == 0 or not target.exists() else [part.name for part in target.iterdir()]
        return replace(answer, failure=f"left behind: {left}") if left else answer

    def page_fixed(self, path: Path) -> Answer:
        """The page's Register button with it as the fixed image."""
        return self._own(path, self.moving)

    def page_moving(self, path: Path) -> Answer:
        """The page's Register button with it as the moving image."""
        return self._own(self.atlas, path)

    def _data(self, command: str, path: Path, role: str) -> Answer:
        flags = ["--data_base_dir", self.good, f"--{role}_subdir", path.parent, f"--{role}_seg_subdir", _NONE]
        flags.append("--resize_to_atlas")
        flags += ["--atlas_name", path.name] if role == "fixed" else []
        if command == "train":
            shutil.rmtree(self.folder / "trained", ignore_errors=True)
            flags += ["--runs_dir", self.folder / "trained", "--epochs", 1, "--steps_per_epoch", 1]
            flags += [f"--no-{name}" if value is False else f"--{name}={value}" for name, value in _TINY.items()]
        return _command(command, *flags)

    def _register(self, *flags: object) -> Answer:
        return _command("register", "--method", "none", "--resize_to_atlas", "--out", self._out(), *flags)

    def _apply(self, *flags: object) -> Answer:
        return _command("apply", "--out", self._out(), *flags)

    def _out(self) -> Path:
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        return self.folder / "out"

    def _own(
        self, fixed: Path | None, moving: Path, fixed_label: Path | None = None, moving_label: Path | None = None
    ) -> Answer:
        files = [path and str(path) for path in (fixed, moving, fixed_label, moving_label)]
        own = [*files, *[None] * (OWN_FIELDS - len(files))]
        return _handler(lambda: self._viewer.register(True, *own, "first", "last", None, None, None, 0))


def _command(*arguments: object) -> Answer:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], color=True)  # as in a terminal
    expected = result.exception is None or isinstance(result.exception, SystemExit)
    failure = "" if expected else "".join(traceback.format_exception(result.exception))
    return Answer(code=result.exit_code, text=result.output, failure=failure)


def _handler(call: Any) -> Answer:
    try:
        call()
    except gr.Error as error:
        cause = error.__cause__
        failure = "".join(traceback.format_exception(cause)) if cause else ""
        return Answer(code=1, text=html.unescape(str(error.message)), failure=failure)
    return Answer(code=0, text="")
