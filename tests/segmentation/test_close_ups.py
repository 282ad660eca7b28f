"""Small objects are looked at once more, enlarged, and their masks come back to where they lie."""

from dataclasses import replace

import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image

from groundingdino.artwork.drawings import MAIN_STYLE, Artwork
from groundingdino.segmentation import candidates as asking
from groundingdino.segmentation.close_ups import FAR, Part, decode_part, encode_part, enlarge, move, part_around
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


# ---- what comes of it, by the model that comes along


@pytest.fixture(scope="module")
def trained() -> Segmenter:
    return Segmenter.from_pretrained("embedded", device="cpu")


def scene(*drawings: tuple[str, tuple[int, int], int]) -> tuple[Image.Image, list[np.ndarray]]:
    """A picture with drawings by code point, place and width in pixels; and the pixels of each."""
    grey = np.linspace(150, 220, 800, dtype=np.uint8)
    image, truth = Image.fromarray(np.tile(grey[None, :, None], (600, 1, 3))), []
    artwork = Artwork((MAIN_STYLE,), 64)
    for codepoints, place, width in drawings:
        sprite = artwork.sprite(MAIN_STYLE, codepoints)
        sprite = sprite.resize((width, round(width * sprite.height / sprite.width)))
        image.paste(sprite, place, sprite)
        alone = Image.new("L", image.size)
        alone.paste(sprite.getchannel("A"), place)
        truth.append(np.asarray(alone) > 127)
    return image, truth


def iou(mask: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(mask & other) / np.count_nonzero(mask | other)


CAT, DOG, APPLE, DINOSAUR = "1f431", "1f436", "1f34e", "1f996"


@pytest.mark.parametrize("drawing", [CAT, DOG, APPLE, DINOSAUR])
def test_a_small_object_is_cut_out_better_than_the_whole_picture_shows_it(trained, drawing):
    image, (truth,) = scene((drawing, (500, 200), 24))
    box = sv.mask_to_xyxy(truth[None])[0] + np.array([0, 0, 1, 1])
    middle = (*np.argwhere(truth).mean(0)[::-1].round(), 1)
    prompts = [
        MaskPrompt(box=box),
        MaskPrompt(points=[middle]),
        MaskPrompt(points=[middle, (box[0] - 20, box[1] - 10, 0)]),  # which corrects the one before
    ]
    far = Segmenter(LoadedSegmenter(trained.model, replace(trained.card, close_ups=False)))
    closer, plain = (
        [iou(mask, truth) for mask in np.asarray(segmenter.segment(segmenter.encode_image(image), prompts).mask)]
        for segmenter in (trained, far)
    )
    assert min(closer) > 0.85
    assert all(near > 0.03 + other for near, other in zip(closer, plain, strict=True))


def test_everything_finds_each_object_once_and_its_settings_say_which(trained):
    image, truths = scene(
        (CAT, (100, 100), 60), (DOG, (500, 200), 60), (APPLE, (300, 400), 30), (DINOSAUR, (650, 450), 90)
    )
    encoded = trained.encode_image(image)

    def found(**settings: float) -> list[float]:
        """For each object how well the best mask shows it."""
        masks = np.asarray(trained.everything(encoded, **settings).mask).reshape(-1, *truths[0].shape)
        counts.append(len(masks))
        return [max((iou(mask, truth) for mask in masks), default=0.0) for truth in truths]

    counts: list[int] = []
    assert min(found()) > 0.9
    assert min(found(nms_threshold=1.0)) > 0.9
    assert max(found(points_per_side=2)) == 0, "none lies on four points"
    assert min(found(min_quality=1.0)) == 0, "not all are sure"
    assert max(found(min_stability=1.0)) == 0, "no mask has edges that sharp"
    once, overlapping, *rest = counts
    assert once == len(truths) < overlapping
    assert all(count < once for count in rest)


def test_clicks_beside_the_part_do_not_count(trained):
    image, _ = scene((CAT, (200, 100), 24))
    part = part_around(SMALL, image.size, trained.model.image_encoder.img_size)
    assert part is not None
    features = encode_part(trained.model, image, part)

    def decoded(*clicks: tuple[float, float, int]) -> torch.Tensor:
        places = np.array([click[:2] for click in clicks]), np.array([click[2] for click in clicks])
        return decode_part(trained.model, features, part, None, places, None)[0]

    inside = decoded((212, 112, 1))
    assert torch.equal(decoded((212, 112, 1), (5, 5, 0)), inside)
    assert not torch.equal(decoded((212, 112, 1), (220, 106, 0)), inside)
