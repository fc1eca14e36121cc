"""The Data tab in a browser."""

import shutil
import threading
import zipfile

import pytest

from regstudio.studio.studio import Studio
from regstudio.ui.tabs.data_handlers import QUICK
from tests.ui.acting import fill, open_tab, workspace

pytestmark = pytest.mark.browser

FIELD = "#data-folder input, #data-folder textarea"
ODD = "<img src=x onerror=alert(1)>${1+1}"


@pytest.fixture
def data(demo, tmp_path):
    """A copy of the demo data that a test may damage; the studio may open it."""
    return shutil.copytree(demo, tmp_path / "copy")


@pytest.fixture
def opened(studio_server, page):
    page.goto(studio_server.url)
    page.wait_for_selector("#data-overview .verdict.ready")
    return page


def choose(page, folder):
    fill(page, FIELD, str(folder))
    page.click("#data-open")


def verdict(page, state):
    return page.wait_for_selector(f"#data-overview .verdict.{state}").inner_text()


def toast(page, text):
    """Wait for the message and close it, as it lies over the page."""
    page.locator(".toast-body", has_text=text).wait_for()
    page.locator(".toast-body", has_text=text).get_by_role("button").first.click()


def test_bad_data_close_the_way_to_train_and_names_are_shown_as_they_are(studio, opened, data):
    odd = data / "moving" / f"{ODD}.png"
    shutil.copy(data / "fixed" / "atlas.png", odd)
    (data / "fixed" / "atlas.png").write_bytes(odd.read_bytes()[:60])
    (data / "moving" / "zz.png").write_bytes(b"no picture")
    choose(opened, data)
    assert "fixed/atlas.png" in verdict(opened, "blocked")
    assert opened.is_disabled("#data-train")
    opened.wait_for_function("document.querySelector('#data-problems')?.innerText.includes('Copy or export it again.')")
    opened.locator("#data-gallery").get_by_text(ODD).wait_for()
    assert opened.locator("img[src=x]").count() == 0
    problems = opened.locator("#data-problems li")
    assert problems.first.get_attribute("class") == "error"
    problems.filter(has_text="zz.png").get_by_role("button", name="Leave out").click()
    problems.filter(has_text="is left out as asked").wait_for()
    assert workspace(opened, studio).config.layout.leave_out == "moving/zz.png"
    opened.get_by_role("tab", name="Train").click()
    opened.click("#train-start")
    toast(opened, "The data cannot be trained on")
    assert studio.job.run is None


def test_names_are_changed_under_advanced_and_lead_nowhere_else(studio, opened, data, tmp_path, tmp_path_factory):
    before = workspace(opened, studio).config
    (tmp_path / "link").symlink_to(tmp_path_factory.mktemp("outside"))
    for folder in ("/etc", tmp_path / "link"):
        choose(opened, folder)
        assert "may not be opened from the page" in verdict(opened, "blocked")
        assert "goes on using" in verdict(opened, "blocked")
        choose(opened, before.layout.data_base_dir)
        verdict(opened, "ready")
    assert workspace(opened, studio).config == before
    (data / "moving").rename(data / "images")
    choose(opened, data)
    assert "moving" in verdict(opened, "blocked")
    opened.click("#data-names button")
    fill(opened, "#data-train_moving_subdir :is(input, textarea)", "images")
    opened.click("#data-apply")
    assert "4 images to train on" in verdict(opened, "ready")
    assert workspace(opened, studio).config.layout.train_moving_subdir == "images"
    fill(opened, "#data-fixed_subdir :is(input, textarea)", "../../..")
    opened.click("#data-apply")
    assert "may not be opened from the page" in verdict(opened, "blocked")
    opened.click("#data-reset")
    opened.locator("#data-overview").get_by_text("Training cannot start yet").wait_for()
    assert workspace(opened, studio).config.layout.train_moving_subdir == "moving"


def test_uploads_become_the_data_folder_or_are_refused(opened, demo, data, tmp_path):
    archive, bad = tmp_path / "my set.zip", tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as written:
        for path in data.rglob("*.*"):
            written.write(path, f"my set/{path.relative_to(data)}")
    with zipfile.ZipFile(bad, "w") as written:
        written.writestr("../moving/a.png", "x")
    opened.click("#data-upload button")

    def upload(path, name):
        opened.set_input_files("#upload-files input[type=file]", str(path))
        opened.wait_for_selector(f"#upload-files >> text={path.stem}")
        fill(opened, "#upload-name :is(input, textarea)", name)
        opened.click("#upload-send")

    upload(bad, "bad")
    toast(opened, "leads out of its folder. Nothing was unpacked.")
    opened.locator("#upload-files").get_by_label("Clear").last.click()
    upload(archive, "new")
    opened.wait_for_selector("#data-recent >> text=data_uploads/new")
    assert sorted(path.name for path in (tmp_path / "data_uploads").iterdir()) == ["new"]
    opened.click("#upload-role input")
    opened.get_by_role("option", name="folder of the atlas", exact=True).click()
    upload(demo / "fixed" / "atlas.png", "new")  # where it is already
    toast(opened, "a file of that name is there already")


def test_a_folder_is_found_by_clicking_and_a_reload_shows_it_again(studio, opened, data, tmp_path):
    (tmp_path / ODD).mkdir()
    opened.click("#data-browse button")
    opened.click(f"#data-start button:has-text('{tmp_path.name}')")
    opened.locator("#data-inside").get_by_text(ODD).wait_for()
    opened.click("#data-inside button:has-text('copy')")
    opened.wait_for_selector("#data-inside button:has-text('validation_moving_seg')")
    opened.click("#data-use")
    opened.wait_for_selector("#data-recent >> text=/copy$/")
    assert workspace(opened, studio).config.layout.data_base_dir == data
    fill(opened, FIELD, "")
    opened.click("#data-recent button:has-text('copy')")
    opened.wait_for_function("field => document.querySelector(field).value != ''", arg=FIELD)
    assert opened.input_value(FIELD) == str(data)
    opened.reload()
    opened.wait_for_selector("#data-gallery img")
    assert opened.input_value(FIELD) == str(data)
    assert opened.locator("#data-atlas img").count() == 1


SHOWN = "#data-overview table, #data-overview .legend, #data-atlas img, #data-problems li, #data-gallery img"


def test_what_cannot_be_opened_leaves_nothing_of_the_folder_before(opened, tmp_path, data):
    (data / "moving" / "zz.png").write_bytes(b"no picture")
    choose(opened, data)
    opened.locator("#data-problems li").first.wait_for()
    opened.locator("#data-gallery img").first.wait_for()
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for folder in (tmp_path / "nope", tmp_path / "file", "/etc", tmp_path / "circle", tmp_path / ("n" * 300), ""):
        choose(opened, folder)
        opened.wait_for_function(
            "shown => ![...document.querySelectorAll(shown)].some((part) => part.offsetParent)", arg=SHOWN
        )
        assert opened.is_disabled("#data-train"), folder
        assert opened.locator(".toast-body").count() == 0  # the message is where the findings were
    choose(opened, data)
    verdict(opened, "ready")
    opened.locator("#data-gallery img").first.wait_for()


def test_another_tab_and_a_duplicated_one_never_change_what_this_one_has_chosen(studio, opened, data):
    first = workspace(opened, studio).config.layout.data_base_dir
    other = opened.context.new_page()
    other.goto(opened.url)
    other.wait_for_selector("#data-overview .verdict.ready")
    choose(other, data)
    other.wait_for_function(
        "([field, folder]) => document.querySelector(field).value === folder", arg=[FIELD, str(data)]
    )
    other.wait_for_selector("#data-overview .verdict.ready")
    for page, folder in ((opened, first), (other, data)):
        page.reload()
        page.wait_for_selector("#data-overview .verdict.ready")
        assert page.input_value(FIELD) == str(folder)
        open_tab(page, "Train")
        page.wait_for_function(
            "folder => document.querySelector('#train-data textarea, #train-data input').value === folder",
            arg=str(folder),
        )
    other.close()

    name = opened.evaluate("window.regstudioTab")
    other = opened.context.new_page()  # with a copy of the first one's session, as browsers make it
    other.add_init_script(f"if (!sessionStorage.getItem('regstudio')) sessionStorage.setItem('regstudio', '{name}')")
    other.goto(opened.url.partition("#")[0])
    other.wait_for_selector("#data-overview .verdict.ready")
    assert other.evaluate("window.regstudioTab") != name == opened.evaluate("window.regstudioTab")
    other.close()


class TestEmpty:
    """Of a studio with no data yet."""

    @pytest.fixture
    def studio(self, tmp_path):
        empty = tmp_path / "data"
        return Studio(runs_dir=tmp_path / "runs", roots=(tmp_path,), demo_dir=empty, data_base_dir=empty)

    def test_demo_data_are_made_when_asked_for(self, studio_server, page):
        page.goto(studio_server.url)
        assert "Use demo data" in verdict(page, "empty")
        page.click("#data-demo")
        assert "24 images to train on" in verdict(page, "ready")


class SlowStudio(Studio):
    """Opens one file, and the rest once `go_on` is set."""

    go_on = threading.Event()

    def check(self, config, progress):
        def slowly(jobs):
            for job in progress(jobs):
                yield job
                self.go_on.wait(30)

        return super().check(config, slowly)


class TestLarge:
    """Of a data folder that takes long to open."""

    @pytest.fixture
    def studio(self, tmp_path, data):
        for number in range(QUICK):
            shutil.copy(data / "fixed" / "atlas.png", data / "moving" / f"copy_{number}.png")
        slow = SlowStudio(runs_dir=tmp_path / "runs", roots=(tmp_path,), demo_dir=data, data_base_dir=data)
        yield slow
        slow.go_on.set()  # else its threads would wait on beside the tests that follow

    def test_it_shows_its_pictures_before_all_files_are_opened(self, studio, studio_server, page):
        page.goto(studio_server.url)
        page.get_by_role("tab", name="Share").click()  # the page answers meanwhile
        page.locator("#share-start").wait_for()
        page.get_by_role("tab", name="Data").click()
        page.locator("#data-overview").get_by_text(f"0 of {QUICK + 7} opened").wait_for()
        page.wait_for_selector("#data-gallery img")
        studio.go_on.set()
        verdict(page, "ready")


def test_nothing_is_wider_than_a_phone(studio_server, page, data):
    (data / "moving" / "a_rather_long_name_without_any_spaces_in_it.png").write_bytes(b"no picture")
    studio_server.studio.workspace().change_settings({"data_base_dir": data})
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(f"{studio_server.url}?__theme=dark")
    page.wait_for_selector("#data-gallery img")
    assert page.evaluate("document.body.classList.contains('dark')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    open_tab(page, "Share")
    page.locator("#share-start").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
