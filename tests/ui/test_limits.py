"""Passwords tried too often, uploads that are cut off, and connections that say nothing: without a browser."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import pytest
from gradio.utils import get_upload_folder

from regstudio.ui.server import limits, timeouts
from regstudio.ui.server.serving import ServedPage, serve
from tests.browser import unused_port

LOGIN = ("regstudio", "right")


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedPage]:
    """A small page behind a login, with less patience than usual."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr(timeouts.PatientProtocol, "head_seconds", 1.0)
    monkeypatch.setattr(timeouts.PatientProtocol, "body_seconds", 1.5)
    with gr.Blocks(analytics_enabled=False) as app:
        gr.File()
    served = serve(app, port=unused_port(), login=LOGIN)
    yield served
    served.close()


def try_password(page: ServedPage, password: str, **headers: str) -> httpx.Response:
    form = {"username": LOGIN[0], "password": password}
    return httpx.post(f"{page.url}login", data=form, headers=headers)


def test_five_wrong_passwords_a_minute_are_looked_at(page: ServedPage, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(7):
        assert try_password(page, "right").status_code == 200  # right ones do not count
    codes = [try_password(page, "wrong", **{"x-forwarded-for": f"10.0.0.{n}"}).status_code for n in range(8)]
    assert codes == [400] * 5 + [429] * 3
    refused = try_password(page, "right")  # else a guess could still be told from the others
    assert refused.status_code == 429
    assert "Too many wrong passwords. Try again in" in refused.json()["detail"]
    assert 0 < int(refused.headers["retry-after"]) <= 60
    monkeypatch.setattr(limits, "WINDOW_SECONDS", 0.0)
    assert try_password(page, "right").status_code == 200


def test_networks_of_ipv6_count_as_one_and_addresses_of_others_do_not() -> None:
    def network(host: str) -> str:
        return limits._network({"type": "http", "client": (host, 1)})

    assert network("2001:db8::1") == network("2001:db8::ffff") != network("2001:db8:0:1::1")
    assert network("10.0.0.1") != network("10.0.0.2")


def connected(page: ServedPage, text: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", page.port), timeout=10)
    connection.sendall(text)
    return connection


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nhost: x\r\n",
        b"POST /login HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n",
    ],
)
def test_a_request_that_does_not_end_is_cut_off(page: ServedPage, text: bytes) -> None:
    started = time.monotonic()
    with connected(page, text) as connection:
        try:
            while connection.recv(4096):
                pass
        except ConnectionResetError:
            pass
    assert time.monotonic() - started < 8


def test_one_that_drips_is_cut_off_and_one_that_is_used_is_not(page: ServedPage) -> None:
    with connected(page, b"GET / HTTP/1.1\r\n") as slow, httpx.Client() as client:
        started, refused = time.monotonic(), False
        while time.monotonic() - started < 4 and not refused:
            assert client.get(f"{page.url}gradio_api/login_check").status_code == 401
            try:
                slow.sendall(b"a: b\r\n")
            except OSError:
                refused = True
            time.sleep(0.3)
        assert refused


def test_an_upload_that_is_cut_off_leaves_nothing(page: ServedPage) -> None:
    token = "; ".join(f"{name}={value}" for name, value in try_password(page, "right").cookies.items())
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: multipart/form-data; boundary=b\r\n"
        f"cookie: {token}\r\ncontent-length: 9000000\r\n\r\n"
        '--b\r\ncontent-disposition: form-data; name="files"; filename="a.zip"\r\n\r\n'
    )
    folder = Path(get_upload_folder())
    for ending in ("close", "stall"):
        with connected(page, head.encode() + b"x" * 2_000_000) as connection:
            wait_for(lambda: any(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
            if ending == "stall":
                wait_for(lambda: not list(folder.rglob("*")))
                assert connection.fileno() >= 0
        wait_for(lambda: not [path for path in folder.rglob("*") if path.is_file()])


def wait_for(holds) -> None:
    give_up = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.05)
