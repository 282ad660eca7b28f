import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from oracle import CARD, Oracle

from groundingdino.page.shelf import Progress, Shelf

CARDS = {"embedded": CARD, "large": replace(CARD, name="large", title="Large", size_bytes=1000)}


class Loader:
    """Stands in for `Detector.from_pretrained`; counts how often it was asked."""

    def __init__(self, error: Exception | None = None, seconds: float = 0.0):
        self.loaded: list[tuple[str, dict[str, Any]]] = []
        self.error = error
        self.seconds = seconds

    def __call__(self, name: str, progress=None, **options: Any) -> Any:
        if progress:
            progress(400, 1000, "the weights")
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        self.loaded.append((name, options))
        return Oracle({}, CARDS[name])


def shelf(loader: Loader, **options: Any) -> Shelf:
    return Shelf(CARDS, loader, lambda name: name == "embedded", **options)


def test_a_model_is_loaded_once_by_all_who_need_it():
    loader = Loader(seconds=0.1)
    shared = shelf(loader, device="cpu")
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(shared.get("embedded"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loader.loaded == [("embedded", {"device": "cpu", "local_files_only": True})]
    assert len({id(detector) for detector in found}) == 1


def test_using_a_model_never_downloads_it():
    with pytest.raises(ValueError, match="Large is not on this machine yet: download it first"):
        shelf(Loader()).get("large")


def test_what_cannot_be_used_is_known_without_loading():
    loader = Loader()
    assert shelf(loader).require("embedded") == CARD
    with pytest.raises(ValueError, match="Large is not on this machine yet"):
        shelf(loader).require("large")
    assert loader.loaded == []


def test_an_unknown_model_is_answered_with_the_names():
    with pytest.raises(ValueError, match="no model 'huge'; choose one of embedded, large"):
        shelf(Loader()).get("huge")


def test_a_download_reports_its_progress_and_leaves_the_model_ready():
    loader = Loader(seconds=0.5)
    shared = shelf(loader)
    assert not shared.is_ready("large")
    reports = list(shared.download("large"))
    assert reports
    assert set(reports) == {Progress(400, 1000, "the weights")}
    assert shared.is_ready("large")
    assert shared.get("large").card.title == "Large"
    assert loader.loaded == [("large", {"device": None, "local_files_only": False})]


def test_two_who_ask_follow_one_download():
    loader = Loader(seconds=0.4)
    shared = shelf(loader)
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

    shared = Shelf(CARDS, load, lambda name: name == "embedded" or arrived.is_set())
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

    shared = Shelf(CARDS, load, lambda name: name in arrived)
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

    shared = Shelf(CARDS, loader, has_files)
    assert list(shared.download("large")) == []
    assert len(loader.loaded) == 1


def test_a_download_goes_on_when_its_page_is_closed():
    shared = shelf(Loader(seconds=0.4))
    follower = shared.download("large")
    next(follower)
    follower.close()
    deadline = time.monotonic() + 5
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
    shared = shelf(loader)
    with pytest.raises(ValueError, match=message):
        list(shared.download("large"))
    loader.error = None
    list(shared.download("large"))
    assert shared.is_ready("large")


def test_downloads_can_be_switched_off():
    with pytest.raises(ValueError, match="downloads are switched off"):
        list(shelf(Loader(), local_files_only=True).download("large"))


def test_a_model_that_is_there_is_not_downloaded():
    loader = Loader()
    assert list(shelf(loader).download("embedded")) == []
    assert loader.loaded == []
