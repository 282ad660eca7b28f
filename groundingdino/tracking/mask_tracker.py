"""A tracker that draws outlines by memory: a model follows masks, and a detector looks for what is new.

    look -> masks by a segmenter -- as one that is followed --> it was seen
                                 -- as none of them ---------> begins, and is followed from this frame on

The detector looks once a second and after each cut. Between looks nothing but the model's memory decides. What begins
at a look can be followed back from there, see `look_back`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import supervision as sv
from PIL import Image

from groundingdino.detection.objects import labels_of, scores_of, select
from groundingdino.segmentation.cutting import SegmenterLike
from groundingdino.segmentation.masks import SPECKS, boxes_of, compact, empty_masks, join, smooth_masks
from groundingdino.tracking.corrections import SURE, Correction, Said, paired, track_named
from groundingdino.tracking.look_back import LookBack, frames_back
from groundingdino.tracking.matching import distinct, ids_of, match_masks, names_of
from groundingdino.tracking.motion import Camera
from groundingdino.tracking.tracker import Look, TrackedFrame, Tracker, TrackerSettings
from groundingdino.tracking.video import Frame
from groundingdino.tracking.video_memory import VideoMemory, mask_of
from groundingdino.tracking.video_models import VideoModel

_SAME_SHAPE = 0.8  # overlap of masks from which what somebody showed is what is followed there anyway
_SIGHTINGS, _OF_LOOKS = 2, 3  # less of its first looks, and it was a slip of the detector
MOST = 24  # things at once: each takes a pass of the model, and some megabytes


@dataclass(eq=False)
class _Followed:
    """One that is followed."""

    id: int
    scores: dict[tuple[int, str], float]  # of class id and phrase: their sum over all looks
    score: float
    looks: int = 1  # since it began
    seen: int = 1  # at how many of them
    away: int = 0  # looks in a row at which it was in no frame
    ignored: bool = False  # it is followed, but not shown: somebody ticked it off

    @property
    def named(self) -> tuple[int, str]:
        """Class id and phrase."""
        return max(self.scores, key=lambda name: self.scores[name])

    def meet(self, name: tuple[int, str], score: float) -> None:
        """The detector found it."""
        self.scores[name] = self.scores.get(name, 0.0) + score
        self.score, self.seen = score, self.seen + 1


class MaskTracker(Tracker):
    """Follows masks by a model's memory.

    Args:
        look: The detector; it should also give what is weaker than `settings.start`.
        segmenter: Makes the masks that things begin with.
        model: Follows them.
        settings: `every`, `start` and `patience`; `looks_each_second` says how often it should look.
        told: Called with sentences about what is left out.
        backward: Go back from where something begins, as `look_back` is called: up to the look before, at most
            `look_back.MOST_FRAMES` frames.
    """

    def __init__(
        self,
        look: Look,
        segmenter: SegmenterLike,
        model: VideoModel,
        settings: TrackerSettings,
        told: Callable[[tuple[str, ...]], None] = lambda _: None,
        backward: bool = False,
    ):
        self.look, self.segmenter, self.settings, self.told = look, segmenter, settings, told
        self._model = model
        self._memory = VideoMemory(model)
        self._camera = Camera()
        self._followed: list[_Followed] = []
        self._last_id = 0
        self._to_look = 0  # frames until the next look
        self._known: tuple[np.ndarray, sv.Detections] | None = None  # pixels and things of the last of an earlier run
        self._back = LookBack(lambda: VideoMemory(model), frames_back(settings.every)) if backward else None

    def follow(self, frame: Frame, look: sv.Detections | None = None, said: Correction | None = None) -> TrackedFrame:
        self._go_on()
        size = frame.pixels.shape[1], frame.pixels.shape[0]
        pixels = frame.pixels if self._back is None else self._memory.fit(frame.pixels)
        _, cut = self._camera.see(frame.pixels)
        if cut:
            self._forget(self._followed)
            self._to_look = 0
        seen = self._memory.follow(pixels)
        masks = {id: compact(mask_of(one, size)) for id, one in seen.items()}
        last_id = self._last_id
        if look is None and self._to_look == 0:
            look = self.look(frame.pixels)
        if look is not None:
            self._match(frame.pixels, look, masks)
            self._to_look = self.settings.every
        self._to_look -= 1
        if said is not None:
            self._correct(frame.pixels, said, masks)
        ignored = self._shown(masks, size, True) if any(one.ignored for one in self._followed) else None
        tracked = TrackedFrame(frame.index, frame.seconds, self._shown(masks, size), look, ignored=ignored)
        self._remember(frame.index, pixels, tracked, last_id, cut, said)
        return tracked

    def look_back(self, tracked: TrackedFrame) -> Iterator[TrackedFrame]:
        for index, found in self._back.steps() if self._back is not None else ():
            tracked = replace(tracked, before={index: found, **tracked.before})
            yield tracked

    def _remember(
        self,
        index: int,
        pixels: np.ndarray,
        tracked: TrackedFrame,
        last_id: int,
        cut: bool,
        said: Correction | None,
    ) -> None:
        """Keeps a frame for a backward pass. None goes beyond a cut, nor to a frame of which somebody said what is in
        it, nor beyond: these stay as they were shown to him."""
        if self._back is None:
            return
        if cut or said is not None:
            self._back.forget()
        new = np.array([row for row, id in enumerate(ids_of(tracked.objects)) if id > last_id], int)
        self._back.see(index, pixels, _all_of(tracked), select(tracked.objects, new))
        if said is not None:
            self._back.forget()

    def recall(self, frame: Frame, known: TrackedFrame, said: Correction | None = None) -> None:
        """It goes on from the masks of the last frame that is recalled: what is not in that one begins anew."""
        _, cut = self._camera.see(frame.pixels)
        objects = _all_of(known)
        if self._back is not None:
            last_id = max([self._last_id, *ids_of(objects)])
            self._remember(frame.index, self._memory.fit(frame.pixels), known, last_id, cut, said)
        self._known = frame.pixels, objects
        if known.look is not None:
            self._to_look = self.settings.every
        self._to_look -= 1
        before = {one.id: one for one in self._followed}
        self._followed = []
        for id, name, score in zip(ids_of(objects), names_of(objects), scores_of(objects), strict=True):
            one = before.get(id) or _Followed(id, {name: 0.0}, float(score), looks=_OF_LOOKS, seen=_OF_LOOKS)
            if known.look is not None:
                one.scores[name] = one.scores.get(name, 0.0) + float(score)
            one.ignored = len(self._followed) >= len(known.objects)
            self._followed.append(one)
            self._last_id = max(self._last_id, id)

    def _go_on(self) -> None:
        """After frames of an earlier run: remembers the last of them."""
        if self._known is None:
            return
        (pixels, objects), self._known = self._known, None
        self._memory = VideoMemory(self._model)
        self._memory.follow(pixels)
        ids, masks = objects.tracker_id, objects.mask
        if ids is not None and masks is not None:
            self._memory.begin({int(id): np.asarray(mask) for id, mask in zip(ids, masks, strict=True) if mask.any()})

    def _match(self, pixels: np.ndarray, look: sv.Detections, masks: dict[int, sv.CompactMask]) -> None:
        """Tells what is followed that it was seen; what is new is followed from here on, and its mask is added."""
        for one in self._followed:
            one.looks += 1
            one.away = 0 if masks[one.id].area[0] else one.away + 1
        kept = distinct(np.asarray(look.xyxy, np.float64), scores_of(look), np.array(labels_of(look), dtype=str))
        found = select(look, kept)
        found = self._cut_out(pixels, found) if len(found) else found
        names, scores = names_of(found), scores_of(found)
        size = pixels.shape[1], pixels.shape[0]
        here = join([masks[one.id] for one in self._followed], size)
        shapes = found.mask if isinstance(found.mask, sv.CompactMask) else empty_masks(size)
        pairs, new = match_masks(here, shapes, [one.named for one in self._followed], names)
        for row, column in pairs:
            self._followed[row].meet(names[column], float(scores[column]))
        self._drop_lost()
        begun: dict[int, np.ndarray] = {}
        for column in new:
            if scores[column] < self.settings.start or not shapes.area[column]:
                continue
            if len(self._followed) >= MOST:
                self._tell_of_too_many()
                break
            self._last_id += 1
            score = float(scores[column])
            self._followed.append(_Followed(self._last_id, {names[column]: score}, score))
            masks[self._last_id] = shapes[column : column + 1]
            begun[self._last_id] = shapes[column]
        self._memory.begin(begun)

    def _correct(self, pixels: np.ndarray, said: Correction, masks: dict[int, sv.CompactMask]) -> None:
        """What somebody said is so; what is new or elsewhere is followed by its mask from here on."""
        size = pixels.shape[1], pixels.shape[0]

        def pairs_of(some: tuple[Said, ...]) -> dict[int, int]:
            places = boxes_of(join([masks[one.id] for one in self._followed], size))
            return paired(some, [(one.id, one.named[1]) for one in self._followed], np.asarray(places, np.float64))

        self._forget([self._followed[row] for row in pairs_of(said.gone).values()])
        pairs, known = pairs_of(said.there), [*self._followed]
        shapes = self._shapes(pixels, said.there)
        begun: dict[int, np.ndarray] = {}
        for index, (told, shape) in enumerate(zip(said.there, shapes, strict=True)):
            if not shape.area[0]:
                continue
            name = told.class_id, told.phrase
            if index in pairs:
                one = known[pairs[index]]
                name = one.named if track_named(told.phrase) == (one.named[1], one.id) else name
            elif len(self._followed) >= MOST:
                self._tell_of_too_many()
                break
            else:
                self._last_id += 1
                one = _Followed(self._last_id, {name: SURE}, told.score)
                self._followed.append(one)
            one.scores, one.score, one.ignored = {name: SURE}, told.score, not told.followed
            one.looks, one.seen, one.away = _OF_LOOKS, _OF_LOOKS, 0
            before = masks.get(one.id)
            if before is None or told.was is not None or sv.mask_iou_batch(before, shape).item() < _SAME_SHAPE:
                self._memory.forget([one.id] if before is not None else [])
                masks[one.id] = shape
                begun[one.id] = shape[0]
        self._memory.begin(begun)

    def _shapes(self, pixels: np.ndarray, said: tuple[Said, ...]) -> list[sv.CompactMask]:
        """A mask of each object that somebody showed: its own, or what is in its box."""
        size = pixels.shape[1], pixels.shape[0]
        shapes = {index: shape for index, one in enumerate(said) if (shape := one.shape(size)) is not None}
        boxes = [index for index in range(len(said)) if index not in shapes]
        if boxes:
            found = sv.Detections(
                np.array([said[index].box for index in boxes], np.float32),
                confidence=np.ones(len(boxes), np.float32),
                class_id=np.zeros(len(boxes), int),
                data={"class_name": np.array([said[index].phrase for index in boxes], dtype=str)},
            )
            cut = self._cut_out(pixels, found).mask
            assert isinstance(cut, sv.CompactMask)
            shapes |= {index: cut[place : place + 1] for place, index in enumerate(boxes)}
        return [shapes[index] for index in range(len(said))]

    def _cut_out(self, pixels: np.ndarray, found: sv.Detections) -> sv.Detections:
        encoded = self.segmenter.encode_image(Image.fromarray(pixels))
        return smooth_masks(self.segmenter.segment_boxes(encoded, found), SPECKS).to_compact_masks()

    def _tell_of_too_many(self) -> None:
        self.told((f"At most {MOST} things are followed at once: the others are left out.",))

    def _drop_lost(self) -> None:
        """Ends what was a slip of the detector, and what is away for too long."""
        self._forget(
            [
                one
                for one in self._followed
                if one.away > self.settings.patience or (one.looks == _OF_LOOKS and one.seen < _SIGHTINGS)
            ]
        )

    def _forget(self, some: list[_Followed]) -> None:
        self._memory.forget([one.id for one in some])
        self._followed = [one for one in self._followed if one not in some]

    def _shown(self, masks: dict[int, sv.CompactMask], size: tuple[int, int], ignored: bool = False) -> sv.Detections:
        shown = [one for one in self._followed if masks[one.id].area[0] and one.ignored == ignored]
        shapes = join([masks[one.id] for one in shown], size)
        return sv.Detections(
            boxes_of(shapes),
            mask=shapes,
            confidence=np.array([one.score for one in shown], np.float32),
            class_id=np.array([one.named[0] for one in shown], int),
            tracker_id=np.array([one.id for one in shown], int),
            data={"class_name": np.array([one.named[1] for one in shown], dtype=str)},
        )


def _all_of(tracked: TrackedFrame) -> sv.Detections:
    """All that is followed in a frame; what is shown comes first."""
    return tracked.objects if tracked.ignored is None else sv.Detections.merge([tracked.objects, tracked.ignored])
