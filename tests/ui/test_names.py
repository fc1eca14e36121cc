"""Names of files and runs are shown as they are, on every tab: never as markup, never as a template."""

import shutil

import pytest

from regstudio.config import build_config
from regstudio.training.trainer import train
from tests.training.whole_training import QUICK, index_of

ODD = "<img src=x onerror=alert(1)>${1+1}{{2}}"


@pytest.fixture
def odd(studio, demo, tmp_path):
    """The studio has odd data, and a run of an odd name that was trained on them."""
    data = shutil.copytree(demo, tmp_path / ODD)
    for folder, suffix in (("validation_moving", ""), ("validation_moving_seg", "_seg")):
        for path in list((data / folder).iterdir())[:1]:
            path.rename(path.with_name(f"{ODD}{suffix}{''.join(path.suffixes)}"))
    config = build_config({"data_base_dir": data, "runs_dir": studio.runs_dir, "run_name": "run", "epochs": 1, **QUICK})
    list(train(config, index_of(config)))
    (studio.runs_dir / "run").rename(studio.runs_dir / ODD)
    studio.workspace().change_settings({"data_base_dir": data})


@pytest.mark.browser
@pytest.mark.usefixtures("odd")
def test_odd_names_are_text_on_every_tab(studio_server, page):
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(studio_server.url)
    page.wait_for_selector("#data-overview .verdict.ready")
    page.click("#data-browse button")
    page.locator("#data-start").wait_for()
    page.get_by_role("tab", name="Train").click()
    page.locator("#train-start").wait_for()
    page.get_by_role("tab", name="Runs").click()
    page.locator("#runs-table [role=gridcell]", has_text=ODD).first.click()
    page.locator("#runs-selected").get_by_text(ODD).wait_for()
    page.get_by_role("tab", name="Viewer").click()
    page.wait_for_selector("#viewer-canvas .viewer[data-state=open]", timeout=30_000)
    page.locator("#viewer-case input").click()
    page.get_by_role("option").filter(has_text=ODD).first.click()
    page.wait_for_selector("#viewer-canvas .viewer[data-state=open]", timeout=30_000)
    page.get_by_role("tab", name="Share").click()
    page.locator("#share-runs input").click()
    page.get_by_role("option").filter(has_text=ODD).first.wait_for()
    assert page.locator("img[src=x]").count() == 0
    assert not dialogs
