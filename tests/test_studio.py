import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from oracle import CARD, Oracle
from PIL import Image

from groundingdino.studio import Progress, Studio, Thresholds

SIZE = (64, 48)
ANSWERS = {SIZE: {"cat": [(0.9, (1, 2, 30, 40)), (0.3, (40, 2, 60, 40))]}}
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
        return Oracle(ANSWERS, CARDS[name])


def studio(loader: Loader, **options: Any) -> Studio:
    return Studio(load=loader, cards=CARDS, has_files=lambda name: name == "embedded", **options)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", SIZE, "teal").save(path)
    return path


def test_a_model_is_loaded_once_by_all_who_need_it():
    loader = Loader(seconds=0.1)
    shared = studio(loader, device="cpu")
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(shared.detector("embedded"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loader.loaded == [("embedded", {"device": "cpu", "local_files_only": True})]
    assert len({id(detector) for detector in found}) == 1


def test_using_a_model_never_downloads_it():
    with pytest.raises(ValueError, match="Large is not on this machine yet: download it first"):
        studio(Loader()).detector("large")


def test_an_unknown_model_is_answered_with_the_names():
    with pytest.raises(ValueError, match="no model 'huge'; choose one of embedded, large"):
        studio(Loader()).detector("huge")


def test_a_download_reports_its_progress_and_leaves_the_model_ready():
    loader = Loader(seconds=0.5)
    shared = studio(loader)
    assert not shared.is_ready("large")
    reports = list(shared.download("large"))
    assert reports
    assert set(reports) == {Progress(400, 1000, "the weights")}
    assert shared.is_ready("large")
    assert shared.detector("large").card.title == "Large"
    assert loader.loaded == [("large", {"device": None, "local_files_only": False})]


def test_two_who_ask_follow_one_download():
    loader = Loader(seconds=0.4)
    shared = studio(loader)
    threads = [threading.Thread(target=lambda: list(shared.download("large"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loader.loaded) == 1


def test_a_download_goes_on_when_its_page_is_closed():
    shared = studio(Loader(seconds=0.4))
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
    shared = studio(loader)
    with pytest.raises(ValueError, match=message):
        list(shared.download("large"))
    loader.error = None
    list(shared.download("large"))
    assert shared.is_ready("large")


def test_downloads_can_be_switched_off():
    with pytest.raises(ValueError, match="downloads are switched off"):
        list(studio(Loader(), local_files_only=True).download("large"))


def test_a_model_that_is_there_is_not_downloaded():
    loader = Loader()
    assert list(studio(loader).download("embedded")) == []
    assert loader.loaded == []


def test_thresholds_are_the_models_own_unless_given(picture: Path):
    shared = studio(Loader())
    image = shared.image(picture)
    assert len(shared.find(image, "cat", "embedded", Thresholds()).detections) == 1
    found = shared.find(image, "cat", "embedded", Thresholds(box=0.2))
    assert len(found.detections) == 2
    assert found.box_threshold == 0.2
    assert found.best_score == pytest.approx(0.9)


def test_what_was_computed_before_takes_no_time(picture: Path):
    shared = studio(Loader())
    image = shared.image(picture)
    first = shared.find(image, "cat", "embedded", Thresholds())
    assert first.timing == (3.0, 20.0, 40.0)
    assert shared.find(image, "dog", "embedded", Thresholds()).timing == (3.0, None, 40.0)
    assert shared.find(image, "cat", "embedded", Thresholds(box=0.1)).timing == (None, None, None)


def test_an_empty_prompt_finds_nothing(picture: Path):
    shared = studio(Loader())
    found = shared.find(shared.image(picture), " ", "embedded", Thresholds())
    assert (len(found.detections), found.phrases, found.best_score) == (0, (), 0.0)


def test_a_sentence_is_told_by_the_labels_that_were_found(picture: Path):
    shared = studio(Loader())
    found = shared.find(shared.image(picture), "there is a cat on it", "embedded", Thresholds())
    assert found.phrases == ("cat",)


def test_a_picture_is_decoded_once_and_again_when_the_file_changes(picture: Path):
    shared = studio(Loader())
    first = shared.image(picture)
    assert shared.image(picture) is first
    Image.new("RGB", (30, 20)).save(picture)
    assert shared.image(picture).size == (30, 20)


@pytest.mark.parametrize(
    ("size", "canvas", "shown"),
    [
        ((4000, 3000), (800, 800), (800, 600)),
        ((300, 400), (800, 600), (450, 600)),
        ((10, 10), (800, 600), (40, 40)),  # not enlarged beyond blocks
        ((5000, 1), (800, 600), (800, 1)),
    ],
)
def test_the_picture_fits_the_canvas(tmp_path: Path, size, canvas, shown):
    path = tmp_path / "picture.png"
    Image.new("RGB", size).save(path)
    picture = studio(Loader()).picture(path, canvas)
    assert picture.image.size == size
    assert picture.shown.size == shown
    assert picture.scale == pytest.approx(shown[0] / size[0])


def test_a_picture_that_is_gone_is_asked_for_again(tmp_path: Path):
    with pytest.raises(ValueError, match="no longer on the server"):
        studio(Loader()).image(tmp_path / "gone.png")


def test_what_is_no_picture_is_refused_without_naming_the_servers_folders(tmp_path: Path):
    path = tmp_path / "notes.jpg"
    path.write_text("no picture")
    with pytest.raises(ValueError, match="not an image") as caught:
        studio(Loader()).image(path)
    assert str(tmp_path) not in str(caught.value)
