"""The page takes hostile files through its own doors, with a training beside them, and neither is the worse for it."""

import json
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from regstudio.networks.checkpoint import load_checkpoint
from regstudio.studio import training_control
from tests.browser import Served
from tests.hostile.corpus import arrays, dicoms, itk_files, niftis, rasters, tiffs, zips
from tests.hostile.corpus.kinds import Hostile

EACH = 90  # one of so many inputs
SETTINGS = {"epochs": 10, "encoder_channels": 2, "decoder_channels": 4, "device": "cpu", "threads": 1, "compare": False}

pytestmark = pytest.mark.slow


class Page:
    """The page as a browser uses it, by HTTP alone."""

    def __init__(self, url: str) -> None:
        self.url = url + "gradio_api/"
        config = httpx.get(url + "config").json()
        self._ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
        self._shown = {part["id"]: part["props"].get("value") for part in config["components"]}
        self._calls = config["dependencies"]

    def upload(self, path: Path) -> dict[str, Any]:
        """Upload a file; return what a file field then holds."""
        with path.open("rb") as stream:
            answer = httpx.post(self.url + "upload", files={"files": (path.name, stream)}, timeout=30)
        assert answer.status_code == 200, path.name
        return {"path": answer.json()[0], "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}

    def click(self, button: str, **filled: Any) -> dict[str, Any]:
        """Click a button with these fields of its own tab filled in; return the queue's last word."""
        call = next(call for call in self._calls if (self._ids[button], "click") in map(tuple, call["targets"]))
        tab = button.partition("-")[0]
        values = {self._ids[f"{tab}-{name}"]: value for name, value in filled.items()}
        data = [values.get(part, self._shown[part]) for part in call["inputs"]]
        assert values.keys() <= set(call["inputs"])
        body = {"fn_index": call["id"], "session_hash": button, "data": data}
        httpx.post(self.url + "queue/join", json=body, timeout=30)
        lines = httpx.get(self.url + "queue/data", params={"session_hash": button}, timeout=30).text.splitlines()
        messages = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
        return next(message for message in messages if message["msg"] == "process_completed")

    def register(self, path: Path) -> dict[str, Any]:
        """Register an own image to the atlas."""
        return self.click("viewer-register", resize=True, moving=[self.upload(path)], run="first", checkpoint="last")


def sample() -> Iterator[Hostile]:
    """Pictures that must be refused, a few of each family."""
    for family in (rasters, tiffs, niftis, itk_files, dicoms, arrays):
        yield from islice((one for one in family.inputs() if one.usable is False), 5, None, EACH)


def weights(served: Served, name: str) -> dict[str, torch.Tensor]:
    assert served.studio.job.join(120)
    return dict(load_checkpoint(served.studio.run(name).last_path).weights)


def test_the_server_lives_and_the_training_beside_is_as_alone(
    studio_server: Served, one_run: Path, demo: Path, tmp_path: Path
) -> None:
    shutil.copytree(one_run, studio_server.studio.runs_dir / "first")
    training_control.start(studio_server.studio, {**SETTINGS, "run_name": "alone"})
    alone = weights(studio_server, "alone")
    page = Page(studio_server.url)
    assert page.register(demo / "moving" / "phantom_01.png")["success"]
    training_control.start(studio_server.studio, {**SETTINGS, "run_name": "beside"})
    for number, hostile in enumerate(sample()):
        path = tmp_path / str(number) / hostile.file
        path.parent.mkdir()
        hostile.write(path)
        answer = page.register(path)
        error = answer["output"].get("error") or ""
        assert not answer["success"], hostile
        assert error, hostile
        assert "should not have happened" not in error, f"{hostile}: {error}"
        if number == 0:
            assert training_control.state(studio_server.studio) == "running"
    for number, hostile in enumerate(islice(zips.inputs(), 30, None, 5)):
        if hostile.usable is False:
            path = tmp_path / f"zip{number}" / hostile.file
            path.parent.mkdir()
            hostile.write(path)
            answer = page.click("upload-send", files=[page.upload(path)], name=f"set{number}")
            assert "should not have happened" not in (answer["output"].get("error") or ""), hostile
    beside = weights(studio_server, "beside")
    assert alone.keys() == beside.keys()
    assert all(torch.equal(alone[name], beside[name]) for name in alone)
    assert page.register(demo / "moving" / "phantom_01.png")["success"]
    assert httpx.get(studio_server.url).status_code == 200
