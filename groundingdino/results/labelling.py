"""Label many pictures: listed by name, read ahead, looked at in batches, noted in a journal batch by batch."""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from groundingdino.detection.detector import Detector, PreparedImage
from groundingdino.inputs.image import load_image
from groundingdino.results.export import record
from groundingdino.results.journal import Journal, PictureFile
from groundingdino.segmentation.cutting import SegmenterLike, cut
from groundingdino.segmentation.masks import SPECKS
from groundingdino.segmentation.pointing import Pointing

# Names of files that are pictures. Some of the last are none that we open: people should hear of them.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".mpo"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".jxl", ".jp2"),
)
_AHEAD = 2  # batches that are read while one is looked at
_READERS = 8

T = TypeVar("T")
R = TypeVar("R")


def list_pictures(folder: Path, without: Path) -> list[PictureFile]:
    """The pictures in a folder and in folders in it, by name; nothing hidden, nothing in the folder `without`.

    Raises:
        ValueError: one sentence: it is no folder, or there are none.
        OSError: a folder cannot be read.
    """
    if not os.path.isdir(folder):
        raise ValueError(f"There is no folder '{folder}': expected one with pictures.")
    found = []
    for place, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if name[0] != "." and Path(place, name).resolve() != without.resolve()]
        for name in files:
            path = Path(place, name)
            if name[0] != "." and path.suffix.lower() in SUFFIXES and path.is_file():
                about = path.stat()
                found.append(PictureFile(path.relative_to(folder).as_posix(), path, (about.st_size, about.st_mtime_ns)))
    if not found:
        raise ValueError(f"There are no pictures in '{folder}': expected files such as .jpg or .png.")
    return sorted(found)


class BatchFinder(ABC, Generic[T]):
    """What finds something in pictures that come in batches, as `label` hands them over."""

    @abstractmethod
    def read(self, path: Path) -> T | str:
        """The picture as `find` takes it, or a sentence that says why it cannot be read."""

    @abstractmethod
    def find(self, images: Sequence[T]) -> list[dict[str, Any]]:
        """What is found in each picture, as JSON."""

    def find_readable(self, images: Sequence[T | str]) -> list[dict[str, Any]]:
        """What `read` gave of a batch as the journal has it: records, or {"error": sentence}.

        Raises:
            ValueError: the pictures take more memory than there is.
        """
        readable = [image for image in images if not isinstance(image, str)]
        try:
            records = iter(self.find(readable) if readable else ())
        except torch.OutOfMemoryError as error:
            raise ValueError(
                f"{len(readable)} pictures at once take more memory than the GPU has: give a smaller --batch-size."
            ) from error
        return [{"error": image} if isinstance(image, str) else next(records) for image in images]


@dataclass(frozen=True)
class Labeller(BatchFinder[PreparedImage]):
    """What finds the objects of a batch of pictures.

    Args:
        thresholds: as `Grounding.detections` takes them.
        each: look for one phrase after the other, as `Detector.ground_each`.
        tiles: look at tiles of large pictures, too, as those of `Detector.encode_image`.
        segmenter: cuts the objects out; without one they have boxes alone.
        told: called with sentences about the prompt.
        own_masks: those of a detector that makes them are taken in the place of the segmenter's.
    """

    detector: Detector
    prompt: str
    thresholds: Mapping[str, Any]
    each: bool = False
    tiles: bool = False
    segmenter: SegmenterLike | None = None
    told: Callable[[tuple[str, ...]], None] = lambda _: None
    own_masks: bool = False

    def read(self, path: Path) -> PreparedImage | str:
        try:
            str(path).encode()
            return self.detector.prepare(path)
        except UnicodeEncodeError:
            return "Its name is no text that can be written: rename it."
        except ValueError as error:
            return str(error)

    def find(self, images: Sequence[PreparedImage]) -> list[dict[str, Any]]:
        """A record of each picture, see `export.record`; the model is that of all.

        Raises:
            ValueError: the prompt cannot be read.
        """
        groundings = self.detector.ground_batch(images, self.prompt, self.each, self.tiles)
        for one in groundings:
            self.told(one.notes)
        records = []
        for image, grounding in zip(images, groundings, strict=True):
            own = self.own_masks and grounding.masks is not None
            objects = grounding.detections(**self.thresholds, masks=own)
            if own:
                objects = cut(None, None, objects, Pointing.of(), SPECKS)
            elif self.segmenter is not None and len(objects):
                encoded = self.segmenter.encode_image(image.image)
                objects = cut(self.segmenter, encoded, objects, Pointing.of(), SPECKS)
            found = record(objects, image.image.size, "")
            del found["model"]
            records.append(found)
        return records


def unfinished(pictures: Sequence[PictureFile], journal: Journal, batch_size: int) -> list[list[PictureFile]]:
    """The batches in which a picture is not done. They are the same each time: results depend on them by a digit.

    One that could not be read is not done unless it still cannot be.
    """
    batches = [list(pictures[start : start + batch_size]) for start in range(0, len(pictures), batch_size)]
    return [batch for batch in batches if any(_is_left(picture, journal) for picture in batch)]


def label(
    batches: Iterable[Sequence[PictureFile]],
    labeller: BatchFinder[Any],
    journal: Journal,
    progress: Callable[[int], object],
) -> None:
    """Label batches and note what is not in the journal yet; `progress` gets how many pictures that was."""
    for batch, images in read_ahead(batches, lambda picture: labeller.read(picture.path)):
        note(batch, labeller.find_readable(images), journal, progress)


def note(
    batch: Sequence[PictureFile],
    found: Sequence[Mapping[str, Any]],
    journal: Journal,
    progress: Callable[[int], object],
) -> None:
    """Notes what was found in a batch, but for pictures that were done before."""
    new = [index for index, picture in enumerate(batch) if not _is_done(picture, journal)]
    journal.add((batch[index], found[index]) for index in new)
    progress(len(new))


def read_ahead(
    batches: Iterable[Sequence[T]], read: Callable[[T], R], readers: int | None = None
) -> Generator[tuple[Sequence[T], list[R]], None, None]:
    """Each batch with what was read of its items, in order, by threads that read the next ones meanwhile."""
    pool = ThreadPoolExecutor(readers or min(_READERS, os.cpu_count() or 1))
    waiting: deque[tuple[Sequence[T], list[Future[R]]]] = deque()
    try:
        for batch in batches:
            waiting.append((batch, [pool.submit(read, item) for item in batch]))
            if len(waiting) > _AHEAD:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _result(job: tuple[Sequence[T], list[Future[R]]]) -> tuple[Sequence[T], list[R]]:
    return job[0], [future.result() for future in job[1]]


def _is_done(picture: PictureFile, journal: Journal) -> bool:
    entry = journal.entry(picture)
    return entry is not None and "error" not in entry


def _is_left(picture: PictureFile, journal: Journal) -> bool:
    entry = journal.entry(picture)
    return entry is None or ("error" in entry and _opens(picture))


def _opens(picture: PictureFile) -> bool:
    try:
        load_image(picture.path)
    except ValueError:
        return False
    return True


def _raise(error: OSError) -> None:
    raise error
