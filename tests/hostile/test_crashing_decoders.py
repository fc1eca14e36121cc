"""Uploaded files that end or hang the library that decodes them: the page says so, and everything goes on."""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from regstudio.config import LayoutSection
from regstudio.data.pictures import decoder
from regstudio.errors import DataError
from regstudio.studio.studio import Studio
from regstudio.studio.uploads import receive
from regstudio.studio.viewer import Viewer

CRASHES = """
import os, time
from regstudio.data.pictures import decoder
from regstudio.data.pictures import formats
read = formats._DECODERS[".png"]
def crash(path, key):
    return os.abort() if "crash" in path.name else time.sleep(600) if "hang" in path.name else read(path, key)
formats._DECODERS[".png"] = crash
decoder.serve()
"""


@pytest.fixture(autouse=True)
def _library_that_crashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pool = decoder.DecoderPool(seconds=3.0, program=CRASHES)
    monkeypatch.setattr(decoder, "pool", pool)
    yield
    pool.end()


@pytest.mark.slow  # it waits until a decoder is late
def test_they_are_left_out_of_an_uploaded_data_set(studio: Studio, demo: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in demo.rglob("*.*"):
            archive.write(path, path.relative_to(demo).as_posix())
        for name in ("crash", "hang"):
            archive.write(demo / "fixed" / "atlas.png", f"moving/{name}.png")
    folder = receive(studio, LayoutSection(), [tmp_path / "set.zip"], "set", None).folder
    studio.workspace().choose_data(str(folder), {})
    report = studio.workspace().report()
    assert report.can_train
    found = {problem.path.name: f"{problem.what}. {problem.remedy}" for problem in report.index.warnings}
    assert found == {
        "crash.png": "its decoder stopped; the file is damaged. Copy or export it again.",
        "hang.png": "its decoder took more than 3 seconds; the file is damaged. Copy or export it again.",
    }
    assert {"crash", "hang"}.isdisjoint(case.id for case in report.index.train)
    assert len(report.index.train) == 4


@pytest.mark.slow
def test_an_own_image_is_a_message_and_the_next_is_registered(
    studio: Studio, one_run: Path, demo: Path, tmp_path: Path
) -> None:
    shutil.copytree(one_run, studio.runs_dir / "first")
    viewer = Viewer(studio)
    decoder.read_apart(tmp_path / "own")
    (tmp_path / "own").mkdir()
    for name in ("crash", "sound"):
        shutil.copy(demo / "fixed" / "atlas.png", tmp_path / "own" / f"{name}.png")
    config, networks = viewer.config("first"), [viewer.registrar("first", "best")]
    with pytest.raises(DataError, match=r"crash\.png: its decoder stopped; the file is damaged"):
        viewer.view(viewer.own_images(config, {"moving": tmp_path / "own" / "crash.png"}), networks)
    view = viewer.view(viewer.own_images(config, {"moving": tmp_path / "own" / "sound.png"}), networks)
    assert view.payload()["name"] == "sound"
