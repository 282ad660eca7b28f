"""Training pictures from labelled photographs: other crops, sizes and colours of them, several in one, and prompts.

source = PhotographSource(learn, words=Words(...), absent=("tiger", "anchor"), seed=0)
example = source(0, (256, 192))             # without end: any index, any size
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image, ImageFilter

from groundingdino.artwork.names import Name, load_names, may_mean, plural
from groundingdino.training.detector.coco_folder import Labelled
from groundingdino.training.detector.targets import Example
from groundingdino.training.detector.windows import draw_window, overlap
from groundingdino.training.scenes.scenes import SHORT_RATE, vary_picture

LEAST_SEEN = 0.35  # of an object: what shows less of it is no example of it
MOST_PHRASES = 24  # of a prompt, unless it asks for all names
ALL_RATE = 0.15  # of the prompts that ask for all names that the pictures are complete for
MOSAIC_RATE = 0.25  # of the pictures that are made of four
PASTE_RATE = 0.35  # of the pictures into which objects of others are pasted
TRIES = 6  # at a crop that cuts no object


class Words:
    """What people call things: the names that drawings have, and more.

    Args:
        synonyms: further words of a name.
        known: names that drawings have; None: all.
    """

    def __init__(self, synonyms: Mapping[str, Sequence[str]] = {}, known: Iterable[Name] | None = None):
        self._synonyms: dict[str, tuple[str, ...]] = {}
        self._true: dict[str, frozenset[str]] = {}
        for name in load_names() if known is None else known:
            for word in (name.name, *name.synonyms):
                self._synonyms[word] = tuple(other for other in (name.name, *name.synonyms) if other != word)
                self._true[word] = name.words
        for name_, others in synonyms.items():
            self._synonyms[name_] = tuple(others)
            self._true[name_] = self._true.get(name_, frozenset()) | {name_, *others}

    def synonyms(self, name: str) -> tuple[str, ...]:
        """Other names of the same."""
        return self._synonyms.get(name, ())

    def names(self, name: str) -> tuple[str, ...]:
        """A name and its synonyms."""
        return (name, *self.synonyms(name))

    def true_of(self, name: str) -> frozenset[str]:
        """All that is certainly true of what has a name, broader words too."""
        return self._true.get(name, frozenset((name,)))


@dataclass(frozen=True)
class PhotographExample:
    """A picture made of photographs, see `targets.Example`.

    Args:
        names: (N) what each object is called.
    """

    image: np.ndarray
    boxes: np.ndarray
    names: tuple[str, ...]
    prompt: tuple[str, ...]
    positives: tuple[int | None, ...]
    words: Words

    def may_be(self, box: int, other: Example, phrase: int) -> bool:
        """Whether a phrase of another picture may be true of a box."""
        return may_mean(other.prompt[phrase], self.words.true_of(self.names[box]))


@dataclass(frozen=True)
class Cutout:
    """An object of a photograph to be pasted elsewhere, and what it is called."""

    pixels: Image.Image  # RGBA
    name: str


@dataclass
class _Page:
    """What a picture under construction shows."""

    image: Image.Image
    boxes: list[tuple[float, float, float, float]]
    names: list[str]
    doubtful: frozenset[str] = frozenset()  # names that may be true of something in it


class PhotographSource:
    """Makes training pictures of a set of photographs, from a seed and an index.

    Args:
        pictures: to learn from.
        complete: names of which every object in the pictures is marked.
        absent: further names of which nothing is in any of them.
        words: what else the names are called.
        seed: of everything.
        cutouts: objects to paste into the pictures, of names in `complete` or `absent`, which are then marked.
        doubtful: of pictures, by their path, names of which something may be there: they are never said to be absent.
    """

    def __init__(
        self,
        pictures: Sequence[Labelled],
        complete: Iterable[str],
        absent: Iterable[str] = (),
        words: Words | None = None,
        seed: int = 0,
        cutouts: "Sequence[CutoutMaker]" = (),
        doubtful: Mapping[Path, frozenset[str]] = {},
    ):
        self.doubtful = doubtful
        self.words = words or Words()
        self.pictures = [picture for picture in map(without_doubles, pictures) if not np.isnan(picture.boxes).any()]
        if not self.pictures:
            raise ValueError("No picture has boxes: there is nothing to learn from.")
        self.complete, self.absent, self.seed = tuple(complete), tuple(absent), seed
        known = {*self.complete, *self.absent}
        self.cutouts = [make for make in cutouts if make.name in known]
        self._by_name: dict[str, list[CutoutMaker]] = {}
        for make in self.cutouts:
            self._by_name.setdefault(make.name, []).append(make)

    def __call__(self, index: int, size: tuple[int, int]) -> PhotographExample:
        """Picture number `index` of `size` (width, height) in pixels."""
        rng = np.random.default_rng([self.seed, index])
        # What a set is not complete for may be in others of its pictures, unmarked.
        mosaic = rng.random() < MOSAIC_RATE and self.complete
        page = self._mosaic(rng, size) if mosaic else self._crop(rng, size)
        if self.cutouts and rng.random() < PASTE_RATE:
            for _ in range(int(rng.integers(1, 5))):
                self._paste(page, rng)
        pixels = np.asarray(page.image)
        prompt, positives = self._prompt(page.names, rng, page.doubtful)
        return PhotographExample(
            image=vary_picture(pixels, rng),
            boxes=np.array(page.boxes, np.float32).reshape(-1, 4),
            names=tuple(page.names),
            prompt=prompt,
            positives=positives,
            words=self.words,
        )

    def _crop(self, rng: np.random.Generator, size: tuple[int, int]) -> _Page:
        """A part of one photograph, or all of it with something around."""
        picture = self.pictures[int(rng.integers(len(self.pictures)))]
        window = draw_window(rng, picture, size, LEAST_SEEN, TRIES)
        pixels = picture.read()
        some = tuple(map(int, rng.integers(0, 256, 3)))
        shown = window.look(pixels, some if rng.random() < 0.5 else _mean_colour(pixels))
        page = _Page(shown, [], [], self.doubtful.get(picture.path, frozenset()))
        for box, name in zip(picture.boxes, picture.names, strict=True):
            x0, y0, x1, y1 = moved = window.move(box)
            if overlap(box, window.part) >= LEAST_SEEN and min(x1 - x0, y1 - y0) >= 2:
                page.boxes.append(moved)
                page.names.append(name)
        return page

    def _mosaic(self, rng: np.random.Generator, size: tuple[int, int]) -> _Page:
        """Four photographs beside each other (YOLOv4's mosaic, arXiv 2004.10934, section 3.3)."""
        width, height = size
        x, y = (round(side * float(rng.uniform(0.3, 0.7))) for side in size)
        page = _Page(Image.new("RGB", size), [], [])
        for left, top, right, bottom in ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)):
            part = self._crop(rng, (right - left, bottom - top))
            page.image.paste(part.image, (left, top))
            page.boxes += [(x0 + left, y0 + top, x1 + left, y1 + top) for x0, y0, x1, y1 in part.boxes]
            page.names += part.names
            page.doubtful |= part.doubtful
        return page

    def _paste(self, page: _Page, rng: np.random.Generator) -> None:
        """Lay an object of another photograph on the picture (arXiv 2012.07177); rare names are taken as often."""
        names = list(self._by_name)
        makers = self._by_name[names[int(rng.integers(len(names)))]]
        cutout = makers[int(rng.integers(len(makers)))]()
        width, height = page.image.size
        longest = min(width, height) * float(np.exp(rng.uniform(np.log(0.12), np.log(0.7))))
        scale = min(longest / max(cutout.pixels.size), 1.5)
        size = (max(2, round(cutout.pixels.width * scale)), max(2, round(cutout.pixels.height * scale)))
        pixels = cutout.pixels.resize(size, Image.Resampling.BILINEAR)
        if rng.random() < 0.5:
            pixels = pixels.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        x, y = (int(rng.uniform(-0.15, 1) * side) for side in (width, height))
        box = (float(max(x, 0)), float(max(y, 0)), float(min(x + size[0], width)), float(min(y + size[1], height)))
        if (box[2] - box[0]) * (box[3] - box[1]) < 0.5 * size[0] * size[1] or box[2] <= box[0] or box[3] <= box[1]:
            return
        page.image.paste(pixels, (x, y), pixels)
        # What the pasted object hides is no example any more.
        seen = [index for index, old in enumerate(page.boxes) if 1 - overlap(old, box) >= LEAST_SEEN]
        page.boxes[:] = [page.boxes[index] for index in seen] + [
            (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
        ]
        page.names[:] = [page.names[index] for index in seen] + [cutout.name]

    def _prompt(
        self, shown: Sequence[str], rng: np.random.Generator, doubtful: frozenset[str]
    ) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
        """Phrases in any order, and for each object the one that is true of it."""
        present = list(dict.fromkeys(shown))
        rng.shuffle(present)
        chance = rng.random()
        if chance < ALL_RATE:
            asked, wanted = present, len(self.complete)
        elif chance < ALL_RATE + SHORT_RATE:
            asked = present[: int(rng.integers(3))]
            wanted = int(rng.integers(0 if asked else 1, 3))
        else:
            asked = present if rng.random() < 0.8 else present[: int(rng.integers(len(present) + 1))]
            wanted = int(rng.integers(1, 9))
        asked = asked[:MOST_PHRASES] if wanted < len(self.complete) else asked
        taken = doubtful.union(*(self.words.true_of(name) for name in present))
        absent = self._absent(wanted, taken, all_names=chance < ALL_RATE, rng=rng)
        phrases = [self._phrase(name, shown.count(name), rng) for name in asked]
        phrases += [self._phrase(name, 1, rng) for name in absent]
        order = rng.permutation(len(phrases)).tolist()
        place = {name: order.index(index) for index, name in enumerate(asked)}
        return tuple(phrases[index] for index in order), tuple(place.get(name) for name in shown)

    def _absent(self, wanted: int, taken: frozenset[str], all_names: bool, rng: np.random.Generator) -> list[str]:
        """Names of nothing in the picture."""
        own = [name for name in self.complete if taken.isdisjoint(self.words.names(name))]
        if all_names:
            return own
        chosen: dict[str, None] = {}
        for _ in range(wanted):
            names: Sequence[str] = own if rng.random() < 0.5 or not self.absent else self.absent
            if names:
                name = names[int(rng.integers(len(names)))]
                if taken.isdisjoint(self.words.names(name)):
                    chosen[name] = None
        return list(chosen)

    def _phrase(self, name: str, count: int, rng: np.random.Generator) -> str:
        """A name as somebody may type it: mostly as it is, bare and in the singular."""
        others = self.words.synonyms(name)
        text = others[int(rng.integers(len(others)))] if others and rng.random() < 0.2 else name
        chance = rng.random()
        if chance < (0.2 if count > 1 else 0.03):
            return plural(text)
        if chance > 0.95:
            return f"{'an' if text[0] in 'aeiou' else 'a'} {text}" if plural(text) != text else f"the {text}"
        return text


class CutoutMaker:
    """Cuts an object out of its photograph when it is needed."""

    LEAST = 20  # pixels of the longest side: what is smaller shows nothing

    def __init__(self, picture: Labelled, index: int):
        self.picture, self.index, self.name = picture, index, picture.names[index]

    def __call__(self) -> Cutout:
        return _cut_out(self)


@lru_cache(maxsize=4096)
def _cut_out(maker: CutoutMaker) -> Cutout:
    mask = maker.picture.mask(maker.index)
    assert mask is not None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    pixels = maker.picture.read().crop(box)
    soft = Image.fromarray(mask.astype(np.uint8) * 255).crop(box).filter(ImageFilter.GaussianBlur(0.7))
    pixels.putalpha(soft)
    return Cutout(pixels, maker.name)


def cutouts_of(pictures: Iterable[Labelled]) -> list[CutoutMaker]:
    """All objects whose outline is known and that are large enough to be seen."""
    return [
        CutoutMaker(picture, index)
        for picture in pictures
        for index, outline in enumerate(picture.outlines)
        if outline is not None
        and not picture.crowds[index]
        and max(picture.boxes[index, 2:] - picture.boxes[index, :2]) >= CutoutMaker.LEAST
    ]


def without_doubles(picture: Labelled) -> Labelled:
    """The picture without crowds, and without what was marked twice under one name."""
    kept: list[int] = []
    overlaps = sv.box_iou_batch(picture.boxes, picture.boxes) if picture.names else np.zeros((0, 0))
    for index, name in enumerate(picture.names):
        if not picture.crowds[index] and not any(
            picture.names[other] == name and overlaps[index, other] > 0.7 for other in kept
        ):
            kept.append(index)
    return picture.keep(kept)


def _mean_colour(image: Image.Image) -> tuple[int, ...]:
    red, green, blue = image.resize((1, 1)).tobytes()
    return red, green, blue
