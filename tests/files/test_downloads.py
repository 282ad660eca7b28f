import hashlib
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from groundingdino.files import downloads
from groundingdino.files.downloads import WebFile, cached, fetch

CONTENT = bytes(range(256)) * 20_000  # 5 MB


@dataclass
class FakeSite:
    """One file on a server of this machine, which misbehaves on request."""

    content: bytes = CONTENT
    cut_after: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    status: int = 200
    busy: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # status and headers of the next answers
    headers: list[dict[str, str]] = field(default_factory=list)  # of each request
    file: WebFile | None = None


class Handler(BaseHTTPRequestHandler):
    site: FakeSite

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.site.headers.append({name.lower(): value for name, value in self.headers.items()})
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if self.site.busy:
            status, headers = self.site.busy.pop(0)
            return self.refuse(status, headers)
        if start >= len(self.site.content):
            return self.refuse(416, {"Content-Range": f"bytes */{len(self.site.content)}"})
        self.send_response(self.site.status if self.site.status != 200 else 206 if start else 200)
        self.send_header("Content-Length", str(len(self.site.content) - start))
        self.end_headers()
        part = self.site.content[start:]
        self.wfile.write(part[: self.site.cut_after.pop(0)] if self.site.cut_after else part)
        return None

    def refuse(self, status: int, headers: dict[str, str]):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture
def site(monkeypatch, tmp_path):
    fake = FakeSite()
    service = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"site": fake}))
    threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{service.server_port}/models/weights.pth"
    fake.file = WebFile(url, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(downloads, "PAUSE", 0)
    yield fake
    service.shutdown()
    service.server_close()


def test_a_file_is_downloaded_once_with_progress(site, tmp_path):
    reports = []
    assert cached(site.file) is None
    path = fetch(site.file, progress=lambda *report: reports.append(report))
    assert path == tmp_path / "home" / "downloads" / "weights.pth"
    assert path.read_bytes() == CONTENT
    done = [report[0] for report in reports]
    assert (done[0], done[-1]) == (0, len(CONTENT))
    assert done == sorted(done)
    assert {report[1:] for report in reports} == {(len(CONTENT), "downloading weights.pth")}
    assert fetch(site.file, local_files_only=True) == cached(site.file) == path
    assert len(site.headers) == 1


def test_a_broken_download_continues(site):
    site.cut_after = [2_000_000]
    assert fetch(site.file).read_bytes() == CONTENT
    assert [headers.get("range") for headers in site.headers] == [None, "bytes=2000000-"]


def test_what_has_arrived_is_kept_for_the_next_try(site):
    site.cut_after = [3_000_000, *[0] * downloads.ATTEMPTS]
    with pytest.raises(
        ValueError, match=r"'weights.pth' could not be downloaded .* try again, what has arrived is kept"
    ):
        fetch(site.file)
    assert fetch(site.file).read_bytes() == CONTENT
    assert site.headers[-1]["range"] == "bytes=3000000-"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status, site):
    site.busy = [(status, {})] * (downloads.ATTEMPTS - 1)
    assert fetch(site.file).read_bytes() == CONTENT
    assert len(site.headers) == downloads.ATTEMPTS


def test_a_server_that_stays_busy_is_given_up(site):
    site.busy = [(503, {})] * 100
    with pytest.raises(ValueError, match=r"could not be downloaded .*503.*: the server is busy, try again later"):
        fetch(site.file)
    assert len(site.headers) == downloads.ATTEMPTS


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Seconds between attempts, which pass at once."""
    passed = [0.0]
    monkeypatch.setattr(downloads, "PAUSE", 1.0)
    monkeypatch.setattr(downloads, "_TICK", 1e9)
    monkeypatch.setattr(downloads.time, "monotonic", lambda: sum(passed))
    monkeypatch.setattr(downloads.time, "sleep", passed.append)
    return passed


def test_each_pause_for_a_busy_server_is_longer(site, waits):
    site.busy = [(503, {})] * 4
    fetch(site.file)
    assert waits[1:] == [1, 2, 4, 8]


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "7"},
        {"Retry-After": "Sun, 09 Sep 2001 01:46:47 GMT"},
        {"ratelimit": '"api";r=0;t=7', "Retry-After": "1"},
    ],
)
def test_a_busy_server_is_left_alone_as_long_as_it_asks(headers, site, waits, monkeypatch):
    monkeypatch.setattr(downloads.time, "time", lambda: 1e9)  # Sun, 09 Sep 2001 01:46:40 GMT
    site.busy = [(429, headers)]
    fetch(site.file)
    assert waits[1:] == [7]


@pytest.mark.parametrize("told", ["-3", "soon", "", "Wed, 99 Oct 2015 07:28:00 GMT"])
def test_a_pause_that_cannot_be_read_is_the_usual_one(told, site, waits):
    site.busy = [(503, {"Retry-After": told})]
    fetch(site.file)
    assert waits[1:] == [1]


def test_a_server_that_wants_to_rest_for_long_is_not_waited_for(site, waits):
    site.busy = [(429, {"Retry-After": "600"})]
    with pytest.raises(ValueError, match="the server is busy, try again in 10 minutes, what has arrived is kept"):
        fetch(site.file)
    assert waits[1:] == []


def test_a_download_can_be_given_up_while_it_waits(site, monkeypatch):
    class GivenUp(Exception):
        pass

    calls = []

    def stop(*report):
        calls.append(report)
        if len(calls) > 3:
            raise GivenUp

    monkeypatch.setattr(downloads, "_TICK", 0.01)
    site.busy = [(503, {"Retry-After": "50"})]
    started = time.monotonic()
    with pytest.raises(GivenUp):
        fetch(site.file, progress=stop)
    assert time.monotonic() - started < 30
    assert len(site.headers) == 1


def download_without_size(site, tmp_path):
    path = tmp_path / "weights.pth"
    checksum = hashlib.sha256(site.content).hexdigest()
    downloads.download(site.file.url, path, tmp_path / "lock", None, checksum, "It", lambda _: None)
    return path.read_bytes()


def test_a_file_that_had_arrived_whole_is_taken_where_its_size_is_unknown(site, tmp_path):
    (tmp_path / "weights.pth.incomplete").write_bytes(CONTENT)
    assert download_without_size(site, tmp_path) == CONTENT
    assert [headers.get("range") for headers in site.headers] == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("arrived", [CONTENT + b"more", b"?" * len(CONTENT)], ids=["longer", "other"])
def test_what_had_arrived_and_is_not_the_file_is_fetched_anew(arrived, site, tmp_path):
    (tmp_path / "weights.pth.incomplete").write_bytes(arrived)
    for _ in range(2):
        with suppress(ValueError):  # "arrived damaged ... and was removed: try again"
            assert download_without_size(site, tmp_path) == CONTENT
            return
    pytest.fail("It never ends.")


def test_a_server_with_less_than_was_published_does_not_block_a_later_try(site):
    site.content = CONTENT[:1000]
    (folder := site.file.path.parent).mkdir(parents=True)
    (folder / "weights.pth.incomplete").write_bytes(CONTENT[:1000])
    with pytest.raises(ValueError, match=r"arrived damaged .it has 1000 bytes instead of 5120000. and was removed"):
        fetch(site.file)
    site.content = CONTENT
    assert fetch(site.file).read_bytes() == CONTENT


def test_no_token_of_the_hub_goes_elsewhere(site, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(site.file)
    assert "authorization" not in site.headers[0]


def test_a_damaged_file_is_removed(site):
    site.content = CONTENT[:-1] + b"?"
    with pytest.raises(ValueError, match=r"'weights.pth' arrived damaged .its checksum is wrong. and was removed"):
        fetch(site.file)
    site.content = CONTENT
    assert fetch(site.file).read_bytes() == CONTENT


def test_a_file_cut_short_on_this_machine_is_not_taken(site):
    path = fetch(site.file)
    path.write_bytes(CONTENT[:100])
    assert cached(site.file) is None
    assert fetch(site.file).read_bytes() == CONTENT


def test_downloads_can_be_switched_off(site, monkeypatch):
    with pytest.raises(
        ValueError, match=r"switched off by local_files_only: .*, or fetch http://127.0.0.1\S+ on a conn"
    ):
        fetch(site.file, local_files_only=True)
    monkeypatch.setattr(downloads, "is_offline_mode", lambda: True)
    with pytest.raises(ValueError, match=r"downloads are switched off"):
        fetch(site.file)
    assert site.headers == []


def test_an_answer_that_is_no_file_is_one_sentence(site):
    site.status = 403
    with pytest.raises(ValueError, match=r"could not be downloaded .*403"):
        fetch(site.file)


def test_a_folder_that_cannot_be_written_is_one_sentence(site, tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(ValueError, match=r"could not be saved in"):
        fetch(site.file)
