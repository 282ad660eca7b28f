"""A data set becomes pictures to learn from, and others that are held out."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import BertTokenizerFast

from groundingdino.evaluation.finding import spoken
from groundingdino.evaluation.sets import LabelledPicture, LabelledSet, find_parts, open_picture
from groundingdino.inputs.prompt import shorten
from groundingdino.training.detector.coco_folder import Labelled, is_held_out
from groundingdino.training.detector.photographs import PhotographExample
from groundingdino.training.detector.targets import Source

_READERS = 8


@dataclass(frozen=True, eq=False)
class OwnPictures:
    """A set in two parts.

    Args:
        learn: to learn from.
        held_out: never learned from; None where there are too few pictures.
        names: as they are asked for, of the objects to learn.
        complete: whether every object of these names is marked in each picture; of phrases and of LVIS it is not said.
    """

    learn: LabelledSet
    held_out: LabelledSet | None
    names: tuple[str, ...]
    complete: bool


def find_own_pictures(
    data: Path,
    pictures: Path | None = None,
    seed: int = 0,
    count: int | None = None,
    told: Callable[[str], object] = lambda _: None,
) -> OwnPictures:
    """Read a set and hold out its own part for it, or else a fifth of the pictures, by their names.

    Args:
        data, pictures: as `find_parts` takes them.
        count: learn from so many pictures at most.
        told: called with a sentence about each picture that cannot be read, which is left out.

    Raises:
        ValueError: one sentence: there is no such set, or nothing to learn from in it.
    """
    learn, held_out = find_parts(data, pictures)
    if held_out is None:
        names = {picture.id: picture.file.path.name for picture in learn.pictures}
        apart = {number for number, name in names.items() if is_held_out(name, seed)}
        if len(apart) < len(names):
            held_out = learn.only(lambda picture: picture.id in apart) if apart else None
            learn = learn.only(lambda picture: picture.id not in apart)
    if count is not None:
        shown = {one["image_id"] for one in learn.objects}
        learn = learn.only(lambda picture: picture.id in shown).first(count)
    learn = _readable(learn, told)
    held_out = held_out and _readable(held_out, told)
    objects = [one for one in learn.objects if not one["iscrowd"]]
    if not objects:
        raise ValueError(f"No picture of '{data}' that can be read has a box: there is nothing to learn.")
    learned = {one["category_id"] for one in objects}
    names_ = tuple(dict.fromkeys(spoken(one["name"]) for one in learn.categories if one["id"] in learned))
    complete = not learn.federated and not any(picture.phrases for picture in learn.pictures)
    return OwnPictures(learn, held_out if held_out and held_out.objects else None, names_, complete)


def check_names(names: Sequence[str], tokenizer: BertTokenizerFast, max_tokens: int) -> None:
    """Check that each name can be asked for.

    Raises:
        ValueError: one is longer than the model reads.
    """
    most = max_tokens - 3  # [CLS], the dot behind it, [SEP]
    for name in names:
        tokens = len(tokenizer.tokenize(name))
        if not 0 < tokens <= most:
            raise ValueError(
                f"The name “{shorten(name)}” is {tokens} tokens long, but from 1 to {most} can be learned."
            )


def labelled(of: LabelledSet) -> list[Labelled]:
    """What is marked in each picture of a set, as training reads it."""
    names = {one["id"]: spoken(one["name"]) for one in of.categories}
    return [_labelled(of, picture, names) for picture in of.pictures]


def fitted(source: Source, tokenizer: BertTokenizerFast, max_tokens: int) -> Source:
    """The same pictures with prompts of at most `max_tokens` tokens: names of what is not there go first."""
    lengths: dict[str, int] = {}

    def length(phrase: str) -> int:
        if phrase not in lengths:
            lengths[phrase] = len(tokenizer.tokenize(phrase)) + 1
        return lengths[phrase]

    def draw(index: int, size: tuple[int, int]) -> PhotographExample:
        example = source(index, size)
        assert isinstance(example, PhotographExample)
        left, kept = max_tokens - 2, set()
        there = {phrase for phrase in example.positives if phrase is not None}
        for place in sorted(range(len(example.prompt)), key=lambda place: place not in there):
            if length(example.prompt[place]) <= left:
                left -= length(example.prompt[place])
                kept.add(place)
        if len(kept) == len(example.prompt):
            return example
        places = {old: new for new, old in enumerate(sorted(kept))}
        positives = tuple(None if phrase is None else places.get(phrase) for phrase in example.positives)
        return replace(example, prompt=tuple(example.prompt[place] for place in sorted(kept)), positives=positives)

    return draw


def _labelled(of: LabelledSet, picture: LabelledPicture, names: dict[object, str]) -> Labelled:
    objects = of.objects_of.get(picture.id, ())
    assert picture.size is not None
    width, height = picture.size
    boxes = np.array([one["bbox"] for one in objects], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes = boxes.clip(0, (width, height, width, height))
    found = Labelled(
        path=picture.file.path,
        width=width,
        height=height,
        names=tuple(names[one["category_id"]] for one in objects),
        boxes=boxes,
        outlines=(None,) * len(objects),
        crowds=np.array([bool(one["iscrowd"]) for one in objects], bool),
    )
    return found.keep(np.flatnonzero((boxes[:, 2:] - boxes[:, :2] >= 1).all(1)).tolist())


def _readable(of: LabelledSet, told: Callable[[str], object]) -> LabelledSet:
    """The set without pictures that cannot be read, and with the sizes of all others."""

    def read(picture: LabelledPicture) -> tuple[int, int] | str:
        try:
            return open_picture(picture).size
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(read, of.pictures))
    sizes = {}
    for picture, size in zip(of.pictures, found, strict=True):
        if isinstance(size, str):
            path = str(picture.file.path)
            told(f"left out: {size if path in size else f'{path!r}: {size}'}")
        else:
            sizes[picture.id] = size
    kept = of.only(lambda picture: picture.id in sizes)
    return replace(kept, pictures=tuple(replace(one, size=sizes[one.id]) for one in kept.pictures))
