import re

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from regstudio.ui.server.guard import Guard

EVIL = "http://evil.example"
OWN = "http://127.0.0.1:7860"
NAVIGATED = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}


def answered(method="GET", names=("127.0.0.1", "localhost"), addresses=False, **headers):
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("here"), methods=["GET", "POST", "OPTIONS"])])
    client = TestClient(Guard(app, names, addresses=addresses), base_url=OWN)
    return client.request(method, "/", headers={key.replace("_", "-"): value for key, value in headers.items()})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:7860", "localhost:1", "LOCALHOST"])
def test_it_answers_to_its_own_names(host):
    assert answered(host=host).text == "here"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "[", "192.168.1.2"]
)
def test_it_does_not_answer_to_other_names(host):
    refused = answered(host=host)
    assert refused.status_code == 400
    assert "terminal" in refused.text


@pytest.mark.parametrize(("host", "code"), [("192.168.1.2:80", 200), ("[fe80::1]:80", 200), ("evil.example", 400)])
def test_a_page_for_the_network_answers_to_addresses_but_not_to_any_name(host, code):
    assert answered(host=host, addresses=True).status_code == code


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("origin", [EVIL, "null", "http://127.0.0.1:8888", "http://localhost:7860"])
def test_other_sites_may_not_ask(method, origin):
    assert answered(method, origin=origin).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_not_embed(site):
    assert answered(sec_fetch_site=site, sec_fetch_mode="no-cors").status_code == 403


def test_the_page_itself_may_ask_and_links_may_lead_to_it():
    assert answered("POST", origin=OWN, sec_fetch_site="same-origin").status_code == 200
    assert answered(**NAVIGATED).status_code == 200
    assert answered("POST").status_code == 200  # no browser at all


def test_a_form_of_another_site_is_no_link():
    assert answered("POST", origin=EVIL, **NAVIGATED).status_code == 403


def test_behind_a_login_and_a_tunnel_the_browser_says_whose_question_it_is():
    behind = {"names": None, "host": "127.0.0.1:7860"}
    assert answered("POST", origin="https://x.gradio.live", sec_fetch_site="same-origin", **behind).status_code == 200
    assert (
        answered("POST", origin=EVIL, sec_fetch_site="cross-site", sec_fetch_mode="cors", **behind).status_code == 403
    )
    assert answered("POST", origin=EVIL, **NAVIGATED, **behind).status_code == 403
    assert answered("POST", origin=EVIL, **behind).status_code == 403
    forwarded = {"x_forwarded_host": "x.gradio.live", **behind}
    assert answered("POST", origin="https://x.gradio.live", **forwarded).status_code == 200


def test_no_other_site_may_frame_the_page_and_it_may_load_from_nowhere_else():
    policy = answered().headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy
    assert not re.search(r"https?:|\*", policy)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("gradio_api/queue/join", '{"fn_index": 0, "data": [], "session_hash": "x"}'),
        ("gradio_api/component_server", '{"component_id": 1, "fn_name": "opened", "data": {}}'),
        ("gradio_api/upload", "x"),
    ],
)
def test_the_served_page_takes_no_questions_of_other_sites(untouched_server, path, content):
    """text/plain needs no leave to be sent from one site to another."""
    headers = {"origin": EVIL, "content-type": "text/plain"}
    assert httpx.post(untouched_server.url + path, content=content, headers=headers).status_code == 403
    preflight = {"origin": EVIL, "access-control-request-method": "POST"}
    assert "access-control-allow-origin" not in httpx.options(untouched_server.url + path, headers=preflight).headers


def test_files_of_the_machine_are_not_served(untouched_server):
    """Only what lies in assets/ and what gradio itself has made: not the roots, the working folder, or the runs."""
    root, *_ = untouched_server.studio.roots
    (root / "secret.png").write_bytes(b"secret")
    atlas = untouched_server.studio.demo_dir / "fixed" / "atlas.png"
    for path in (root / "secret.png", atlas, "pyproject.toml", "/etc/passwd", "../../../etc/passwd"):
        assert httpx.get(f"{untouched_server.url}gradio_api/file={path}").status_code in (403, 404), path


def test_a_file_field_takes_no_path_of_the_machine(untouched_server):
    """What was not uploaded is refused before any handler sees it."""
    root, *_ = untouched_server.studio.roots
    (root / "secret.zip").write_bytes(b"secret")
    config = httpx.get(untouched_server.url + "config").json()
    ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
    send = next(d for d in config["dependencies"] if (ids["upload-send"], "click") in map(tuple, d["targets"]))
    body = {
        "fn_index": send["id"],
        "session_hash": "x",
        "data": [[{"path": str(root / "secret.zip"), "meta": {"_type": "gradio.FileData"}}], "taken", None],
    }
    httpx.post(untouched_server.url + "gradio_api/queue/join", json=body)
    answer = httpx.get(untouched_server.url + "gradio_api/queue/data", params={"session_hash": "x"}, timeout=20).text
    assert "process_completed" in answer
    assert '"success":false' in answer.replace(" ", "")
    assert not (root / "data_uploads").exists()
