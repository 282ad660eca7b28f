"""The page's endpoints as a program calls them, and its command line."""

import asyncio
import json
import re
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import gradio as gr
import httpx
import pytest
import supervision as sv
import uvicorn
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

import app
from groundingdino.detection.phrases import Grounding
from groundingdino.editing.recipe import read_recipe
from groundingdino.page import settings
from groundingdino.page.limits import Limits
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.settings import Settings
from groundingdino.page.studio import Studio
from groundingdino.page.wiring import SAVE
from tests.dauber import INPAINTER, Dauber
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors

SIZE = (320, 240)
CAT, OTHER_CAT = (10, 20, 110, 120), (200, 20, 300, 120)
CARDS = {"embedded": CARD, "large": replace(CARD, name="large", title="Large", box_threshold=0.2, size_bytes=2_000_000)}


def studio_of(detector: Oracle) -> Studio:
    return Studio(
        ModelCache(CARDS, lambda *_, **__: detector, lambda name: name == "embedded"),
        ModelCache({"embedded": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True),
        ModelCache({"embedded": INPAINTER}, lambda *_, **__: Dauber(), lambda _: True),
    )


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    folder = tmp_path / "examples"
    folder.mkdir()
    Image.new("RGB", SIZE, "teal").save(folder / "cats.png")
    (folder / "examples.json").write_text('[{"file": "cats.png", "prompt": "cat . pizza"}]')
    return folder


@pytest.fixture
def client(examples: Path) -> Iterator[Client]:
    detector = Oracle({SIZE: {"cat": [(0.9, CAT), (0.6, OTHER_CAT)]}})
    demo = app.build(studio_of(detector), examples=examples)
    app.serve(demo, prevent_thread_lock=True, quiet=True)
    yield Client(demo.local_url, verbose=False)
    demo.close()


class Held(Oracle):
    """Looks for "cat" until it is let go."""

    let_go = Event()

    def ground(self, encoded: Any, prompt: str | Iterable[str], *arguments: Any, **options: Any) -> Grounding:
        if prompt == "cat":
            assert self.let_go.wait(60)
        return super().ground(encoded, prompt, *arguments, **options)


def test_an_answer_that_was_overtaken_says_nothing_more(examples: Path):
    """The page opens with two requests; where the older one ended last, the page went on saying that it looks."""
    detector = Held({SIZE: {"cat": [(0.9, CAT)]}})
    demo = app.build(studio_of(detector), examples=examples)
    app.serve(demo, prevent_thread_lock=True, quiet=True)
    try:
        with httpx.Client(base_url=demo.local_url or "", timeout=60) as visitor:
            config = visitor.get("/config").json()
            values = {part["id"]: part["props"].get("value") for part in config["components"]}
            (asking,) = (event for event in config["dependencies"] if event["api_name"] == "render_1")

            def ask(stamp: float, prompt: str) -> str:
                data = [values[part] for part in asking["inputs"]]
                data[1], data[3] = {"stamp": stamp, "canvas": None, "typing": False}, prompt
                body = {"data": data, "fn_index": asking["id"], "session_hash": "visitor"}
                return visitor.post("gradio_api/queue/join", json=body).json()["event_id"]

            older, newer = ask(100, "cat"), ""
            said: list[tuple[str, str]] = []
            with visitor.stream("GET", "gradio_api/queue/data", params={"session_hash": "visitor"}) as stream:
                for line in stream.iter_lines():
                    message = json.loads(line.removeprefix("data:") or "{}")
                    if not message.get("msg", "").startswith("process_"):
                        continue
                    said.append((message["event_id"], json.dumps(message.get("output"))))
                    if message["msg"] == "process_generating" and not newer:
                        newer = ask(200, "pizza")
                    if message["msg"] == "process_completed":
                        if message["event_id"] == older:
                            break
                        detector.let_go.set()
        assert [event for event, output in said if "Looking" in output] == [older]
        assert any("Nothing found" in output for event, output in said if event == newer)
        assert said[-1][0] == older
    finally:
        detector.let_go.set()
        demo.close()


class SlowToEnd:
    """An event that is running, and takes a while to be ended."""

    async def aclose(self) -> None:
        await asyncio.sleep(0.5)


def test_an_event_may_be_cancelled_while_it_is_being_cancelled():
    with gr.Blocks() as demo:
        gr.Number()
    app.serve(demo, prevent_thread_lock=True, quiet=True)
    try:
        with httpx.Client(base_url=demo.local_url) as visitor, ThreadPoolExecutor() as pool:
            visitor.get("/")
            demo.app.iterators["event"] = SlowToEnd()
            body = {"session_hash": "visitor", "fn_index": 0, "event_id": "event"}
            answers = list(pool.map(lambda _: visitor.post("gradio_api/cancel", json=body), range(2)))
        assert [answer.status_code for answer in answers] == [200, 200]
        assert "event" not in demo.app.iterators
    finally:
        demo.close()


def test_the_endpoints_are_detect_segment_inpaint_track_and_models(client: Client, picture: str, capfd):
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert set(endpoints["named_endpoints"]) == {"/detect", "/segment", "/inpaint", "/track", "/models"}
    assert endpoints["unnamed_endpoints"] == {}

    models = client.predict(api_name="/models")
    assert [(model["task"], model["name"], model["downloaded"]) for model in models] == [
        ("detect", "embedded", True),
        ("detect", "large", False),
        ("segment", "embedded", True),
        ("inpaint", "embedded", True),
        ("track", "embedded", True),
    ]

    drawn, record = client.predict(image=handle_file(picture), prompt="cat . pizza", api_name="/detect")
    assert Image.open(drawn).size == SIZE
    assert record == {
        "width": 320,
        "height": 240,
        "model": "embedded",
        "objects": [
            {"phrase": "cat", "score": 0.9, "box": list(map(float, CAT))},
            {"phrase": "cat", "score": 0.6, "box": list(map(float, OTHER_CAT))},
        ],
        "notes": [],
    }
    options = {"box_threshold": 0.8, "text_threshold": 0.3, "nms_threshold": 1.0, "model": "embedded"}
    _, record = client.predict(image=handle_file(picture), prompt="cat", api_name="/detect", **options)
    assert len(record["objects"]) == 1

    drawn, record = client.predict(
        image=handle_file(picture),
        prompt="cat",
        points=[[150, 200, 1], [150, 215, 0]],
        boxes=[[10, 130, 90, 230]],
        strokes=[[[200, 200], [260, 200]]],
        api_name="/segment",
    )
    assert Image.open(drawn).size == SIZE
    assert record["model"] == "embedded + embedded"
    assert [found["phrase"] for found in record["objects"]] == ["cat", "cat", "object 1", "object 2", "object 3"]
    masks = [sv.rle_to_mask(found["mask"]["counts"], SIZE).astype(bool) for found in record["objects"]]
    assert masks[0][70, 60]
    assert not masks[0][70, 250]
    assert masks[2][185, 150]
    assert not masks[2][215, 150], "excluded"
    assert masks[4][200, 230]

    edited, record = client.predict(
        image=handle_file(picture), prompt="cat", text="red", seed=7, boxes=True, api_name="/inpaint"
    )
    with Image.open(edited) as image:
        assert (image.format, image.size) == ("PNG", SIZE)
        assert image.getpixel((60, 70)) == (255, 0, 7)
        assert image.getpixel((150, 200)) == (0, 128, 128)
    assert read_recipe(edited) == record["edit"]
    assert record["edit"]["seed"] == 7
    edited, record = client.predict(
        image=handle_file(picture), mode="picture", background=handle_file(picture), prompt="cat", api_name="/inpaint"
    )
    assert record["edit"]["inpainter"] is None
    for margins in ("25%", [80, "25%", 80, 60]):
        edited, record = client.predict(
            image=handle_file(picture), mode="outpaint", margins=margins, prompt="", api_name="/inpaint"
        )
        with Image.open(edited) as image:
            assert image.size == (record["width"], record["height"]) == (480, 360)

    wrong = Path(picture).with_name("notes.png")
    wrong.write_text("no picture")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"image": handle_file(str(wrong))}, "The picture is not an image"),
        ({"model": "huge"}, "There is no model 'huge'"),
        ({"model": "large"}, "press Download"),
        ({"box_threshold": 3}, "must be between 0 and 1"),
        ({"box_threshold": "0.5"}, "Box threshold must be a number, not '0.5'"),
        ({"nms_threshold": [1]}, "NMS threshold must be a number, not \\[1\\]"),
        ({"image": "cats.png"}, "pictures are sent as uploaded files"),
    ]
    for options, message in refused:
        arguments = {"image": handle_file(picture), "prompt": "cat", **options}
        with pytest.raises(AppError, match=message):
            client.predict(api_name="/detect", **arguments)
    refused = [
        ({"prompt": ""}, "Nothing is asked for"),
        ({"points": [[900, 10, 1]]}, "outside the picture"),
        ({"points": [[9, 10]]}, "Expected points as"),
        ({"boxes": [1, 2, 3, 4]}, "Expected points as"),
        ({"boxes": [[5, 5, 5, 5]]}, "has no area"),
        ({"segmenter": "huge"}, "There is no model 'huge'"),
        ({"fill": -1}, "must be 0 or more"),
        ({"image": handle_file(str(wrong))}, "The picture is not an image"),
    ]
    for options, message in refused:
        arguments = {"image": handle_file(picture), "prompt": "cat", **options}
        with pytest.raises(AppError, match=message):
            client.predict(api_name="/segment", **arguments)
    with pytest.raises(AppError, match="There is no mode 'paint'"):
        client.predict(image=handle_file(picture), prompt="cat", mode="paint", api_name="/inpaint")
    assert "Traceback" not in capfd.readouterr().err


def test_the_command_line_reaches_the_page(monkeypatch):
    launched: dict[str, Any] = {}
    monkeypatch.setattr(gr.Blocks, "launch", lambda self, **options: launched.update(options, title=self.title))
    made: list[Any] = []
    monkeypatch.setattr(Studio, "open", lambda *options: made.append(options) or studio_of(Oracle({})))
    assert app.main(["--port", "8123", "--host", "0.0.0.0", "--device", "cpu", "--local-files-only"]) == 0
    assert made == [("cpu", True, None, Limits())]
    assert (launched["server_port"], launched["server_name"], launched["mcp_server"]) == (8123, "0.0.0.0", False)
    assert launched["title"] == "Grounding DINO"


def test_an_unknown_model_is_refused_in_one_line(capsys):
    assert app.main(["--model", "huge"]) == 2
    assert capsys.readouterr().err.startswith("app.py: There is no model 'huge'; choose one of embedded")


def test_a_device_that_is_not_there_is_refused_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr(Studio, "open", lambda *_: pytest.fail("A page that never works was started."))
    assert app.main(["--device", "toaster"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("app.py: The device 'toaster' cannot be used here")
    assert err.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_told_in_one_line(capsys, monkeypatch, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file" / "folder"))
    monkeypatch.setattr(Studio, "open", lambda *_: studio_of(Oracle({})))
    monkeypatch.setattr(gr.Blocks, "launch", lambda *_, **__: pytest.fail("A page that takes no picture was started."))
    assert app.main([]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"app.py: nothing can be written to '{tmp_path / 'file' / 'folder'}' (Not a directory)")
    assert told.endswith("set GRADIO_TEMP_DIR to a folder of its own that can be written.\n")
    assert told.count("\n") == 1


def test_a_page_that_is_slow_to_answer_is_served_all_the_same(examples: Path, monkeypatch):
    """On a busy machine it takes longer than Gradio waits for it."""
    monkeypatch.setattr(gr.networking, "url_ok", lambda _: False)
    demo = app.build(studio_of(Oracle({})), examples=examples)
    app.serve(demo, prevent_thread_lock=True, quiet=True)
    try:
        assert httpx.get(demo.local_url or "", timeout=60).status_code == 200
    finally:
        demo.close()


def test_a_page_that_is_opened_asks_for_the_result_and_the_lists_of_models(examples: Path):
    demo = app.build(studio_of(Oracle({})), examples=examples)
    (opening,) = (fn for fn in demo.fns.values() if (demo._id, "load") in fn.targets)
    assert opening.name == "open_page"
    # What it brings back comes first, and then the result of it.
    (prompt,) = (fn for fn in demo.fns.values() if fn.trigger_after == opening._id)
    assert "render" in [fn.name for fn in demo.fns.values() if fn.trigger_after == prompt._id]


def test_a_download_that_failed_saves_no_file_of_before(examples: Path):
    demo = app.build(studio_of(Oracle({})), examples=examples)
    saving = [fn for fn in demo.fns.values() if fn.js == SAVE]
    assert len(saving) >= 9
    assert all(fn.trigger_only_on_success for fn in saving)


def test_a_port_that_is_taken_is_refused_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr(Studio, "open", lambda *_: studio_of(Oracle({})))
    # A program that ends while a thread of its computes is aborted.
    monkeypatch.setattr(app, "_warm_up", lambda *_: pytest.fail("Models are warmed up for nobody."))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.main(["--port", str(port)]) == 2
    assert capsys.readouterr().err == f"app.py: cannot listen on port {port}; choose another with --port.\n"


@pytest.mark.parametrize("port", ["-1", "0", "70000"])
def test_a_number_that_is_no_port_is_refused_in_one_line(port, capsys):
    assert app.main(["--port", port]) == 2
    assert capsys.readouterr().err == f"app.py: {port} is no port: choose one from 1 to 65535 with --port.\n"


@pytest.mark.parametrize("host", ["192.0.2.1", "." * 70])
def test_a_host_that_is_not_this_machine_is_refused_in_one_line(host, capsys, monkeypatch):
    monkeypatch.setattr(gr.Blocks, "launch", lambda *_, **__: pytest.fail("Gradio would try all ports of it."))
    assert app.main(["--host", host]) == 2
    assert capsys.readouterr().err.startswith(f"app.py: '{host}' is no address of this machine: choose another with")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_host_that_is_this_machine_is_listened_on(host, monkeypatch):
    launched: dict[str, Any] = {}
    monkeypatch.setattr(gr.Blocks, "launch", lambda _, **options: launched.update(options))
    monkeypatch.setattr(Studio, "open", lambda *_: studio_of(Oracle({})))
    assert app.main(["--host", host]) == 0
    assert launched["server_name"] == host


@pytest.mark.parametrize(("device", "times"), [("cpu", 1), ("cuda:0", 0)])
def test_the_page_keeps_memory_where_models_run_on_the_cpu(device, times, monkeypatch):
    calls = list[int]()
    monkeypatch.setattr(app, "keep_freed_memory", lambda: calls.append(1))
    monkeypatch.setattr(app, "check_device", lambda _: None)
    monkeypatch.setattr(gr.Blocks, "launch", lambda _, **__: None)
    monkeypatch.setattr(Studio, "open", lambda *_: studio_of(Oracle({})))
    assert app.main(["--device", device]) == 0
    assert len(calls) == times


@pytest.mark.parametrize(
    ("environment", "arguments", "is_on"),
    [(None, [], False), ("True", [], True), (None, ["--mcp"], True), ("True", ["--no-mcp"], False)],
)
def test_mcp_is_on_by_environment_or_flag_and_off_when_told(environment, arguments, is_on, monkeypatch):
    launched: dict[str, Any] = {}
    monkeypatch.setattr(gr.Blocks, "launch", lambda _, **options: launched.update(options))
    monkeypatch.setattr(Studio, "open", lambda *_: studio_of(Oracle({})))
    monkeypatch.delenv("GRADIO_MCP_SERVER", raising=False)
    if environment:
        monkeypatch.setenv("GRADIO_MCP_SERVER", environment)
    assert app.main(arguments) == 0
    assert launched["mcp_server"] is is_on


def test_mcp_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(settings, "find_spec", lambda _: None)
    assert app.main(["--mcp"]) == 2
    told = "app.py: MCP tools need one more package: pip install 'gradio[mcp]', or start with --no-mcp.\n"
    assert capsys.readouterr().err == told


@contextmanager
def served(application: Any) -> Iterator[str]:
    """The address of an ASGI application that runs in a thread."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(application, log_level="error"))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(5)


def test_a_proxy_may_offer_the_page_below_a_path(examples: Path, picture: str):
    """As nginx does it: the path is taken off, and the name that was asked for is passed on."""
    detector = Oracle({SIZE: {"cat": [(0.9, CAT)]}})
    demo = app.build(studio_of(detector), examples=examples)
    app.serve(demo, Settings(root_path="/demos/dino"), prevent_thread_lock=True, quiet=True)
    upstream = httpx.AsyncClient(base_url=demo.local_url or "", timeout=60)

    async def forward(request: Request) -> StreamingResponse:
        headers = {**request.headers, "x-forwarded-host": request.headers["host"]}
        path = f"/{request.path_params['path']}?{request.url.query}"
        sent = upstream.build_request(request.method, path, headers=headers, content=await request.body())
        answer = await upstream.send(sent, stream=True)
        return StreamingResponse(answer.aiter_raw(), answer.status_code, dict(answer.headers))

    proxy = Starlette(routes=[Route("/demos/dino/{path:path}", forward, methods=["GET", "POST"])])
    try:
        with served(proxy) as address:
            program = Client(f"{address}/demos/dino/", verbose=False)
            drawn, record = program.predict(image=handle_file(picture), prompt="cat", api_name="/detect")
            assert Image.open(drawn).size == SIZE
            assert [one["phrase"] for one in record["objects"]] == ["cat"]
            page = httpx.get(f"{address}/demos/dino/").text
            config = httpx.get(f"{address}/demos/dino/config").json()
            assert config["root"] == f"{address}/demos/dino"
            # What the page loads is below the path, or relative to it; but for Gradio's manifest of an app.
            loaded = re.findall(r"(?:src|href)=\"(/[^\"]*)\"", page)
            assert [path for path in loaded if not path.startswith(("/demos/dino/", "//"))] == ["/manifest.json"]
            (shown,) = (one for one in config["components"] if one["props"].get("elem_id") == "picture")
            assert httpx.get(shown["props"]["value"]["url"]).status_code == 200
    finally:
        demo.close()


def test_who_has_no_password_stays_outside(examples: Path, picture: str):
    demo = app.build(studio_of(Oracle({SIZE: {"cat": [(0.9, CAT)]}})), examples=examples)
    app.serve(demo, Settings(auth=(("ann", "secret"),)), prevent_thread_lock=True, quiet=True)
    try:
        assert httpx.get(f"{demo.local_url}config").status_code == 401
        sent = httpx.post(f"{demo.local_url}gradio_api/call/v2/models", json={})
        assert sent.status_code == 401
        program = Client(demo.local_url, auth=("ann", "secret"), verbose=False)
        _, record = program.predict(image=handle_file(picture), prompt="cat", api_name="/detect")
        assert len(record["objects"]) == 1
    finally:
        demo.close()


def test_more_than_may_be_sent_is_refused(examples: Path):
    limits = Limits(upload=200_000)
    demo = app.build(studio_of(Oracle({})), examples=examples)
    app.serve(demo, Settings(limits=limits), prevent_thread_lock=True, quiet=True)
    try:
        with httpx.Client(base_url=f"{demo.local_url}gradio_api") as program:
            sent = program.post("/upload", files={"files": bytes(limits.upload + 1)})
            assert sent.status_code == 413
            sent = program.post("/call/v2/detect", json={"image": "x" * (2 * limits.upload + 1), "prompt": "cat"})
            assert sent.status_code == 413
    finally:
        demo.close()
