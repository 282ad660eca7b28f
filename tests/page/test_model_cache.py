import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from groundingdino.files.downloads import NotSaved
from groundingdino.page.model_cache import ModelCache, Progress
from tests.oracle import CARD, Oracle

CARDS = {"embedded": CARD, "large": replace(CARD, name="large", title="Large", size_bytes=1000)}
CARDS |= {name: replace(CARD, name=name) for name in ("b", "c", "d")}


class Loader:
    """Stands in for `Detector.from_pretrained`; counts how often it was asked."""

    def __init__(self, error: Exception | None = None, seconds: float = 0.0, arrives: threading.Event | None = None):
        self.loaded: list[tuple[str, dict[str, Any]]] = []
        self.error = error
        self.seconds = seconds
        self.arrives = arrives  # a download waits for it in the middle

    def __call__(self, name: str, progress=None, **options: Any) -> Any:
        if progress:
            progress(400, 1000, "the weights")
            assert self.arrives is None or self.arrives.wait(30)
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        self.loaded.append((name, options))
        return Oracle({}, CARDS[name])


def cache_of(loader: Loader, **options: Any) -> ModelCache:
    return ModelCache(CARDS, loader, lambda name: name == "embedded", **options)


def test_a_model_is_loaded_once_by_all_who_need_it():
    loader = Loader(seconds=0.1)
    shared = cache_of(loader, device="cpu")
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(shared.get("embedded"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loader.loaded == [("embedded", {"device": "cpu", "local_files_only": True})]
    assert len({id(detector) for detector in found}) == 1


def test_the_embedded_model_and_the_two_that_were_used_last_stay_in_memory():
    loader = Loader()
    shared = ModelCache(CARDS, loader, lambda _: True)
    for name in ("embedded", "b", "c", "b", "d", "b", "embedded", "d"):
        shared.get(name)
    assert [name for name, _ in loader.loaded] == ["embedded", "b", "c", "d"]
    shared.get("c")  # which made room for "d", and "b" now for it
    assert [name for name, _ in loader.loaded[4:]] == ["c"]
    shared.get("d")
    shared.get("embedded")
    assert len(loader.loaded) == 5
    shared.get("b")
    assert len(loader.loaded) == 6


def test_a_downloaded_model_takes_the_place_of_the_one_used_longest_ago():
    loader, here = Loader(), ["b", "c"]
    shared = ModelCache(CARDS, loader, here.__contains__)
    held = shared.get("b")
    shared.get("c")
    list(shared.download("large"))
    assert shared.get("b") is not held, "a request that runs with it keeps it"
    assert [name for name, _ in loader.loaded] == ["b", "c", "large", "b"]


@pytest.mark.parametrize(
    ("never_download", "message"),
    [(False, "Large is not on this machine yet: choose it in the page"), (True, "and downloads are switched off")],
)
def test_using_a_model_never_downloads_it(never_download: bool, message: str):
    with pytest.raises(ValueError, match=message):
        cache_of(Loader(), local_files_only=never_download).get("large")


def test_what_cannot_be_used_is_known_without_loading():
    loader = Loader()
    assert cache_of(loader).require("embedded") == CARD
    with pytest.raises(ValueError, match="Large is not on this machine yet"):
        cache_of(loader).require("large")
    assert loader.loaded == []


def test_an_unknown_model_is_answered_with_the_names():
    with pytest.raises(ValueError, match="no model 'huge'; choose one of embedded, large, b"):
        cache_of(Loader()).get("huge")


def test_a_download_reports_its_progress_and_leaves_the_model_ready():
    loader = Loader(arrives=threading.Event())
    shared = cache_of(loader)
    assert not shared.is_ready("large")
    for report in shared.download("large"):
        if report != Progress(0, 1000, "Large"):  # before it has begun
            assert report == Progress(400, 1000, "the weights")
            loader.arrives.set()
    assert loader.arrives.is_set()
    assert shared.is_ready("large")
    assert shared.get("large").card.title == "Large"
    assert loader.loaded == [("large", {"device": None, "local_files_only": False})]


def test_two_who_ask_follow_one_download():
    loader = Loader(seconds=0.4)
    shared = cache_of(loader)
    threads = [threading.Thread(target=lambda: list(shared.download("large"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loader.loaded) == 1


def test_who_needs_a_model_at_the_end_of_its_download_waits_for_it():
    """Its files are all here, and the download is loading them."""
    loader, arrived, found = Loader(seconds=0.5), threading.Event(), list[Any]()

    def load(name: str, **options: Any) -> Any:
        arrived.set()
        return loader(name, **options)

    shared = ModelCache(CARDS, load, lambda name: name == "embedded" or arrived.is_set())
    fetching = threading.Thread(target=lambda: list(shared.download("large")))
    using = [threading.Thread(target=lambda: found.append(shared.get("large"))) for _ in range(2)]
    fetching.start()
    assert arrived.wait(5)
    for thread in using:
        thread.start()
    for thread in (fetching, *using):
        thread.join(5)
    assert loader.loaded == [("large", {"device": None, "local_files_only": False})]
    assert [id(model) for model in found] == [id(shared.get("large"))] * 2


def test_a_model_whose_download_failed_at_its_end_is_loaded_from_its_files():
    loader, arrived = Loader(ValueError("Interrupted.")), list[str]()

    def load(name: str, **options: Any) -> Any:
        arrived.append(name)
        return loader(name, **options)

    shared = ModelCache(CARDS, load, lambda name: name in arrived)
    with pytest.raises(ValueError, match="Interrupted"):
        list(shared.download("large"))
    loader.error = None
    assert shared.get("large").card.title == "Large"


def test_a_download_that_has_ended_meanwhile_is_not_made_again():
    loader, asked = Loader(), list[str]()

    def has_files(name: str) -> bool:
        asked.append(name)
        if len(asked) == 1:  # somebody else's download begins and ends before this answer is heard
            list(shared.download(name))
        return False

    shared = ModelCache(CARDS, loader, has_files)
    assert list(shared.download("large")) == []
    assert len(loader.loaded) == 1


def test_a_download_goes_on_when_its_page_is_closed():
    arrives = threading.Event()
    shared = cache_of(Loader(arrives=arrives))
    follower = shared.download("large")
    next(follower)
    follower.close()
    arrives.set()
    deadline = time.monotonic() + 30
    while not shared.is_ready("large") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert shared.is_ready("large")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("The file is damaged: fetch it again."), "The file is damaged: fetch it again."),
        (OSError("no route to host"), "Large could not be downloaded: no route to host"),
    ],
)
def test_a_failed_download_says_why_and_can_be_tried_again(error: Exception, message: str):
    loader = Loader(error)
    shared = cache_of(loader)
    with pytest.raises(ValueError, match=message):
        list(shared.download("large"))
    loader.error = None
    list(shared.download("large"))
    assert shared.is_ready("large")


def test_a_disk_that_is_full_is_told_without_the_servers_folders(caplog):
    error = NotSaved("'weights.pth'", "/srv/secret", OSError(28, "No space left on device", "/srv/secret/blob"))
    with pytest.raises(ValueError, match=r"^Large could not be saved on the server: No space left on device\.$"):
        list(cache_of(Loader(error)).download("large"))
    assert "could not be saved in '/srv/secret'" in caplog.text, "who runs it is told where"


def test_files_that_cannot_be_loaded_are_a_matter_of_the_server(caplog):
    """Visitors can neither fetch them again nor mend a path."""
    shared = cache_of(Loader(ValueError("'/srv/secret/weights.pth' is truncated: download it again.")))
    with pytest.raises(ValueError, match=r"^Oracle cannot be loaded on this server, whose log says why: choose"):
        shared.get("embedded")
    assert "'/srv/secret/weights.pth' is truncated" in caplog.text


def test_downloads_can_be_switched_off():
    with pytest.raises(ValueError, match="downloads are switched off"):
        list(cache_of(Loader(), local_files_only=True).download("large"))


def test_a_model_that_is_there_is_not_downloaded():
    loader = Loader()
    assert list(cache_of(loader).download("embedded")) == []
    assert loader.loaded == []
