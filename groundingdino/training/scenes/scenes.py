"""Synthetic pictures with boxes, masks and prompts: drawings on procedural backgrounds.

A scene depends on nothing but the maker's settings and its index, so that training needs no files and the held-out
scenes are made anew, byte for byte, wherever they are needed:

    maker = SceneMaker(Artwork(), seed=1)
    scene = maker.scene(0)                              # without end: any index
    for scene in evaluation_scenes("noto"): ...         # 300 scenes nobody trains on
"""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageFilter

from groundingdino.artwork.drawings import HELD_OUT_STYLE, MAIN_STYLE, Artwork
from groundingdino.artwork.names import COLOURS, Name, load_names, may_mean
from groundingdino.artwork.sprites import Pose, fit, tint, warp
from groundingdino.training.detector.targets import Example
from groundingdino.training.scenes.backgrounds import paint
from groundingdino.training.scenes.canvas import Canvas, Shadow
from groundingdino.training.scenes.captions import Captioner, Phrase, Thing, is_held_out, is_true
from groundingdino.training.scenes.variation import vary

EVALUATIONS = ("noto", "colours", "style")
EVALUATION_SCENES = 300
EVALUATION_SEED = 20261123
SHORT_RATE = 0.25  # of the prompts that a detector is trained with


@dataclass(frozen=True)
class Scene:
    """A picture and everything that is known about it.

    Args:
        image: (H, W, 3) uint8, RGB.
        boxes: (N, 4) float32, xyxy pixels of the visible part of each object.
        labels: (N,) int64, class indices in `names.load_names`.
        colours: the colour word that is true of each object, None where it is not known.
        phrases: the prompt.
        positives: per object the index of the only phrase that is true of it; None where the prompt does not name it.
        owners: (H, W) uint8, the index of the object seen at each pixel plus one; 0 is background.
        visible: (N,) float32 in [0, 1], how much of each object is seen.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    colours: tuple[str | None, ...]
    phrases: tuple[Phrase, ...]
    positives: tuple[int | None, ...]
    owners: np.ndarray
    visible: np.ndarray

    @property
    def prompt(self) -> list[str]:
        """The phrases as text."""
        return [phrase.text for phrase in self.phrases]

    def category(self, phrase: int) -> str:
        """The first name of the class a phrase speaks of, with its colour: one word for all synonyms and plurals."""
        spoken = self.phrases[phrase]
        name = load_names()[spoken.label]
        word = spoken.word if spoken.word in name.kinds else name.name
        return word if spoken.colour is None else f"{spoken.colour} {word}"

    def may_be(self, box: int, other: Example, phrase: int) -> bool:
        """Whether a phrase of another picture's prompt may be true of an object, as "puppy" is of a dog."""
        thing = Thing(int(self.labels[box]), self.colours[box])
        if isinstance(other, Scene):
            return is_true(other.phrases[phrase], thing, load_names()) is not False
        return may_mean(other.prompt[phrase], load_names()[thing.label].words)

    @cached_property
    def masks(self) -> np.ndarray:
        """(N, H, W) bool: the visible pixels of each object."""
        return self.owners == np.arange(1, len(self.labels) + 1, dtype=np.uint8)[:, None, None]


class SceneMaker:
    """Makes scenes from a seed and an index.

    Args:
        artwork: the drawings; objects take any of its styles.
        seed: of everything.
        short_side: (least, most) pixels of the short side of a picture; the other is up to twice as long.
        varied: vary drawings, pictures and prompts as training wants it.
        held_out_colours: give objects the colours that are never trained with their names, instead of the others.
    """

    def __init__(
        self,
        artwork: Artwork,
        seed: int,
        short_side: tuple[int, int] = (192, 352),
        varied: bool = True,
        held_out_colours: bool = False,
    ):
        self.artwork = artwork
        self.seed = seed
        self.short_side = short_side
        self.varied = varied
        self.held_out_colours = held_out_colours
        self.names = load_names()
        self._tints = [[colour for colour in COLOURS if self._may_tint(colour, name)] for name in self.names]
        colour_rate, short_rate = 1.0 if held_out_colours else 0.7, SHORT_RATE if varied else 0.0
        self.captioner = Captioner(self.names, self._may_colour, colour_rate, short_rate)

    def scene(self, index: int, size: tuple[int, int] | None = None, crowded: bool = False) -> Scene:
        """Scene number `index`, of `size` (width, height) in pixels; None draws the size too.

        A crowded scene shows sixteen to twenty-four small things and names all: more names for the same work, which is
        what a fresh model needs first.
        """
        return self._scene(index, size, crowded, None)[0]

    def without(self, index: int, absent: int) -> np.ndarray:
        """What scene number `index` would look like without one of its objects, (H, W, 3) uint8.

        Raises:
            ValueError: the maker varies its pictures, each in its own way.
        """
        if self.varied:
            raise ValueError("A scene is known without an object only where pictures are not varied: varied=False.")
        return self._scene(index, None, False, absent)[1]

    def _scene(
        self, index: int, size: tuple[int, int] | None, crowded: bool, absent: int | None
    ) -> tuple[Scene, np.ndarray]:
        """A scene, and its picture (H, W, 3) without one of its objects; None: with all."""
        rng = np.random.default_rng([self.seed, index])
        width, height = size or self._draw_size(rng)
        background = paint(rng, width, height)
        canvas = Canvas(background)
        others = canvas if absent is None else Canvas(background)
        things: list[Thing] = []
        labels = self._draw_labels(rng, crowded)
        for label in labels:
            thing, sprite = self._draw_object(label, rng, min(width, height), len(labels))
            place = _place(canvas, sprite, rng)
            if place is None:
                continue
            things.append(thing)
            if others is not canvas and len(things) - 1 != absent:
                others.put(sprite, *place)
        caption = self.captioner.compose(things, rng, complete=crowded)
        scene = Scene(
            image=vary_picture(canvas.pixels, rng) if self.varied else canvas.pixels,
            boxes=canvas.boxes(),
            labels=np.array([thing.label for thing in things], np.int64),
            colours=tuple(thing.colour for thing in things),
            phrases=caption.phrases,
            positives=caption.positives,
            owners=canvas.owners,
            visible=canvas.visible_shares(),
        )
        return scene, others.pixels

    def _may_tint(self, colour: str, name: Name) -> bool:
        return name.tint and is_held_out(colour, name) == self.held_out_colours

    def _may_colour(self, colour: str, name: Name) -> bool:
        return colour in name.own_colours or self._may_tint(colour, name)

    def _draw_size(self, rng: np.random.Generator) -> tuple[int, int]:
        least, most = self.short_side
        short = int(rng.integers(least, most + 1))
        # Square, 4:3, 3:2 and 16:9 are what cameras and screens give; the rest is cropped by hand.
        shape = (1.0, 4 / 3, 3 / 2, 16 / 9, float(rng.uniform(1, 2)))[rng.integers(5)]
        long = round(short * shape)
        return (long, short) if rng.random() < 0.6 else (short, long)

    def _draw_labels(self, rng: np.random.Generator, crowded: bool) -> list[int]:
        """One to ten objects, some of a class twice or thrice; in a crowd more, each of a class of its own."""
        choice = [label for label in range(len(self.names)) if self._tints[label] or not self.held_out_colours]
        if crowded:
            return rng.choice(choice, int(rng.integers(16, 25)), replace=False).tolist()
        labels: list[int] = []
        count = int(rng.integers(1, 11)) if rng.random() < 0.6 else int(rng.integers(1, 6))
        while len(labels) < count:
            label = choice[rng.integers(len(choice))]
            copies = int(rng.integers(2, 4)) if rng.random() < 0.08 else 1
            labels += [label] * min(copies, count - len(labels))
        rng.shuffle(labels)
        return labels

    def _draw_object(self, label: int, rng: np.random.Generator, short: int, crowd: int) -> tuple[Thing, Image.Image]:
        """An object of a class, ready to be placed: what is true of it, its pixels."""
        name = self.names[label]
        drawing = name.drawings[rng.integers(len(name.drawings))]
        styles = [style for style in self.artwork.styles if self.artwork.has(style, drawing.codepoints)]
        if MAIN_STYLE in styles and rng.random() < 0.5:
            styles = [MAIN_STYLE]
        style = styles[rng.integers(len(styles))]
        pose = _draw_pose(name.pose, rng, short, crowd, self.varied)
        sprite = fit(self.artwork.sprite(style, drawing.codepoints), pose.size)
        colour = drawing.colour
        tints = self._tints[label]
        if tints and (self.held_out_colours or rng.random() < 0.4):
            colour = tints[rng.integers(len(tints))]
            sprite = tint(sprite, colour, rng)
        if self.varied:
            sprite = vary(sprite, rng, keep_colour=colour is not None)
        return Thing(label, colour), warp(sprite, pose)


def evaluation_maker(name: str) -> SceneMaker:
    """The maker of held-out scenes, 256 to 800 pixels and up to 1600 on the long side.

    Args:
        name: "noto", the main one; "colours", names with colours they were never trained with; "style", drawings of a
            style never trained on.
    """
    if name not in EVALUATIONS:
        raise ValueError(f'The evaluation should be one of {", ".join(EVALUATIONS)}, but is "{name}".')
    style = HELD_OUT_STYLE if name == "style" else MAIN_STYLE
    return SceneMaker(
        Artwork((style,), resolution=320),
        seed=EVALUATION_SEED + EVALUATIONS.index(name),
        short_side=(256, 800),
        varied=False,
        held_out_colours=name == "colours",
    )


def evaluation_scenes(name: str, count: int = EVALUATION_SCENES) -> Iterator[Scene]:
    """The held-out scenes of one evaluation, see `evaluation_maker`."""
    maker = evaluation_maker(name)
    return (maker.scene(index) for index in range(count))


def draw_scale(rng: np.random.Generator, enlarged: float, reduced: float) -> float:
    """How large a picture is made, of the size that a model sees it in.

    Args:
        enlarged, reduced: shares of the pictures that are made smaller and enlarged, and made larger and reduced, as
            those are that people bring.
    """
    chance = rng.random()
    if chance < enlarged:
        return float(rng.uniform(0.45, 0.9))
    return float(rng.uniform(1.1, 2.0)) if chance < enlarged + reduced else 1.0


def _draw_pose(kind: str, rng: np.random.Generator, short: int, crowd: int, varied: bool) -> Pose:
    """Objects take 10% to 60% of the short side; the more there are, the smaller the largest.

    Varied ones, for training, take up to 90%, and half of the few in a picture are as often large as small: what is
    large is rare among sizes drawn on a logarithmic scale, and was learned last.
    """
    least = 0.1
    most = 0.6 if crowd <= 3 else 0.5 if crowd <= 6 else 0.4 if crowd <= 10 else 0.3
    if varied and crowd <= 3:
        most = 0.9
    if varied and crowd <= 6 and rng.random() < 0.5:
        size = short * float(rng.uniform(least, most))
    else:
        size = short * math.exp(rng.uniform(math.log(least), math.log(most)))
    angle = float(rng.normal(0, 10))
    if kind != "upright" and rng.random() < 0.12:
        angle = float(rng.uniform(-180, 180))
    return Pose(
        size=size,
        angle=angle,
        mirror=kind == "" and rng.random() < 0.5,
        stretch=math.exp(rng.uniform(-0.12, 0.12)),
        shear=float(rng.uniform(-0.08, 0.08)),
        corners=tuple((float(x), float(y)) for x, y in rng.uniform(-0.03, 0.03, (4, 2))),
    )


def _place(canvas: Canvas, sprite: Image.Image, rng: np.random.Generator) -> tuple[int, int, Shadow | None] | None:
    """Put an object where it and all before it stay visible, and tell where; None where no such place is found."""
    shadow = _draw_shadow(rng) if rng.random() < 0.3 else None
    height, width = canvas.owners.shape
    for _ in range(16):
        x = int(rng.random() * (width + 0.3 * sprite.width)) - int(0.65 * sprite.width)
        y = int(rng.random() * (height + 0.3 * sprite.height)) - int(0.65 * sprite.height)
        if canvas.has_room(sprite, x, y):
            canvas.put(sprite, x, y, shadow)
            return x, y, shadow
    return None


def _draw_shadow(rng: np.random.Generator) -> Shadow:
    return Shadow(
        blur=float(rng.uniform(0.015, 0.05)),
        right=float(rng.uniform(-0.06, 0.06)),
        down=float(rng.uniform(0, 0.07)),
        strength=float(rng.uniform(0.25, 0.6)),
    )


def vary_picture(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light, focus, noise and compression as real pictures have them."""
    picture = Image.fromarray(pixels)
    if rng.random() < 0.6:
        gain, shift, gamma = rng.uniform(0.75, 1.25), rng.uniform(-20, 20), math.exp(rng.uniform(-0.3, 0.3))
        levels = np.arange(256) / 255
        tables = [levels**gamma * 255 * gain * cast + shift for cast in rng.uniform(0.93, 1.07, 3)]
        picture = picture.point([int(value) for table in tables for value in np.clip(table, 0, 255)])
    if rng.random() < 0.15:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.0))))
    if rng.random() < 0.15:
        spread = int(rng.integers(2, 14))
        noise = rng.integers(-spread, spread + 1, (picture.height, picture.width, 3), np.int16)
        picture = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
    if rng.random() < 0.15:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(rng.integers(30, 90)))
        picture = Image.open(file)
    return np.asarray(picture.convert("RGB"))
