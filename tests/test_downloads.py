import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from groundingdino import downloads
from groundingdino.downloads import WebFile, cached, fetch

CONTENT = bytes(range(256)) * 20_000  # 5 MB


@dataclass
class FakeSite:
    """One file on a server of this machine, which misbehaves on request."""

    content: bytes = CONTENT
    cut_after: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    status: int = 200
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
        self.send_response(self.site.status if self.site.status != 200 else 206 if start else 200)
        self.send_header("Content-Length", str(len(self.site.content) - start))
        self.end_headers()
        part = self.site.content[start:]
        self.wfile.write(part[: self.site.cut_after.pop(0)] if self.site.cut_after else part)


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
    with pytest.raises(ValueError, match=r"downloads are switched off: allow them once, or fetch http://127.0.0.1"):
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
