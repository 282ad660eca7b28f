"""Pictures that are named by their address."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from groundingdino.page import fetching
from groundingdino.page.fetching import with_fetched

META = {"_type": "gradio.FileData"}


class Web(BaseHTTPRequestHandler):
    """Pictures of many bytes, and what leads elsewhere."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers["Host"])
        name = self.path.strip("/")
        if name.isdigit():
            self.send_response(200)
            self.end_headers()
            self.wfile.write(bytes(int(name)))
        elif name.startswith("to="):
            self.send_response(302)
            self.send_header("Location", name.removeprefix("to="))
            self.end_headers()
        elif name == "circle":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
        elif name != "silent":
            self.send_error(404)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server that counts as public, though it is this machine: only by the number 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(fetching, "_is_public", lambda number: number == "127.0.0.1")
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(address: str, most: int | None = 1000) -> Any:
    (value,) = asyncio.run(with_fetched([{"path": address, "meta": META}], most))
    return value


@pytest.mark.parametrize("path", ["1000", "to=/1000", "to=1000"])
def test_a_picture_is_fetched(web: str, path: str):
    value = fetch(f"{web}/{path}")
    assert value["meta"] == META
    assert Path(value["path"]).read_bytes() == bytes(1000)
    assert Web.asked[-1] == web.removeprefix("http://")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("1001", "The picture is too large: more than 0.001 MB"),
        ("nothing", "its server answers 404"),
        ("to=http://127.0.0.2/1", "its server is not a public one"),
        ("to=file:///etc/hostname", "its address is neither http nor https"),
        ("silent", "The picture cannot be fetched from its address"),
    ],
)
def test_what_cannot_be_fetched_is_told(web: str, path: str, message: str):
    with pytest.raises(ValueError, match=message):
        fetch(f"{web}/{path}")


def test_a_circle_of_addresses_ends(web: str):
    with pytest.raises(ValueError, match="leads from one to the next"):
        fetch(f"{web}/circle")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "0.0.0.0",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "100.64.0.1",
        "[fd00::1]",
        "224.0.0.1",
    ],
)
def test_the_hosts_own_network_is_not_asked(host: str):
    with pytest.raises(ValueError, match=r"its server is not a public one|there is no server of that name"):
        fetch(f"http://{host}/x.png")


def test_a_name_that_nobody_has_is_told():
    with pytest.raises(ValueError, match="there is no server of that name"):
        fetch("http://nowhere.invalid/x.png")


def test_a_host_may_have_nothing_fetched(web: str):
    with pytest.raises(ValueError, match="This server fetches no pictures"):
        fetch(f"{web}/10", most=None)


@pytest.mark.parametrize("value", [[{"path": "http://127.0.0.1/x"}], {"a": [{"path": "HTTPS://127.0.0.1/x"}]}])
def test_an_address_within_a_list_is_not_fetched(value):
    with pytest.raises(ValueError, match="named where none belongs"):
        asyncio.run(with_fetched([value], 1000))


@pytest.mark.parametrize("value", [None, "http://127.0.0.1", 3, {"path": "/tmp/a.png"}, [[1, 2]], {"path": None}])
def test_all_else_stays_as_it_is(value):
    assert asyncio.run(with_fetched([value], 1000)) == [value]
