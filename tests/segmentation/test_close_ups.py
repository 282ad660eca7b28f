"""Small objects are looked at once more, enlarged, and their masks come back to where they lie."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from groundingdino.segmentation import candidates as asking
from groundingdino.segmentation import segmenter as segmenting
from groundingdino.segmentation.close_ups import FAR, Part, enlarge, move, part_around
from groundingdino.segmentation.embedded_sam import build_embedded_sam
from groundingdino.segmentation.mask_prompts import MaskPrompt
from groundingdino.segmentation.segmenter import Segmenter
from groundingdino.segmentation.segmenter_models import SEGMENTERS, LoadedSegmenter

SIZE = (400, 300)
SMALL = (200.0, 100.0, 224.0, 120.0)


@pytest.fixture(scope="module")
def loaded() -> LoadedSegmenter:
    torch.manual_seed(0)
    return LoadedSegmenter(build_embedded_sam(96).eval(), SEGMENTERS["embedded"])


@pytest.fixture
def segmenter(loaded) -> Segmenter:
    return Segmenter(loaded)


@pytest.fixture
def parts(monkeypatch) -> list[Part]:
    """The parts of pictures that are encoded."""
    seen = []

    def noted(model, image, part):
        seen.append(part)
        return encode(model, image, part)

    encode = asking.encode_part
    monkeypatch.setattr(asking, "encode_part", noted)
    return seen


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8))


@pytest.mark.parametrize("box", [SMALL, (0, 0, 20, 30), (380, 280, 400, 300), (0, 140, 60, 150), (10, 10, 11, 11)])
@pytest.mark.parametrize("square", [96, 512])
def test_a_part_lies_in_the_picture_around_the_object(box, square):
    part = part_around(box, SIZE, square)
    assert part is not None
    x0, y0, x1, y1 = box
    assert 0 <= part.left <= x0 < x1 <= part.right <= SIZE[0]
    assert 0 <= part.top <= y0 < y1 <= part.bottom <= SIZE[1]
    assert part.width % 32 == part.height % 32 == 0
    assert 32 <= min(part.width, part.height) <= max(part.width, part.height) <= square * 5 / 8
    whole = square / max(SIZE)
    assert max(part.scale) > 1.1 * whole


def test_what_is_large_already_is_not_looked_at_again():
    assert part_around((50, 50, 250, 250), SIZE, 512) is None
    assert part_around((0, 0, *SIZE), SIZE, 512) is None
    assert part_around((50, 50, 250, 250), (4000, 3000), 512) is not None


def test_a_box_that_moves_a_little_is_looked_at_in_the_same_part():
    first = part_around((200, 100, 225, 120), SIZE, 512)
    assert part_around((200.3, 99.7, 224.8, 120.2), SIZE, 512) == first
    assert part_around((230, 100, 255, 120), SIZE, 512) != first


def test_logits_move_from_part_to_part():
    old, new = Part(0, 0, 64, 64, 64, 64), Part(16, 32, 80, 64, 128, 64)
    logits = torch.full((32, 32), -3.0)
    logits[18:26, 10:20] = 5  # pixels 20 to 40 and 36 to 52 of the picture
    moved = move(logits, old, new)
    assert moved.shape == (32, 64)
    y, x = torch.nonzero(moved > 0).unbind(1)
    assert [x.min().item(), x.max().item() + 1, y.min().item(), y.max().item() + 1] == [4, 24, 4, 20]
    assert (moved[:, -8:] == -FAR).all()  # from pixel 64 on the first part shows nothing


def test_enlarged_logits_have_the_parts_size():
    assert enlarge(torch.zeros(8, 16), Part(10, 20, 47, 41, 32, 16)).shape == (21, 37)


@pytest.mark.parametrize(
    ("prompt", "looks"),
    [
        (MaskPrompt(box=SMALL), 1),
        (MaskPrompt(box=SMALL, points=[(210, 110, 1)]), 1),  # the box again, in the same part
        (MaskPrompt(box=(20, 20, 380, 280)), 0),
    ],
    ids=["small", "corrected", "large"],
)
def test_small_boxes_are_looked_at_closer(prompt, looks, segmenter, parts):
    encoded = segmenter.encode_image(picture())
    segmenter.segment(encoded, [prompt])
    assert len(parts) == looks
    segmenter.segment(encoded, [prompt, replace(prompt, candidate=1)])
    assert len(parts) == looks


def test_only_where_the_card_says_so(loaded, parts):
    plain = Segmenter(loaded._replace(card=replace(loaded.card, close_ups=False)))
    plain.segment(plain.encode_image(picture()), [MaskPrompt(box=SMALL)])
    assert not parts


def test_a_mask_lies_where_its_part_does(segmenter, monkeypatch):
    """What the decoder says of the middle of the part is in the middle of the object's box."""

    def middle(_model, _features, part, _box, _clicks, previous):
        assert previous is None
        logits = torch.full((4, part.height // 2, part.width // 2), -1.0)
        x, y = ((low + high) / 2 for low, high in ((200, 224), (100, 120)))
        column, row = (x - part.left) * part.scale[0] / 2, (y - part.top) * part.scale[1] / 2
        logits[:, int(row) - 2 : int(row) + 2, int(column) - 2 : int(column) + 2] = 1
        return logits, torch.tensor([0.9, 0.1, 0.1, 0.1]), torch.zeros(4)

    monkeypatch.setattr(asking, "decode_part", middle)
    found = segmenter.segment(segmenter.encode_image(picture()), [MaskPrompt(box=SMALL)])
    y, x = np.nonzero(np.asarray(found.mask[0]).reshape(SIZE[::-1]))
    assert abs(x.mean() - 212) < 4  # a cell and a half
    assert abs(y.mean() - 110) < 4
    assert found.confidence == pytest.approx([0.9])


def test_a_click_is_answered_as_large_as_its_object_turns_out(segmenter, monkeypatch):
    """First by the whole picture; then by the part around what that found, and corrections start from there."""
    asked = []

    def noted(model, features, part, box, clicks, previous):
        asked.append((part, len(clicks[1]), previous))
        return decode(model, features, part, box, clicks, previous)

    decode = asking.decode_part
    monkeypatch.setattr(asking, "decode_part", noted)
    monkeypatch.setattr(asking.Candidates, "box", lambda *_: np.array(SMALL))
    encoded = segmenter.encode_image(picture())
    segmenter.segment(encoded, [MaskPrompt(points=[(210, 110, 1)])])
    segmenter.segment(encoded, [MaskPrompt(points=[(210, 110, 1), (222, 118, 0)])])
    (part, clicks, previous), (again, more, corrected) = asked
    assert (clicks, more) == (1, 2)
    assert previous is None
    assert again == part
    assert corrected.shape == (part.height // 2, part.width // 2)


def test_everything_asks_for_what_the_embedding_proposes(segmenter, monkeypatch):
    """Twice: the second time with the boxes of the masks. Of all masks that overlap the best stays."""
    # Of 96 x 72.
    proposed = torch.tensor([[48.0, 24, 54, 30], [48.6, 24, 54.6, 30], [72, 48, 78, 54], [0, 0, 0.01, 0.01]])
    asked = []

    def block(_model, _features, part, box, _clicks, _previous):
        """A block of 16 pixels at the box's corner, as sure as it lies to the left."""
        asked.append(box)
        x, y = (int((box[axis] - part[axis]) * part.scale[axis] / 2) for axis in (0, 1))
        wide, high = (int(16 * scale / 2) for scale in part.scale)
        logits = torch.full((4, part.height // 2, part.width // 2), -5.0)
        logits[:, y : y + high, x : x + wide] = 5
        return logits, torch.zeros(4), torch.tensor([1 - box[0] / 1000, 0, 0, 0])

    known = [0.0] * 6  # by the embedding's cells, of each mask: of the second answers to the proposals, then the first
    monkeypatch.setattr(segmenting.ObjectCells, "propose", lambda _, points_per_side: proposed[:points_per_side])
    monkeypatch.setattr(segmenting.ObjectCells, "agreement", lambda _, masks: np.array(known[: len(masks)]))
    monkeypatch.setattr(asking, "decode_part", block)
    encoded = segmenter.encode_image(picture())
    found = segmenter.everything(encoded)
    assert len(asked) == 6
    assert np.abs(np.subtract(asked[0], np.array([200, 100, 225, 125]))).max() < 0.1  # the model's pixels are 4.2 wide
    assert np.abs(np.subtract(asked[3], np.array([200, 100, 216, 116]))).max() < 6
    assert np.abs(found.xyxy - np.array([[200, 100, 216, 116], [300, 200, 316, 216]])).max() < 6
    assert found.confidence[0] > found.confidence[1]
    for settings, count in (
        ({"points_per_side": 2}, 1),
        ({"min_quality": 0.75}, 1),
        ({"min_stability": 1.0}, 2),
        ({"nms_threshold": 1.0}, 6),
    ):
        assert len(segmenter.everything(encoded, **settings)) == count
    known[2] = 0.5
    better_known = segmenter.everything(encoded, nms_threshold=0.69)  # so that it is computed anew
    assert better_known.confidence.tolist() == found.confidence[::-1].tolist()


def test_clicks_beside_the_part_do_not_count(segmenter, monkeypatch):
    model = segmenter.model
    part = part_around(SMALL, SIZE, 96)
    features = asking.encode_part(model, picture(), part)
    seen = []

    def embed(points, boxes, masks, window):
        seen.append(points)
        return original(points, boxes, masks, window)

    original = model.prompt_encoder.embed
    monkeypatch.setattr(model.prompt_encoder, "embed", embed)
    clicks = np.array([[210.0, 110.0], [5.0, 5.0]]), np.array([1, 0])
    asking.decode_part(model, features, part, None, clicks, None)
    ((places, labels),) = seen
    assert labels.tolist() == [[1]]
    x, y = part.corner(96)
    expected = [(210 - part.left) * part.scale[0] + x, (110 - part.top) * part.scale[1] + y]
    assert places[0, 0].tolist() == pytest.approx(expected, abs=1e-3)
