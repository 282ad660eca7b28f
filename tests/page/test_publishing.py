"""The endpoints as others call them: agents as MCP tools, programs by plain HTTP."""

import asyncio
import base64
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

import app
from groundingdino.page.publishing import UNREADABLE
from tests.oracle import Oracle
from tests.test_app import CAT, OTHER_CAT, SIZE, studio_of

FILE = {"_type": "gradio.FileData"}
NOT_PUBLIC = "The picture cannot be fetched: its server is not a public one."


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gr.Blocks]:
    """Served with MCP on: two cats in a picture of 320 x 240 pixels."""
    folder = tmp_path_factory.mktemp("examples")
    Image.new("RGB", SIZE, "teal").save(folder / "cats.png")
    (folder / "examples.json").write_text('[{"file": "cats.png", "prompt": "cat . pizza"}]')
    detector = Oracle({SIZE: {"cat": [(0.9, CAT), (0.6, OTHER_CAT)]}})
    demo = app.build(studio_of(detector), examples=folder)
    app.serve(demo, prevent_thread_lock=True, quiet=True, mcp_server=True)
    yield demo
    demo.close()


def data_url(image: Image.Image) -> str:
    written = io.BytesIO()
    image.save(written, "PNG")
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


TEAL = data_url(Image.new("RGB", SIZE, "teal"))


def as_agent(page: gr.Blocks, ask: Callable[[Any], Any]) -> Any:
    """What comes of asking a session of an MCP client."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def talk() -> Any:
        address = f"{page.local_url}gradio_api/mcp/"
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            return await ask(session)

    return asyncio.run(talk())


def call(page: gr.Blocks, tool: str, **arguments: Any) -> tuple[Image.Image, str, dict[str, Any]]:
    """Picture, address and record that a tool gives, the same whether the client follows its progress or not."""

    async def heard(*_: Any) -> None: ...

    async def ask(session: Any) -> Any:
        return [await session.call_tool(tool, arguments, progress_callback=follow) for follow in (None, heard)]

    answers = as_agent(page, ask)
    assert [answer.isError for answer in answers] == [False, False], answers[0].content
    shown, address, record = answers[0].content
    assert [one.type for one in answers[1].content] == ["image", "text", "text"]
    assert json.loads(answers[1].content[2].text)["objects"] == json.loads(record.text)["objects"]
    picture = Image.open(io.BytesIO(base64.b64decode(shown.data)))
    assert shown.mimeType == f"image/{(picture.format or '').lower()}"
    return picture, address.text.removeprefix("The whole picture: "), json.loads(record.text)


def test_tools_say_what_to_send(page: gr.Blocks):
    tools = {tool.name: tool for tool in as_agent(page, lambda session: session.list_tools()).tools}
    assert set(tools) == {"detect", "segment", "inpaint", "track", "models"}
    for tool in tools.values():
        Draft202012Validator.check_schema(tool.inputSchema)
        for name, parameter in tool.inputSchema["properties"].items():
            assert parameter["description"].endswith((".", '".')), f"{tool.name} says of {name} only half a sentence"
    asked = {name: tool.inputSchema["properties"] for name, tool in tools.items()}
    assert "data:image/png;base64," in asked["detect"]["image"]["description"]
    assert "dark" in asked["inpaint"]["mode"]["description"]
    assert asked["segment"]["points"]["items"] == {"type": "array", "items": {"type": "number"}}
    assert asked["inpaint"]["one_by_one"]["type"] == "boolean"
    assert tools["inpaint"].inputSchema["required"] == ["image", "prompt"]
    assert "`segment` gives their outlines" in tools["detect"].description
    assert "[x0, y0, x1, y1] in pixels of the picture, the best first" in tools["detect"].description


def test_agents_detect(page: gr.Blocks):
    picture, address, record = call(page, "detect", image=TEAL, prompt="cat . pizza")
    assert (picture.size, picture.format) == (SIZE, "JPEG")
    found = [(one["phrase"], one["score"], one["box"]) for one in record["objects"]]
    assert found == [("cat", 0.9, [*map(float, CAT)]), ("cat", 0.6, [*map(float, OTHER_CAT)])]
    with Image.open(io.BytesIO(httpx.get(address).content)) as whole:
        assert (whole.size, whole.format) == (SIZE, "PNG")


def test_agents_segment(page: gr.Blocks):
    _, _, record = call(page, "segment", image=TEAL, prompt="cat", boxes=[[10, 130, 90, 230]])
    assert [one["phrase"] for one in record["objects"]] == ["cat", "cat", "object 1"]
    for one in record["objects"]:
        left, top, right, bottom = one["box"]
        assert "mask" not in one
        assert 0.5 < one["mask_pixels"] / ((right - left) * (bottom - top)) <= 1


def test_agents_inpaint(page: gr.Blocks):
    large = data_url(Image.new("RGB", (1200, 900), "teal"))
    picture, address, record = call(page, "inpaint", image=large, prompt="", mode="outpaint", margins=[0, 0, 300, 0])
    assert (record["width"], record["height"]) == (1500, 900)
    assert picture.size == (1024, 614)
    with Image.open(io.BytesIO(httpx.get(address).content)) as whole:
        assert whole.size == (1500, 900)
    picture, *_ = call(page, "inpaint", image=TEAL, prompt="cat", mode="transparent")
    assert picture.mode == "RGBA"
    assert [picture.getpixel(at)[3] for at in ((60, 70), (150, 200))] == [255, 0]


def test_agents_list_the_models(page: gr.Blocks):
    (text,) = as_agent(page, lambda session: session.call_tool("models", {})).content
    models = json.loads(text.text)
    assert [(one["task"], one["name"], one["downloaded"]) for one in models][:2] == [
        ("detect", "embedded", True),
        ("detect", "large", False),
    ]
    assert isinstance(models[0]["knows"], list)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": "cat", "image": "/etc/hostname"}, "provide a url"),
        ({"prompt": "cat", "image": "http://127.0.0.1:1/x.png"}, NOT_PUBLIC),
        ({"prompt": "cat", "image": TEAL, "box_threshold": 3}, "must be between 0 and 1"),
        ({"prompt": "cat", "image": TEAL, "model": "huge"}, "There is no model 'huge'"),
        ({"prompt": "cat", "image": TEAL, "model": "large"}, "Large is not on this machine yet"),
        ({"prompt": "cat", "image": "data:image/png;base64,bm8gcGljdHVyZQ=="}, "The picture is not an image"),
    ],
)
def test_agents_are_told_what_is_wrong(page: gr.Blocks, arguments, message, capfd):
    answer = as_agent(page, lambda session: session.call_tool("detect", arguments))
    assert answer.isError
    assert message in answer.content[0].text
    assert "Traceback" not in capfd.readouterr().err


@pytest.fixture
def program(page: gr.Blocks) -> Iterator[httpx.Client]:
    """A plain HTTP client."""
    with httpx.Client(base_url=f"{page.local_url}gradio_api", timeout=60) as client:
        yield client


def upload(program: httpx.Client, picture: str) -> str:
    """Path on the server of a picture that was sent."""
    (path,) = program.post("/upload", files={"files": Path(picture).read_bytes()}).json()
    return path


def result(program: httpx.Client, endpoint: str, **body: Any) -> tuple[str, Any]:
    """How a call by HTTP ended, and what it gave."""
    event = program.post(f"/call/v2/{endpoint}", json=body).json()["event_id"]
    last = program.get(f"/call/v2/{endpoint}/{event}").text.strip().split("\n\n")[-1]
    kind, data = last.split("\n")
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_programs_call_by_plain_http(program: httpx.Client, picture: str):
    image = {"path": upload(program, picture), "meta": FILE}
    ended, (drawn, record) = result(program, "detect", image=image, prompt="cat", box_threshold=0.8)
    assert ended == "complete"
    assert [one["score"] for one in record["objects"]] == [0.9]
    with Image.open(io.BytesIO(program.get(drawn["url"]).content)) as shown:
        assert shown.size == SIZE
    ended, (offered,) = result(program, "models")
    assert (ended, {one["task"] for one in offered}) == ("complete", {"detect", "segment", "inpaint", "track"})
    described = program.get("/openapi.json").json()["paths"]["/gradio_api/call/v2/segment"]["post"]["requestBody"]
    assert "strokes" in json.dumps(described)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"path": "/etc/hostname", "meta": FILE}, UNREADABLE),
        ({"path": "/etc/hostname"}, UNREADABLE),
        ({"path": "http://127.0.0.1:1/x.png", "meta": FILE}, NOT_PUBLIC),
        ({"path": "http://localhost/x.png"}, NOT_PUBLIC),
        ({"path": "file:///etc/hostname", "meta": FILE}, UNREADABLE),
        ("/etc/hostname", UNREADABLE),
        ({"url": "http://127.0.0.1:1/x.png"}, "There is no picture: pass one as `image`."),
        (None, "There is no picture: pass one as `image`."),
    ],
)
def test_programs_send_pictures_and_name_no_files(program: httpx.Client, image, message, capfd):
    ended, told = result(program, "detect", image=image, prompt="cat")
    assert (ended, told["error"]) == ("error", message)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("endpoint", "body", "status", "message"),
    [
        ("paint", {}, 404, "There is no endpoint 'paint'."),
        ("detect", {}, 422, "No value provided for required argument: image; gradio_api/info lists the parameters."),
        ("models", {"colour": 1}, 422, "is not a valid key-word argument; gradio_api/info lists the parameters."),
    ],
)
def test_a_call_that_fits_no_endpoint_is_refused(program: httpx.Client, endpoint, body, status, message, capfd):
    answer = program.post(f"/call/v2/{endpoint}", json=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert "Traceback" not in capfd.readouterr().err
