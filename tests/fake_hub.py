"""The Hugging Face hub as a server of this machine."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from groundingdino.files import downloads

COMMIT = "c0ffee" + "0" * 34
NO_WEIGHTS = (2).to_bytes(8, "little") + b"{}"  # a whole .safetensors file in which there are none


@dataclass
class FakeHub:
    """Answers as the Hugging Face hub does, on this machine, and misbehaves on request."""

    files: dict[str, bytes] = field(default_factory=dict)  # "owner/name/file" -> content
    cut_after: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    served: dict[str, bytes] = field(default_factory=dict)  # content sent in place of what was announced
    ignores_ranges: bool = False
    busy: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # status and headers of the next answers
    holds_after: int | None = None  # bytes of the next answer that is longer, whose rest waits for `let_go`
    let_go: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, file, range
    url: str = ""

    def bytes_sent(self) -> list[str]:
        return [start or "bytes=0-" for method, _, start in self.requests if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(with_content=False)

    def do_GET(self):
        self.answer(with_content=True)

    def answer(self, with_content: bool):
        if "/resolve/" not in self.path:  # huggingface_hub asks for a thing or two of its own
            return self.refuse("EntryNotFound")
        owner, name, _, revision, filename = self.path.lstrip("/").split("/", 4)
        key = f"{owner}/{name}/{filename}"
        self.hub.requests.append((self.command, key, self.headers.get("Range")))
        if self.hub.busy:
            status, headers = self.hub.busy.pop(0)
            return self.refuse("", status, headers)
        if not any(file.startswith(f"{owner}/{name}/") for file in self.hub.files):
            return self.refuse("RepoNotFound")
        if revision not in ("main", COMMIT):
            return self.refuse("RevisionNotFound")
        if key not in self.hub.files:
            return self.refuse("EntryNotFound")
        content = self.hub.files[key]
        start = 0
        if with_content:
            content = self.hub.served.get(key, content)
            if (asked := self.headers.get("Range")) and not self.hub.ignores_ranges:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(self.hub.files[key]).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if with_content:
            part = content[start:]
            self.write(part[: self.hub.cut_after.pop(0)] if self.hub.cut_after else part)
        return None

    def write(self, part: bytes):
        held = self.hub.holds_after
        with suppress(ConnectionError):  # whoever asked was killed
            if held is not None and len(part) > held:
                self.hub.holds_after = None
                self.wfile.write(part[:held])
                self.hub.let_go.wait(300)
                part = part[held:]
            self.wfile.write(part)

    def refuse(self, code: str, status: int = 404, headers: dict[str, str] | None = None):
        self.send_response(status)
        for name, value in {"X-Error-Code": code, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serving_hub() -> Iterator[FakeHub]:
    """An empty hub, for programs whose HF_ENDPOINT it is."""
    fake = FakeHub()
    service = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": fake}))
    threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
    fake.url = f"http://127.0.0.1:{service.server_port}"
    try:
        yield fake
    finally:
        fake.let_go.set()
        service.shutdown()
        service.server_close()


@contextmanager
def running_hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FakeHub]:
    """An empty hub, which is taken for the real one; what is fetched from it is kept in the folder."""
    # huggingface_hub reads HF_ENDPOINT and HF_HUB_CACHE once, when it is imported.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # whatever the environment says
    with serving_hub() as fake:
        template = fake.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", fake.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
        monkeypatch.setattr(downloads, "PAUSE", 0)
        yield fake
