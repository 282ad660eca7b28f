"""Synthetic videos with true boxes and ids: drawings that move, cross, leave, come back, before a camera that shakes.

As scenes, a clip depends on nothing but its seed, its index and its kind, and its frames are drawn when they are asked
for:

    clip = make_clip(seed=1, index=0, kind="crossing")
    for frame in clip.frames(): ...
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from groundingdino.artwork.drawings import MAIN_STYLE, Artwork
from groundingdino.artwork.names import load_names
from groundingdino.artwork.sprites import Pose, fit, warp
from groundingdino.training.scenes.backgrounds import paint
from groundingdino.training.scenes.canvas import SOLID, Canvas

KINDS = ("moving", "crossing", "leaving", "new", "cut", "shake")
HELD_OUT_SEED = 20261129
SEEN = 0.3  # of a thing from which it counts: of less nobody can be asked for the box
_MARGIN = 24  # pixels of background beyond the picture, for the camera to shake in

Path = Callable[[float], tuple[float, float]]  # seconds -> middle, in pixels


@dataclass(frozen=True, eq=False)
class Actor:
    """A thing of a clip.

    Attributes:
        id: From 1; it keeps it when it is away.
        phrase: What it is.
        sprite: RGBA.
        path: Where its middle is.
        since, until: Seconds of its first and after its last appearance.
    """

    id: int
    phrase: str
    sprite: Image.Image = field(repr=False)
    path: Path = field(repr=False)
    since: float = 0.0
    until: float = math.inf


@dataclass(frozen=True, eq=False)
class TrueFrame:
    """A frame and its truth.

    Attributes:
        pixels: (H, W, 3) uint8.
        ids: (N,) of things of which anything is seen.
        boxes: (N, 4) float32 xyxy of each in the picture, also of what another hides, as MOTChallenge has them.
        counts: (N,) bool: enough of it is seen to be asked for it.
        phrases: N names.
    """

    seconds: float
    pixels: np.ndarray = field(repr=False)
    ids: np.ndarray
    boxes: np.ndarray
    counts: np.ndarray
    phrases: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Clip:
    """A synthetic video.

    Attributes:
        crossings: How often one thing passes another.
        absent: A name of nothing in it.
    """

    kind: str
    size: tuple[int, int]
    rate: float
    seconds: float
    actors: tuple[Actor, ...]
    backgrounds: tuple[Image.Image, ...] = field(repr=False)  # of equal shares of the time
    shake: Path | None = field(repr=False)
    crossings: int
    absent: str

    @property
    def phrases(self) -> list[str]:
        """What is in it, each once."""
        return list(dict.fromkeys(actor.phrase for actor in self.actors))

    def frames(self) -> Iterator[TrueFrame]:
        for number in range(round(self.seconds * self.rate)):
            yield self.frame(number / self.rate)

    def frame(self, seconds: float) -> TrueFrame:
        scene = min(int(seconds / self.seconds * len(self.backgrounds)), len(self.backgrounds) - 1)
        right, down = self.shake(seconds) if self.shake else (0.0, 0.0)
        x, y = _MARGIN + round(right), _MARGIN + round(down)
        width, height = self.size
        canvas = Canvas(self.backgrounds[scene].crop((x, y, x + width, y + height)))
        whole: list[np.ndarray] = []
        there = [actor for actor in self.actors if actor.since <= seconds < actor.until]
        for actor in there:
            left, top = actor.path(seconds)
            sprite = actor.sprite
            place = round(left - sprite.width / 2 - right), round(top - sprite.height / 2 - down)
            canvas.put(sprite, *place)
            whole.append(np.tile(place, 2) + _extent(sprite))
        boxes = np.clip(np.reshape(whole, (-1, 4)), 0, (width, height, width, height)).astype(np.float32)
        shares = canvas.visible_shares()
        seen = [index for index in range(len(there)) if shares[index] > 0]
        return TrueFrame(
            seconds,
            canvas.pixels,
            np.array([there[index].id for index in seen], int),
            boxes[seen],
            shares[seen] >= SEEN,
            tuple(there[index].phrase for index in seen),
        )


def make_clip(
    seed: int,
    index: int,
    kind: str,
    size: tuple[int, int] = (640, 360),
    seconds: float = 6.0,
    rate: float = 24.0,
    actors: int = 5,
) -> Clip:
    """Clip number `index` of a kind of `KINDS`.

    Args:
        size: (width, height) in pixels.
        actors: How many things there are at once.
    """
    if kind not in KINDS:
        raise ValueError(f"The kind of clip should be one of {', '.join(KINDS)}, but is '{kind}'.")
    rng = np.random.default_rng([seed, index, KINDS.index(kind)])
    scenes = 2 if kind == "cut" else 1
    names = [name for name in load_names() if name.pose != "text"]
    chosen = rng.choice(len(names), actors * scenes + 1, replace=False)
    labels = [names[place].name for place in chosen]
    if kind in ("crossing", "moving"):  # two of one name are told apart by how they look and where they are
        labels[1] = labels[0]
    width, height = size
    backgrounds = tuple(paint(rng, width + 2 * _MARGIN, height + 2 * _MARGIN) for _ in range(scenes))
    cast: list[Actor] = []
    crossings = 0
    for number in range(actors * scenes):
        sprite = _sprite(labels[number], rng, size, number)
        scene = number // actors
        since, until = scene * seconds / scenes, (scene + 1) * seconds / scenes
        actor = Actor(number + 1, labels[number], sprite, _wander(rng, number % actors, actors, size), since, until)
        if kind == "crossing" and number < 4:
            actor = replace(actor, path=_across(rng, number, size, seconds))
            crossings += number % 2 * 2
        elif kind == "leaving" and number % 2 == 0:
            actor = replace(actor, path=_away_and_back(actor.path, sprite, size, seconds, number))
        elif kind == "new" and number in (1, 3):
            actor = replace(actor, since=seconds * (0.35 if number == 1 else 0.55))
        cast.append(actor)
    shake = _shaking(rng) if kind == "shake" else None
    return Clip(kind, size, rate, seconds, tuple(cast), backgrounds, shake, crossings, labels[-1])


_ARTWORK = Artwork((MAIN_STYLE,), resolution=160)


def _sprite(label: str, rng: np.random.Generator, size: tuple[int, int], number: int) -> Image.Image:
    name = next(name for name in load_names() if name.name == label)
    drawing = name.drawings[number % len(name.drawings)]
    side = min(size) * float(rng.uniform(0.2, 0.32))
    pose = Pose(size=side, angle=float(rng.normal(0, 6)), mirror=name.pose == "" and rng.random() < 0.5)
    return warp(fit(_ARTWORK.sprite(MAIN_STYLE, drawing.codepoints), side), pose)


def _extent(sprite: Image.Image) -> np.ndarray:
    """(4,) xyxy of what is solid of a drawing."""
    solid = np.asarray(sprite)[..., 3] >= SOLID
    columns, rows = np.flatnonzero(solid.any(0)), np.flatnonzero(solid.any(1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def _wander(rng: np.random.Generator, number: int, of: int, size: tuple[int, int]) -> Path:
    """Around a place of its own, so that it meets others rarely."""
    width, height = size
    x = width * (number + 0.5) / of
    y = height * float(rng.uniform(0.35, 0.65))
    reach_x, reach_y = width * float(rng.uniform(0.02, 0.06)), height * float(rng.uniform(0.08, 0.22))
    turn_x, turn_y = (float(value) for value in rng.uniform(0.8, 2.2, 2))
    phase_x, phase_y = (float(value) for value in rng.uniform(0, 2 * math.pi, 2))

    def path(seconds: float) -> tuple[float, float]:
        return x + reach_x * math.sin(turn_x * seconds + phase_x), y + reach_y * math.sin(turn_y * seconds + phase_y)

    return path


def _across(rng: np.random.Generator, number: int, size: tuple[int, int], seconds: float) -> Path:
    """There and back again through the way of its partner, the next or last in number: two crossings."""
    width, height = size
    y = height * (0.3 if number < 2 else 0.7) + float(rng.uniform(-0.06, 0.06)) * height
    reach = width * float(rng.uniform(0.28, 0.38)) * (1 if number % 2 else -1)
    phase = float(rng.uniform(-0.15, 0.15))

    def path(at: float) -> tuple[float, float]:
        return width / 2 + reach * math.cos(2 * math.pi * at / seconds * 0.95 + phase), y

    return path


def _away_and_back(path: Path, sprite: Image.Image, size: tuple[int, int], seconds: float, number: int) -> Path:
    """Up or down out of the picture, some time away, and back."""
    far = float(size[1] + sprite.height)
    way = 1 if number % 4 else -1

    def moved(at: float) -> tuple[float, float]:
        x, y = path(at)
        share = at / seconds
        away = min(max((share - 0.3) / 0.12, 0), 1) - min(max((share - 0.68) / 0.12, 0), 1)
        return x, y + way * away * far

    return moved


def _shaking(rng: np.random.Generator) -> Path:
    """A hand that holds the camera: up to 20 pixels, several times a second."""
    turns, phases = rng.uniform(5, 16, (2, 3)), rng.uniform(0, 6.3, (2, 3))
    sizes = np.array([9.0, 6.0, 3.0])

    def path(seconds: float) -> tuple[float, float]:
        right, down = (sizes * np.sin(turns * seconds + phases)).sum(1)
        return float(right), float(down)

    return path
