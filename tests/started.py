"""`python app.py` as whoever hosts it starts it, and a program that asks it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import ROOT

START = 300.0  # seconds that a busy machine may take to start it
ANSWER = 120.0  # and to answer


class Started:
    """A page in a process of its own, with the models that come along."""

    def __init__(self, log: Path, environment: Mapping[str, str], *arguments: str):
        self._log = log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "app.py", "--port", str(port), "--device", "cpu", *arguments]
        surroundings = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", **environment}
        with log.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=surroundings
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}/", timeout=ANSWER)

    @property
    def log(self) -> str:
        """What it wrote by now."""
        return self._log.read_text()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Its lines about requests that are over."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def wait_until_ready(self) -> None:
        """Until its models have run once."""
        until, status = time.monotonic() + START, 0
        while status != 200:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < until, self.log
            time.sleep(0.1)
            try:
                status = self.http.get("healthz").status_code
            except httpx.HTTPError:
                continue

    def wait_for_line(self, request: str, ended: str) -> dict[str, Any]:
        """The line of a request that ended so."""
        until = time.monotonic() + ANSWER
        while time.monotonic() < until:
            for line in self.requests:
                if (line["request"], line["ended"]) == (request, ended):
                    return line
            time.sleep(0.1)
        raise AssertionError(f"No {request} is {ended}: {self.log}")

    def upload(self, name: str, data: bytes) -> dict[str, Any]:
        """A file as its endpoints take it."""
        (path,) = self.http.post("gradio_api/upload", files={"files": (name, data)}).raise_for_status().json()
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def ask(self, endpoint: str, **values: Any) -> str:
        """Begins a call; the address of its answer."""
        answer = self.http.post(f"gradio_api/call/v2/{endpoint}", json=values).raise_for_status()
        return f"gradio_api/call/v2/{endpoint}/{answer.json()['event_id']}"

    def answer(self, address: str) -> tuple[Any, str]:
        """(what came of a call, ""), or (None, why nothing did)."""
        text = self.http.get(address).text
        (event, data) = re.findall(r"event: (complete|error)\ndata: (.*)\n", text)[-1]
        said = json.loads(data)
        if event == "complete":
            return said, ""
        return None, said["error"] if isinstance(said, dict) else said

    def call(self, endpoint: str, **values: Any) -> tuple[Any, str]:
        """Asks and waits for the answer."""
        return self.answer(self.ask(endpoint, **values))

    def press_download(self, model: str) -> Iterator[str]:
        """What the page shows while it downloads a model, and behind it."""
        config = self.http.get("config").json()
        values = {part["id"]: part["props"] for part in config["components"]}
        (event,) = (
            one
            for one in config["dependencies"]
            if str(one["api_name"]).startswith("download")
            and len(one["inputs"]) == 3  # the row, the list of models, and how often one was ready
            and model in [choice[1] for choice in values[one["inputs"][1]].get("choices") or ()]
            and values[one["inputs"][1]]["elem_id"] != "tracker"  # some are of the same name and files
            and [kind for _, kind in one["targets"]] == ["click"]
        )
        me = f"visitor {time.monotonic()}"
        body = {"data": [None, model, 0], "fn_index": event["id"], "session_hash": me}
        self.http.post("gradio_api/queue/join", json=body).raise_for_status()
        with self.http.stream("GET", "gradio_api/queue/data", params={"session_hash": me}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:") or "{}")
                if message.get("msg") in ("process_generating", "process_completed"):
                    data = (message.get("output") or {}).get("data") or [""]
                    yield data[0] if isinstance(data[0], str) else str(data[0])
                if message.get("msg") == "process_completed":
                    return

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends it by a signal; its status."""
        self.process.send_signal(how)
        return self.process.wait(60)


@contextmanager
def started(log: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[Started]:
    """A page that is ready; it ends with the test."""
    server = Started(log, environment, *arguments)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.process.kill()
        server.process.wait()
