import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
import supervision as sv
from PIL import Image

from groundingdino.editing.available_models import INPAINTERS, find_inpainter_card, has_inpainter
from groundingdino.editing.edits import Edit, MaskSettings, Sampling
from groundingdino.editing.inpainter import Inpainter
from groundingdino.editing.inpainter_models import load_inpainter
from groundingdino.editing.lama import LaMa
from groundingdino.editing.margins import Margins
from groundingdino.editing.perform import EditProgress, edit_picture
from groundingdino.editing.tasks import Outpaint, Region, Regions, Remove, Replace
from groundingdino.files.hub import HubFile
from groundingdino.runtime.interruption import Stopped
from tests.fake_hub import running_hub
from tests.tiny_lama import save_lama

RED = (200, 20, 10)
BOX = (50, 60, 90, 80)
EXACT = MaskSettings(grow=0, feather=0)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return save_lama(tmp_path_factory.mktemp("lama") / "tiny.onnx", bgr=RED[::-1])


@pytest.fixture(scope="module")
def lama(file) -> LaMa:
    return LaMa(file)


def picture(width: int = 300, height: int = 200) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x % 256, y % 256, (x + y) % 256], axis=-1).astype(np.uint8))


def boxed(*box: float) -> sv.Detections:
    return sv.Detections(np.array([box], np.float32))


@pytest.mark.parametrize("size", [(300, 200), (1600, 90), (90, 1600), (100, 81)])
def test_the_hole_is_filled_in_the_right_colours_and_the_rest_stays_to_the_bit(lama, size):
    before = picture(*size)
    edited = edit_picture(before, boxed(*BOX), Edit(Remove(), EXACT), lama)
    after = np.asarray(edited.images[0])
    x0, y0, x1, y1 = BOX
    assert (edited.mask[y0:y1, x0:x1] == 255).all()
    assert np.abs(after[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].astype(int) - RED).max() <= 1
    outside = edited.mask == 0
    np.testing.assert_array_equal(after[outside], np.asarray(before)[outside])
    assert edited.recipe["inpainter"] == "lama"
    assert max(edited.recipe["painted_at"]) == 512


def test_it_sees_the_square_with_what_is_around_and_a_soft_edge_blends_with_that(lama):
    """The graph gives back what it is shown around the hole."""
    before = picture()
    edited = edit_picture(before, boxed(*BOX), Edit(Remove(), MaskSettings(grow=0, feather=6)), lama)
    after, inside = np.asarray(edited.images[0]).astype(int), edited.mask > 0
    soft = inside & (edited.mask < 100)
    # Between the picture and what the graph gives of it, scaled up and down.
    assert np.abs(after - np.asarray(before))[soft].mean() < 12


def test_transparency_stays(lama):
    before = picture().convert("RGBA")
    before.putalpha(77)
    after = edit_picture(before, boxed(*BOX), Edit(Remove(), EXACT), lama).images[0]
    assert after.getpixel((70, 70)) == (*RED, 77)
    assert after.getpixel((10, 10)) == before.getpixel((10, 10))


def test_a_picture_grows_by_it_without_a_text(lama):
    task = Outpaint(Margins.parse("0,0,20%,0"), "")
    after = edit_picture(picture(), sv.Detections.empty(), Edit(task, EXACT), lama).images[0]
    assert after.size == (360, 200)
    assert after.getpixel((350, 100)) == RED


def test_progress_is_told_and_it_stops_before_and_after_the_pass(lama):
    reports: list[EditProgress] = []
    edit = Edit(Remove(), EXACT)
    edit_picture(picture(), boxed(*BOX), edit, lama, reports.append)
    assert [(each.step, each.steps) for each in reports] == [(0, 1), (1, 1)]
    assert np.abs(np.subtract(reports[1].preview.getpixel((70, 70)), RED)).max() <= 2
    for asked in (0, 1):
        reports.clear()
        answers = iter([*[False] * asked, True])
        with pytest.raises(Stopped):
            edit_picture(picture(), boxed(*BOX), edit, lama, reports.append, lambda: next(answers))  # noqa: B023
        assert len(reports) == 1


@pytest.mark.parametrize(
    "task", [Replace("dog"), Regions((Region(BOX, "dog"),)), Outpaint(Margins.parse("10%"), "a beach")]
)
def test_what_puts_something_there_is_refused(lama, task):
    with pytest.raises(ValueError, match=r"^LaMa removes, and puts nothing there: choose another inpainter for that"):
        edit_picture(picture(), boxed(*BOX), Edit(task, EXACT), lama)


def test_settings_of_sampling_are_refused(lama):
    with pytest.raises(ValueError, match="LaMa makes no use of steps, scheduler: leave that out"):
        edit_picture(picture(), boxed(*BOX), Edit(Remove(), EXACT, (), Sampling(9, scheduler="ddim")), lama)


def test_what_is_much_enlarged_is_told(lama):
    edited = edit_picture(picture(2400, 1800), boxed(100, 100, 2000, 1700), Edit(Remove(), EXACT), lama)
    (note,) = edited.notes
    assert "painted at 512 pixels and enlarged" in note


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"<html>" * 99, lambda data: data[:-60]])
def test_a_damaged_file_is_refused_in_a_sentence(file, tmp_path, damage):
    damaged = tmp_path / "lama.onnx"
    damaged.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"lama.onnx' cannot be read as LaMa: expected the ONNX file that 'opencv/"):
        Inpainter.from_pretrained(damaged, "cpu")


@pytest.mark.parametrize("other", [{"inputs": ("x", "y")}, {"gives": "known"}])
def test_another_graph_is_refused_in_a_sentence(tmp_path, other):
    lama = Inpainter.from_pretrained(save_lama(tmp_path / "other.onnx", RED, **other), "cpu")
    with pytest.raises(ValueError, match=r"'other.onnx' cannot be read as LaMa"):
        edit_picture(picture(), boxed(*BOX), Edit(Remove(), EXACT), lama)


def test_a_lack_of_memory_is_not_taken_for_a_damaged_file(file, monkeypatch):
    lama = Inpainter.from_pretrained(file, "cpu")

    class Full:
        def setInput(self, *_: object) -> None:
            error = cv2.error("OpenCV: Failed to allocate 9999999999 bytes in function 'OutOfMemoryError'")
            error.code = cv2.Error.StsNoMem
            raise error

    monkeypatch.setattr(lama, "_net", Full())
    with pytest.raises(MemoryError, match="Failed to allocate"):
        edit_picture(picture(), boxed(*BOX), Edit(Remove(), EXACT), lama)


def test_an_opencv_that_is_too_old_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "__version__", "4.12.0")
    (tmp_path / "bad.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cannot be read by OpenCV 4.12.0: LaMa takes OpenCV 5"):
        LaMa(tmp_path / "bad.onnx")


def test_a_file_of_ones_own_has_a_card_of_its_own(file):
    lama = Inpainter.from_pretrained(str(file), "cpu")
    assert isinstance(lama, LaMa)
    assert (lama.name, lama.card.repository, lama.card.description) == ("tiny.onnx", None, "Your own weights.")
    assert lama.card.size_bytes == file.stat().st_size
    with pytest.raises(ValueError, match="is no pipeline: load it with Inpainter"):
        load_inpainter(file)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with running_hub(monkeypatch, tmp_path) as server:
        yield server


def test_it_is_fetched_on_request_and_checked(file, hub, monkeypatch):
    published, data = INPAINTERS["lama"].file, file.read_bytes()
    assert isinstance(published, HubFile)
    assert (published.size, len(published.sha256 or "")) == (INPAINTERS["lama"].size_bytes, 64)
    tiny = replace(published, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setitem(INPAINTERS, "lama", replace(INPAINTERS["lama"], file=tiny))
    key = f"{published.repository}/{published.filename}"
    hub.files[key] = data
    assert not has_inpainter("lama")
    with pytest.raises(ValueError, match=r"switched off by local_files_only.*hf download opencv/inpainting_lama"):
        Inpainter.from_pretrained("lama", "cpu", local_files_only=True)
    hub.served[key] = b"\0" * len(data)
    with pytest.raises(ValueError, match=r"arrived damaged \(its checksum is wrong\)"):
        Inpainter.from_pretrained("lama", "cpu")
    hub.served.clear()
    done: list[int] = []
    lama = Inpainter.from_pretrained("lama", "cpu", progress=lambda arrived, *_: done.append(arrived))
    assert has_inpainter("lama")
    assert done[-1] == len(data)
    assert isinstance(lama, LaMa)
    assert find_inpainter_card("lama").removes_only
    assert edit_picture(picture(), boxed(*BOX), Edit(Remove(), EXACT), lama).images[0].getpixel((70, 70)) == RED
