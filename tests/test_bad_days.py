"""What goes wrong on a bad day is told in a sentence, nothing is lost, and the next request is right.

Models that fail, visitors who leave and disks that take nothing are met within this process; programs that are killed,
and several of them on one cache, as processes of their own.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from gradio import route_utils
from PIL import Image
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from groundingdino.editing.available_models import INPAINTERS
from groundingdino.editing.inpainter import Inpainter
from groundingdino.editing.out_of_memory import NO_MEMORY
from groundingdino.page import operation
from groundingdino.page.endpoints import Endpoints
from groundingdino.page.faults import FAULT
from groundingdino.page.files import NO_SPACE
from groundingdino.page.handlers import Page
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.query import SEGMENT
from groundingdino.page.request_log import logger as request_logger
from groundingdino.page.studio import Studio
from groundingdino.segmentation.segmenter_models import load_segmenter
from tests import clips, tiny_segmenters
from tests.conftest import ROOT
from tests.fake_hub import FakeHub, running_hub, serving_hub
from tests.page.test_handlers import Browser
from tests.server import CAT, Server
from tests.started import Started, started
from tests.tiny_pipelines import save_sd

PICNIC = ROOT / "assets" / "examples" / "picnic.webp"
PICNIC_CAT = (241, 241, 470, 499)  # as the embedded detector finds it
PATIENCE = 60.0  # seconds after which a test takes what it waits for to be broken


# Models that fail.

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), NO_MEMORY
FAILURES = {
    "GPU full": FULL,
    "memory full": (MemoryError(), NO_MEMORY),
    "processor's memory full": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), NO_MEMORY),
    "fault": (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), FAULT),
}
# Where the modules are that fail, and an endpoint that runs them.
MODELS: dict[str, tuple[str, Callable[..., Any]]] = {
    "detector": ("groundingdino.model.", Endpoints.detect),
    "segmenter": ("groundingdino.segmentation.", Endpoints.segment),
    "painter": ("diffusers.models.unets.", Endpoints.inpaint),
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sd(tmp_path_factory.mktemp("pipelines") / "sd")


@pytest.fixture(scope="module")
def studio(pipeline: Path) -> Studio:
    """With the models that come along, and a diffusion model that paints noise."""
    studio = Studio.open("cpu", local_files_only=True, offered=())
    painters: Any = ModelCache({"embedded": INPAINTERS["sd15"]}, lambda *_, **__: _painter(pipeline), lambda _: True)
    return Studio(studio.detectors, studio.segmenters, painters)


@pytest.fixture
def endpoints(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Endpoints:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "files"))
    return Endpoints(studio)


@pytest.fixture
def picnic(tmp_path: Path) -> str:
    """Path of a picture with a cat that no model has seen: a pixel of it differs from that of every other test."""
    with Image.open(PICNIC) as picture:
        copy = picture.convert("RGB")
    copy.putpixel((0, 0), tuple(os.urandom(3)))
    copy.save(tmp_path / "picnic.png")
    return str(tmp_path / "picnic.png")


def _painter(folder: Path) -> Any:
    return Inpainter.from_pretrained(folder, "cpu")


@contextmanager
def failing(where: str, error: Exception) -> Iterator[list[str]]:
    """Within it no module from there computes anything; gives the names of those that were to."""
    asked: list[str] = []

    def fail(module: nn.Module, _: Any) -> None:
        if type(module).__module__.startswith(where):
            asked.append(type(module).__name__)
            raise error

    hook = register_module_forward_pre_hook(fail)
    try:
        yield asked
    finally:
        hook.remove()


def options_of(name: str) -> dict[str, Any]:
    return {"mode": "replace", "text": "a dog", "steps": 1, "seed": 1, "boxes": True} if name == "painter" else {}


def check_cat(record: dict[str, Any]) -> None:
    """That a picture's cat was found where it is."""
    (cat,) = (one for one in record["objects"] if one["phrase"] == "cat")
    assert np.allclose(cat["box"], PICNIC_CAT, atol=3), cat


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_fails_is_told_of_and_the_next_answer_is_right(endpoints, picnic, name, failure, caplog):
    where, endpoint = MODELS[name]
    error, sentence = FAILURES[failure]
    if name == "painter" and sentence == NO_MEMORY:
        sentence = "There is not enough memory for"  # after it has tried smaller sizes
    asked = {"image": picnic, "prompt": "cat", **options_of(name)}
    with failing(where, error) as failed:
        with pytest.raises(gr.Error) as told:
            endpoint(endpoints, **asked)
        assert str(told.value.message).startswith(sentence)
        assert not told.value.print_exception, "it is told, and not written to the log as a fault of Gradio's"
        assert failed, "the model was asked"
        if name != "detector":  # others do not notice
            check_cat(endpoints.detect(picnic, "cat")[1])
    assert ("Traceback" in caplog.text) is (sentence == FAULT), "who runs it reads of faults what they were"
    _, record = endpoint(endpoints, **asked)
    check_cat(record)


def test_a_lack_of_memory_makes_room_and_keeps_what_comes_along(endpoints: Endpoints, picnic: str, monkeypatch):
    studio = endpoints.studio
    endpoints.detect(picnic, "cat")
    monkeypatch.setattr(studio.detectors, "_models", {**studio.detectors._models, "swin-b": object()})
    assert len(studio._pictures._values) > 0
    with failing("groundingdino.model.", FULL[0]), pytest.raises(gr.Error):
        endpoints.detect(picnic, "dog")
    assert studio.detectors.in_memory() == ["embedded"]
    assert len(studio._pictures._values) == 0


def test_the_page_tells_of_a_lack_of_memory_and_goes_on(endpoints: Endpoints, picnic: str):
    page = Page(endpoints.studio)
    one, other = Browser(page), Browser(page)
    with failing("groundingdino.segmentation.", FULL[0]):
        one.ask(picnic, "cat", tab=SEGMENT)
        assert (one.status["message"], one.status["tone"]) == (NO_MEMORY, "error")
        assert one.boxes == [], "no old box stays beside the sentence"
        other.ask(picnic, "cat")
        assert any(np.allclose(box, PICNIC_CAT, atol=3) for box in other.boxes)
    one.ask(picnic, "cat", tab=SEGMENT)
    assert one.status["tone"] == "done"
    assert one.boxes == other.boxes


# Visitors who leave.


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """How the requests of a kind ended by now."""
    monkeypatch.setattr(request_logger, "propagate", True)
    caplog.set_level("INFO", request_logger.name)

    def of(request: str) -> list[str]:
        lines = [json.loads(record.message) for record in caplog.records if record.name == request_logger.name]
        return [line["ended"] for line in lines if line["request"] == request]

    return of


def eventually(is_so: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE
    while not is_so() and time.monotonic() < until:
        time.sleep(0.02)
    return is_so()


@pytest.fixture
def program(untouched: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{untouched.url}gradio_api/", timeout=PATIENCE) as client:
        yield client


def uploaded(program: httpx.Client, picture: str) -> dict[str, Any]:
    (path,) = program.post("upload", files={"files": Path(picture).read_bytes()}).json()
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def called(program: httpx.Client, endpoint: str, **values: Any) -> str:
    """What the server sends in answer to a call."""
    event = program.post(f"call/v2/{endpoint}", json=values).json()["event_id"]
    return program.get(f"call/v2/{endpoint}/{event}").text


@pytest.mark.parametrize(
    ("endpoint", "options"),
    [
        ("detect", {}),
        ("segment", {"prompt": "", "boxes": [[10, 20, 110, 120]]}),
        ("inpaint", {"text": "red", "steps": 150}),
    ],
)
def test_a_program_that_leaves_stops_its_work(
    untouched: Server, program: httpx.Client, picture, ended, endpoint, options
):
    image = uploaded(program, picture)
    slow: Any = {"detect": untouched.detector, "segment": untouched.segmenter, "inpaint": untouched.inpainter}[endpoint]
    slow.seconds = 1000.0 if endpoint != "inpaint" else 0.2  # of all of it, or of a step
    event = program.post(f"call/v2/{endpoint}", json={"image": image, "prompt": "cat", **options}).json()["event_id"]
    with program.stream("GET", f"call/v2/{endpoint}/{event}"):
        assert eventually(lambda: untouched.inpainter.steps > 1 if endpoint == "inpaint" else _is_running(untouched))
    assert ended(endpoint) == []
    assert eventually(lambda: ended(endpoint) == ["given up"])
    slow.seconds = 0.0
    if endpoint == "inpaint":
        assert untouched.inpainter.stopped == 1
        assert untouched.inpainter.steps < 150
    assert json.dumps([*map(float, CAT[2])])[1:-1] in called(program, "detect", image=image, prompt="cat")


def _is_running(server: Server) -> bool:
    return any(events is not None for events in server.demo._queue.active_jobs)


def test_a_visitor_who_closes_the_page_stops_its_work(untouched: Server, program: httpx.Client, picture, ended):
    config = program.get("../config").json()
    values = {part["id"]: part["props"].get("value") for part in config["components"]}
    (asking,) = (event for event in config["dependencies"] if event["api_name"] == "render_1")
    data = [values[part] for part in asking["inputs"]]
    data[1], data[2], data[3] = {"stamp": 1, "canvas": None, "typing": False}, uploaded(program, picture), "cat"
    untouched.detector.seconds = 1000.0
    body = {"data": data, "fn_index": asking["id"], "session_hash": "visitor"}
    program.post("queue/join", json=body).raise_for_status()
    with program.stream("GET", "queue/data", params={"session_hash": "visitor"}) as stream:
        assert any("Looking with" in line for line in stream.iter_lines())
    assert eventually(lambda: ended("render") == ["given up"])
    untouched.detector.seconds = 0.0
    assert "event: complete" in called(program, "detect", image=uploaded(program, picture), prompt="dog")


# Disks that take nothing.


def test_an_upload_that_the_disk_does_not_take_is_refused_in_a_sentence(
    program: httpx.Client, picture, monkeypatch, log
):
    image, before = uploaded(program, picture), log.tell()
    make: Any = route_utils.NamedTemporaryFile

    def full(*arguments: Any, **options: Any) -> Any:
        file: Any = make(*arguments, **options)

        def write(_: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        file.write = write
        return file

    monkeypatch.setattr(route_utils, "NamedTemporaryFile", full)
    refused = program.post("upload", files={"files": b"a picture"})
    assert (refused.status_code, refused.text) == (507, NO_SPACE)
    assert "event: complete" in called(program, "detect", image=image, prompt="cat"), "who has a picture goes on"
    monkeypatch.undo()
    assert "event: complete" in called(program, "detect", image=uploaded(program, picture), prompt="cat")
    assert "Traceback" not in log.getvalue()[before:]


def test_what_an_upload_that_broke_off_left_behind_is_cleared_away(tmp_path: Path):
    names = {"tmp1": operation.BROKEN_OFF + 60, "tmp2": 0, "a/picture.png": operation.BROKEN_OFF + 60}
    for name, age in names.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    assert operation.sweep(tmp_path) == 1
    assert not (tmp_path / "tmp1").exists()


def test_where_the_disk_is_nearly_full_less_is_kept(tmp_path: Path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "picture.png").write_bytes(b"x")
    os.utime(tmp_path / "a" / "picture.png", (time.time() - operation.SHORT_KEEP - 60,) * 2)
    disk = operation.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(operation.shutil, "disk_usage", lambda _: disk._replace(total=1 << 40, free=2 << 30))
    assert operation.sweep(tmp_path) == 0
    monkeypatch.setattr(operation.shutil, "disk_usage", lambda _: disk._replace(total=1 << 40, free=1 << 29))
    assert operation.sweep(tmp_path) == 1


class Disk:
    """A small disk of its own, in memory."""

    def __init__(self, folder: Path, megabytes: int):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs"]
        made = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"disks cannot be mounted here: {made.stderr.strip()}")

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.folder)], check=True)

    def fill(self) -> Path:
        """Until nothing more fits on it; the file that takes the room."""
        path = self.folder / "somebody's"
        with path.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        return path

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=False)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with closing(Disk(tmp_path / "disk", 64)) as small:
        yield small


@pytest.mark.skipif(sys.platform != "linux", reason="disks in memory are mounted as Linux does")
def test_a_model_on_a_disk_that_cannot_be_written_is_loaded(disk: Disk, hub_files, monkeypatch):
    with running_hub(monkeypatch, disk.folder) as hub:
        others = {name.replace("tiny", "small"): content for name, content in hub_files.items()}
        hub.files = hub_files | others
        load_segmenter(NAME)
        disk.remount("ro")
        assert load_segmenter(NAME, local_files_only=True).card.title == TITLE
        with pytest.raises(ValueError, match=r"could not be saved in .*Read-only file system"):
            load_segmenter("sam2.1-small")


# Files that are not whole. That of a pinned model is told by its size, see tests/files/test_hub.py.

NAME, TITLE = "sam2.1-tiny", "SAM 2.1 tiny"
REPOSITORY = "facebook/sam2.1-hiera-tiny"


@pytest.fixture(scope="module")
def hub_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A published segmenter's files, with few weights, which are random."""
    folder = tmp_path_factory.mktemp("segmenter")
    model, processor = tiny_segmenters.build("sam2")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    names = ("config.json", "model.safetensors", "processor_config.json", "preprocessor_config.json")
    return {f"{REPOSITORY}/{name}": (folder / name).read_bytes() for name in names if (folder / name).exists()}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("left", [0.5, 0.99, 0.0])
def test_half_a_file_in_the_cache_is_fetched_again_and_no_other(hub_files, name, left, monkeypatch, tmp_path):
    content = hub_files[f"{REPOSITORY}/{name}"]
    with running_hub(monkeypatch, tmp_path) as hub:
        hub.files = hub_files
        studio = Studio.open("cpu", offered=(NAME,))
        list(studio.segmenters.download(NAME))
        (file,) = (tmp_path / "cache").glob(f"models--*/snapshots/*/{name}")
        file.resolve().write_bytes(content[: round(left * len(content))])
        hub.requests.clear()
        again = Studio.open("cpu", offered=(NAME,)).segmenters
        with pytest.raises(ValueError, match=f"{TITLE} is not on this machine yet: choose it in the page"):
            again.get(NAME)
        list(again.download(NAME))
        assert {asked for method, asked, _ in hub.requests if method == "GET"} == {f"{REPOSITORY}/{name}"}
        assert file.read_bytes() == content
        assert again.get(NAME).card.title == TITLE


# Programs that are killed, and several on one cache.


@pytest.fixture(scope="module")
def hub(hub_files: dict[str, bytes]) -> Iterator[FakeHub]:
    with serving_hub() as fake:
        fake.files = dict(hub_files)
        yield fake


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, hub: FakeHub) -> tuple[Path, dict[str, str]]:
    """A folder, and what servers share in it: the models' cache, and files that are sent and made."""
    folder = tmp_path_factory.mktemp("house")
    shared = {"HF_HOME": str(folder / "models"), "GRADIO_TEMP_DIR": str(folder / "files"), "HF_ENDPOINT": hub.url}
    # A hub that holds back what it sends is waited for, and not asked again.
    return folder, {**shared, "HF_HUB_OFFLINE": "0", "HF_HUB_DOWNLOAD_TIMEOUT": "600", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def server(house: tuple[Path, dict[str, str]]) -> Iterator[Started]:
    folder, shared = house
    with started(folder / "server.log", shared) as running:
        yield running


def ready(server: Started) -> bool:
    """Whether the published segmenter can be used."""
    (models,), _ = server.call("models")
    (one,) = (model for model in models if (model["task"], model["name"]) == ("segment", NAME))
    return one["downloaded"]


def looked(server: Started, segmenter: str = "embedded") -> dict[str, Any]:
    """A right answer of a server: the record."""
    image = server.upload("picnic.webp", PICNIC.read_bytes())
    answer, error = server.call("segment", image=image, prompt="cat", segmenter=segmenter)
    assert answer, error
    check_cat(answer[1])
    return answer[1]


def test_a_server_that_is_killed_while_it_downloads_leaves_the_rest_to_the_next(house, hub: FakeHub, server: Started):
    """Two servers share a cache: both are asked for a model, and the one that has it on its way is killed."""
    folder, shared = house
    content = hub.files[f"{REPOSITORY}/model.safetensors"]
    half = len(content) // 2
    hub.holds_after = half
    with started(folder / "killed.log", shared) as killed, ThreadPoolExecutor() as pool:
        first = pool.submit(lambda: list(killed.press_download(NAME)))
        arrived = folder / "models" / "hub"
        assert eventually(lambda: [file.stat().st_size for file in arrived.rglob("*.incomplete")] == [half])
        seen: list[str] = []
        second = pool.submit(lambda: seen.extend(server.press_download(NAME)))
        assert eventually(lambda: any("model.safetensors" in one for one in seen)), "who waits is told how far it is"
        for one in (killed, server):
            looked(one)
            assert not ready(one)
        killed.end(signal.SIGKILL)
        with pytest.raises(httpx.HTTPError):
            first.result(PATIENCE)
        second.result(PATIENCE)
        hub.let_go.set()
    assert ready(server)
    parts = [start for method, name, start in hub.requests if method == "GET" and name.endswith("model.safetensors")]
    assert parts == [None, f"bytes={half}-"], "what had come was not sent again"
    assert looked(server, NAME)["model"] == f"embedded + {NAME}"
    assert "Traceback" not in server.log
    with started(folder / "again.log", shared) as again:
        assert ready(again)
        assert looked(again, NAME) == looked(server, NAME)
        _end_while_it_follows(again, server, folder)


def _end_while_it_follows(ending: Started, other: Started, folder: Path) -> None:
    """SIGTERM during work: the program ends, and another that shares the folder goes on where it was."""
    with Image.open(PICNIC) as picture:
        frame = np.asarray(picture.convert("RGB").resize((320, 240)))
    clip = clips.write(folder / "picnic.mp4", frames=[frame] * 100, rate=25)
    video = ending.upload("picnic.mp4", clip.read_bytes())
    address = ending.ask("track", video=video, prompt="cat", every=1)
    tracks = folder / "files" / "tracks"
    assert eventually(lambda: any(file.stat().st_size > 2000 for file in tracks.glob("*.jsonl")))
    begun = time.monotonic()
    assert ending.end(signal.SIGTERM) == 0
    assert time.monotonic() - begun < PATIENCE, "5 seconds on a machine that has nothing else to do"
    with pytest.raises(httpx.HTTPError):
        ending.http.get(address)
    (file,) = tracks.glob("*.jsonl")
    kept = file.read_bytes()
    kept = kept[: kept.rindex(b"\n") + 1]
    assert 2 <= kept.count(b"\n") < 100, "it ended in the middle"
    (_, record), error = other.call("track", video=other.upload("picnic.mp4", clip.read_bytes()), prompt="cat", every=1)
    assert not error
    assert file.read_bytes().startswith(kept), "what was done is not done again"
    assert len(record["frames"]) == 100
    assert [one["phrase"] for one in record["tracks"]] == ["cat"]


def test_sigterm_ends_the_program(server: Started):
    """The last test that needs it."""
    image = server.upload("picnic.webp", PICNIC.read_bytes())
    (_, record), _ = server.call("detect", image=image, prompt="cat")
    check_cat(record)
    assert server.end(signal.SIGTERM) == 0
    (line,) = (one for one in server.requests if one["request"] == "detect")
    assert (line["model"], line["ended"]) == ("embedded", "ok")
    assert "prompt" not in line


@pytest.mark.skipif(sys.platform != "linux", reason="disks in memory are mounted as Linux does")
def test_a_full_disk_is_told_and_once_there_is_room_all_goes_on(tmp_path: Path, disk: Disk):
    places = {"GRADIO_TEMP_DIR": str(disk.folder / "files"), "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    with started(tmp_path / "log", places, "--local-files-only") as server:
        image = server.upload("picnic.webp", PICNIC.read_bytes())
        check_cat((server.call("detect", image=image, prompt="cat")[0] or [])[1])
        filling = disk.fill()
        refused = server.http.post("gradio_api/upload", files={"files": ("other.webp", PICNIC.read_bytes() + b"more")})
        assert (refused.status_code, refused.text) == (507, NO_SPACE)
        assert server.call("detect", image=image, prompt="dog . cat") == (None, NO_SPACE)
        assert server.http.get("healthz").status_code == 200
        filling.unlink()
        looked(server)
        assert "Traceback" not in server.log
        assert [line["ended"] for line in server.requests] == ["ok", "refused", "ok"]
