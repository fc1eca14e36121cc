"""The Share tab in a browser."""

import httpx
import pytest
from gradio import tunneling

from regstudio.runs.run import Run
from regstudio.studio.sharing import Share
from regstudio.ui.app import build_app, serve_viewer
from regstudio.ui.server.serving import serve
from regstudio.ui.server.tunnel import GradioTunnel
from tests.browser import unused_port
from tests.studio.test_sharing import FRPC, UNUSED
from tests.ui.acting import fill

pytestmark = pytest.mark.browser


class NoRoute:
    """The tunnel of a machine that is offline."""

    def open(self, port, token):
        raise ConnectionError("no route")

    def close(self, token):
        pass


@pytest.fixture
def tab(studio, quick_config, page):
    """Opens the Share tab of a studio with a run, and with this tunnel."""
    run = Run(studio.runs_dir / "shown")
    run.path.mkdir(parents=True)
    run.write_config(quick_config())
    opened = []

    def open_tab(tunnel):
        share = Share(studio, serve_viewer, tunnel)
        served = serve(build_app(studio, share), port=unused_port())
        opened.append((share, served))
        page.goto(served.url)
        page.get_by_role("tab", name="Share").click()
        return page

    yield open_tab
    for share, served in opened:
        share.stop()
        served.close()


def value(page, name):
    return page.locator(name).locator("input, textarea").input_value()


def test_the_tab_starts_and_stops_sharing(tab, browser, tunnel):
    tunnel(FRPC)
    page = tab(GradioTunnel(server=UNUSED))
    page.locator("#share-start").click()
    page.wait_for_function(
        "document.querySelector('#share-link input, #share-link textarea')?.value.includes('fake.example')"
    )
    port = tunneling.CURRENT_TUNNELS[-1].local_port
    password = value(page, "#share-password")
    assert len(password) >= 20
    look_as_a_guest(browser, f"http://127.0.0.1:{port}", value(page, "#share-user"), password)
    page.locator("#share-stop").click()
    page.get_by_text("Nothing is shared.").wait_for()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}")


def look_as_a_guest(browser, url, user, password):
    """Log in, and find the viewer of the shared run without anything that changes or opens more."""
    with browser.new_context() as context:
        guest = context.new_page()
        guest.goto(url)
        fill(guest, "input", user)
        fill(guest, "input[type=password]", password)
        guest.get_by_role("button", name="Login").click()
        guest.locator("#viewer-canvas").wait_for()
        assert guest.get_by_role("tab").count() == 0
        for name in ("viewer-path", "viewer-register", "data-folder", "train-start", "runs-delete", "share-start"):
            assert not guest.locator(f"#{name}").is_visible(), name


def test_offline_the_tab_says_why_there_is_no_link(tab):
    page = tab(NoRoute())
    page.locator("#share-start").click()
    page.get_by_text("No public link: no route (ConnectionError). The studio on this machine goes on.").wait_for()
    assert page.locator("#share-start").is_enabled()
    assert not page.locator("#share-link").is_visible()


def test_without_a_run_tabs_say_with_a_picture_what_to_do_instead_of_failing(page, untouched_server):
    page.goto(untouched_server.url)
    for tab, words in (("Runs", "There are no runs yet"), ("Apply", "Nothing is registered yet")):
        page.get_by_role("tab", name=tab).click()
        page.locator(f"#{tab.lower()}-empty").get_by_text(words).wait_for()
        assert page.locator(f"#{tab.lower()}-empty svg").is_visible()
    page.get_by_role("tab", name="Share").click()
    page.locator("#share-empty").get_by_text("There is no run to share yet").wait_for()
    assert page.locator("#share-empty svg").is_visible()
    assert page.is_disabled("#share-start")
    page.set_viewport_size({"width": 390, "height": 800})
    page.evaluate("location.hash = 'runs'")
    page.locator("#runs-by-data").wait_for()
    assert page.locator("#runs-by-data label").bounding_box()["height"] < 30  # in one line
