"""Whether it is ready, its end, and its files."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.utils import Status

import app
from groundingdino.page import operation as page_operation
from groundingdino.page.operation import ENDING, KEEP, Operation, sweep
from tests.oracle import Oracle
from tests.test_app import CAT, SIZE, studio_of


def test_old_files_are_swept_away_and_others_stay(tmp_path: Path):
    ages = {
        "a/old.png": KEEP + 60,
        "a/b/older.png": 2 * KEEP,
        "c/new.png": 0,
        "c/old.png": KEEP + 60,
        "d/used.png": KEEP - 60,
    }
    for name, age in ages.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    for folder in ("a", "a/b"):
        os.utime(tmp_path / folder, (0, 0))
    assert sweep(tmp_path) == 3
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")} == {"c/new.png", "d/used.png"}
    assert sweep(tmp_path / "nowhere") == 0


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    (tmp_path / "examples.json").write_text('[{"file": "cats.png", "prompt": "cat"}]')
    return tmp_path


@pytest.fixture
def served(examples: Path) -> Iterator[tuple[gr.Blocks, Operation]]:
    """A page whose models have not run yet."""
    studio = studio_of(Oracle({SIZE: {"cat": [(0.9, CAT)]}}))
    operation, demo = Operation(studio), app.build(studio, examples=examples)
    app.serve(demo, None, operation, prevent_thread_lock=True, quiet=True)
    yield demo, operation
    demo.close()


def test_health_says_whether_it_is_ready(served: tuple[gr.Blocks, Operation], monkeypatch):
    demo, operation = served

    def health() -> tuple[int, dict[str, Any]]:
        answer = httpx.get(f"{demo.local_url}healthz")
        return answer.status_code, answer.json()

    nothing: dict[str, list[str]] = {"detect": [], "segment": [], "inpaint": [], "track": []}
    assert health() == (503, {"status": "starting", "models": nothing, "queue": {"running": 0, "waiting": 0}})
    operation.studio.detectors.get("embedded")
    operation.warm.set()
    status, record = health()
    assert (status, record["status"], record["models"]["detect"]) == (200, "ready", ["embedded"])
    monkeypatch.setattr(demo._queue, "active_jobs", [[object()], None])
    assert health()[1]["queue"]["running"] == 1
    monkeypatch.undo()
    operation.ending.set()
    assert health()[0] == 503


def test_the_end_lets_requests_finish(served: tuple[gr.Blocks, Operation], picture: str, monkeypatch):
    demo, operation = served
    monkeypatch.setattr(page_operation, "PATIENCE", 60.0)
    detector: Any = operation.studio.detectors.get("embedded")
    left = Event()
    monkeypatch.setattr(detector, "seconds", 3.0)
    job = Client(demo.local_url, verbose=False).submit(handle_file(picture), "cat", api_name="/detect")
    # Until the client listens for its answer: nobody can connect after the end.
    while job.status().code not in (Status.PROCESSING, Status.FINISHED):
        time.sleep(0.01)
    operation._end(demo, lambda _: left.set())
    assert left.is_set()
    annotated, record = job.result(timeout=5)
    assert Path(annotated).stat().st_size, "the file of the answer has been fetched"
    assert [one["phrase"] for one in record["objects"]] == ["cat"]


def test_the_end_waits_for_what_is_computed_but_not_for_ever(served: tuple[gr.Blocks, Operation], monkeypatch):
    demo, operation = served
    monkeypatch.setattr(demo._queue, "pending_event_ids_session", {"somebody": {"an event that never ends"}})
    left, begun = Event(), time.monotonic()
    operation._end(demo, lambda _: left.set())
    assert left.is_set()
    assert 3 <= time.monotonic() - begun < 30
    with pytest.raises(httpx.HTTPError):
        httpx.get(demo.local_url or "")


def test_nothing_begins_at_the_end(served: tuple[gr.Blocks, Operation]):
    demo, operation = served
    with operation.ending_on_sigterm(demo):
        call = f"{demo.local_url}gradio_api/call/v2/models"
        assert httpx.post(call, json={}).status_code == 200
        operation.ending.set()
        refused = httpx.post(call, json={})
    assert (refused.status_code, refused.json()["detail"]) == (503, ENDING)
