"""Five ways through the page in a browser, each from files as people have them to a result."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regstudio.studio.apply_control import rows
from regstudio.studio.studio import Studio
from tests.browser import Served, unused_port, watched_page
from tests.training.whole_training import QUICK
from tests.ui import journeys, made_images
from tests.ui.acting import CANVAS, VIEWER

pytestmark = pytest.mark.browser

SIZE = 64
COLOURFUL = f"""() => {{
  const canvas = document.querySelector("{CANVAS}"), into = canvas.getContext("2d");
  const third = Math.floor(canvas.width / 3);
  return [0, 1, 2].every((place) => {{
    const {{ data }} = into.getImageData(place * third, 0, third, canvas.height);
    return data.some((level, i) => i % 4 === 0 && Math.abs(level - data[i + 2]) > 40);
  }});
}}"""
FRAGILE = {"network": "corrmlp", "encoder_channels": 2, "decoder_channels": 4}  # fails at once where it does


@pytest.fixture(scope="module")
def served(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page that all journeys start from; each has a browser tab, and so data and settings, of its own."""
    from regstudio.ui.app import build_app
    from regstudio.ui.server.serving import serve

    folder = tmp_path_factory.mktemp("journeys")
    studio = Studio(runs_dir=folder / "runs", roots=(folder,), demo_dir=demo, data_base_dir=demo)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        page = serve(build_app(studio), port=unused_port())
        yield Served(page.url, studio)
        page.close()


@pytest.fixture
def home(served: Served, browser: Any) -> Iterator[Any]:
    with watched_page(browser) as page:
        page.goto(served.url)
        yield page


def walked(steps: Iterator[str]) -> None:
    for _ in steps:
        pass


def test_two_images_become_a_result_in_colour(home: Any, served: Served, tmp_path: Path) -> None:
    fixed, moving = made_images.make_sections(served.studio.roots[0] / "two", tmp_path, size=SIZE)
    steps = journeys.two_images(home, fixed, moving)
    for _ in range(3):
        next(steps)
    home.wait_for_function(COLOURFUL)
    walked(steps)
    assert home.inner_text(f"{VIEWER} .networks") == "general network + optimiser"
    with home.expect_download() as download:
        home.click("#viewer-download")
    download.value.save_as(tmp_path / "result.zip")
    with zipfile.ZipFile(tmp_path / "result.zip") as archive:
        name = next(name for name in archive.namelist() if "warped" in name)
        warped = np.asarray(Image.open(archive.open(name))).astype(int)
    before, aim = (np.asarray(Image.open(path)).astype(int) for path in (moving, fixed))
    assert warped.shape == before.shape == (SIZE, SIZE, 3)
    assert (warped[..., 2] - warped[..., 0]).max() > 10  # the stain's blue is in it
    inside = [np.abs(image.mean(-1) - aim.mean(-1))[8:-8, 8:-8].mean() for image in (before, warped)]
    assert inside[1] < 0.9 * inside[0]


def test_a_flat_folder_becomes_data_a_network_and_registered_images(home: Any, served: Served, tmp_path: Path) -> None:
    folder = served.studio.roots[0] / "radiographs"
    made_images.make_radiographs(folder, tmp_path, count=4, new=4, size=SIZE)
    served.studio.workspace(home.evaluate("window.regstudioTab")).change_settings({**QUICK, "epochs": 2})
    steps = journeys.radiographs(home, folder, folder.with_name("radiographs_new"))
    next(steps)
    proposed = home.input_value("#import-atlas input")
    other = "patient02" if proposed == "patient01" else "patient01"
    home.click("#import-atlas input")
    home.get_by_role("option", name=other).click()
    home.wait_for_function(f"document.querySelector('#import-summary textarea').value.includes('the atlas {other}')")
    home.locator("#import-table [role=gridcell]", has_text="atlas").first.wait_for()
    home.locator("#import-click").get_by_text("left out").click()
    home.locator("#import-gallery .thumbnail-item").nth(1).click()
    home.wait_for_function("document.querySelector('#import-summary textarea').value.startsWith('4 pictures')")
    home.locator("#import-click").get_by_text("one to train on").click()
    home.locator("#import-gallery .thumbnail-item").last.click()  # what was left out is still there
    home.wait_for_function("document.querySelector('#import-summary textarea').value.startsWith('5 pictures')")
    walked(steps)
    assert not home.locator("#import-proposal").is_visible()
    assert (served.studio.roots[0] / "data_uploads" / "chest" / "import.json").is_file()
    applied = rows(served.studio, "radiographs_new")
    assert len(applied) == 4
    assert not home.is_visible("#apply-zip")
    assert home.get_attribute(VIEWER, "data-case") == applied[0][0]
    assert home.input_value("#apply-method input").endswith("best")
    assert home.input_value("#viewer-run input") == "applied: radiographs_new"
    assert served.studio.job.run is not None
    home.reload()  # the address holds the case
    home.wait_for_selector(f"{VIEWER}[data-state=open][data-case='{applied[0][0]}']")


def test_the_frames_of_hearts_are_measured_in_pairs(home: Any, served: Served, tmp_path: Path) -> None:
    folder = served.studio.roots[0] / "cine"
    made_images.make_cine(folder, tmp_path, frames=3, size=SIZE)
    walked(journeys.cine(home, folder))
    assert home.get_attribute(VIEWER, "data-case") in ("ben_frame1", "ben_frame2")
    row = home.locator(f"{VIEWER} .numbers tr", has_text="Dice, mean").locator("td")
    assert float(row.nth(2).inner_text()) > float(row.nth(1).inner_text())


def test_landmarks_put_right_what_two_stained_sections_hide(home: Any, served: Served, tmp_path: Path) -> None:
    fixed, moving = made_images.make_sections(served.studio.roots[0] / "stains", tmp_path, size=SIZE)
    distance = home.locator(f"{VIEWER} .numbers tr", has_text="TRE").locator("td")
    said = f"{VIEWER} .marks-said"
    steps = journeys.sections(home, fixed, moving)
    next(steps)
    next(steps)
    before, after = float(distance.nth(1).inner_text()), float(distance.nth(2).inner_text())
    assert before > 2 > 1 > after
    walked(steps)
    journeys.click(home, 0, *journeys.PLACES[0], button="right")
    home.wait_for_function(f"document.querySelector('{said}').textContent === '1 pair'")
    home.click(f"{VIEWER} .undo-marks")
    assert home.inner_text(said) == "2 pairs"
    home.click(f"{VIEWER} .clear-marks")
    home.wait_for_function(f"!document.querySelector('{VIEWER} .networks').textContent.endsWith('corrected')")


def test_a_training_that_fails_says_why_and_is_mended(home: Any, served: Served) -> None:
    served.studio.workspace(home.evaluate("window.regstudioTab")).change_settings({**FRAGILE, "epochs": 1})
    steps = journeys.mended(home)
    next(steps)
    words = home.inner_text("#live .failure")
    assert "is not a finite number" in words
    assert "lower “lr”" in words
    assert home.inner_text("#live .state") == "Failed"
    home.reload()
    journeys.open_settings(home)
    home.locator("#live .failure").get_by_text("is not a finite number").wait_for()
    walked(steps)
    assert served.studio.job.run == served.studio.run("wild_2")
