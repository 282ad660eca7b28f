"""The page's endpoints for programs: `/detect`, `/segment`, `/inpaint`, `/track` and `/models`."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import supervision as sv
from PIL import Image

from groundingdino.detection.phrases import NMS_THRESHOLD
from groundingdino.editing.available_models import INPAINTERS, edit_of
from groundingdino.editing.edits import Sampling
from groundingdino.editing.mask import own_mask
from groundingdino.editing.modes import check_prompt_of, parse_task
from groundingdino.editing.recipe import png_with_recipe, search_of
from groundingdino.editing.tasks import PLACED
from groundingdino.inputs.prompt import Prompt
from groundingdino.page.calls import as_used, examples_of, flag_of, published, refuse_unread, thresholds_of
from groundingdino.page.files import write_file
from groundingdino.page.following import DRAWN, Follower, Show, TrackQuestion, watched
from groundingdino.page.jobs import WORKERS, Job, Jobs
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.presence import has_left
from groundingdino.page.settings import First
from groundingdino.page.studio import OFF, Findings, Studio
from groundingdino.results import export
from groundingdino.results.drawing import annotate
from groundingdino.runtime.interruption import StopCheck, stopping
from groundingdino.segmentation.available_models import gives_way
from groundingdino.segmentation.masks import SPECKS
from groundingdino.segmentation.pointing import Pointing
from groundingdino.tracking.available_trackers import EMBEDDED
from groundingdino.tracking.corrections import parse_corrections
from groundingdino.tracking.making import VIDEO

OF_DETECTORS = ("box_threshold", "text_threshold", "takes_examples")  # that a detector's card has

R = TypeVar("R")


class Endpoints:
    """What programs ask of a studio; Gradio shows the docstrings to them."""

    def __init__(self, studio: Studio, first: First | None = None):
        self.studio, self.first = studio, first or First()
        self.jobs = Jobs(WORKERS, studio.limits.seconds)
        self.follower = Follower(studio)

    @published
    def detect(
        self,
        image: str,
        prompt: str,
        model: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        nms_threshold: float = NMS_THRESHOLD,
        best_only: bool | None = None,
        each: bool | None = None,
        tiles: bool | None = None,
        like: Sequence[Sequence[float]] | None = None,
        unlike: Sequence[Sequence[float]] | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """Finds the objects that a prompt names in a picture: a box, a phrase and a score for each.

        For where things are and how many; `segment` gives their outlines, `inpaint` changes them. What comes along
        knows drawings of everyday things, and few names in photographs: `models` says which others there are.

        Args:
            image: The picture, as an uploaded file; of MCP the address of one (http or https), or a data URL as in
                "data:image/png;base64,...".
            prompt: What to look for: English phrases separated by dots or commas, as in "cat . remote control".
            model: A name that `models` lists with the task "detect"; by default one that comes along and knows such
                pictures.
            box_threshold: Score from which a box counts, 0 to 1; by default the model's own.
            text_threshold: Score from which the noun of a sentence's phrase counts, 0 to 1; by default the model's own.
            nms_threshold: Of two boxes of one phrase that overlap more than this (IoU) the better stays; 1 keeps both.
            best_only: Only the best box of each phrase counts, as for "left lion", which is one.
            each: Each phrase is looked for by itself, which finds more of what is described and takes a pass for each.
            tiles: A large picture is looked at in up to 3 x 3 tiles, too, for small things in it; a pass for each.
            like: [[x0, y0, x1, y1], ...] in pixels around examples of what to look for, in the place of words: with a
                model of which `models` says that it takes examples. The prompt is then what they are called, or empty.
            unlike: Such boxes around what not to look for.

        Returns:
            The picture with boxes, and {"width", "height", "model", "objects": [{"phrase", "score", "box"}], "notes"}:
            boxes are [x0, y0, x1, y1] in pixels of the picture, the best first, no objects where nothing was found;
            notes are sentences about how it went.
        """
        picture = self._picture(image)
        thresholds = thresholds_of(box_threshold, text_threshold, nms_threshold, best_only, each, tiles)
        examples = examples_of(like, unlike, picture.size, thresholds)
        if not (examples.like or Prompt.parse(prompt or "").phrases):
            raise ValueError("The prompt names nothing: pass phrases such as 'cat . remote control'.")
        model, _ = self._suited(image, model, self.first.segmenter)
        findings = self._in_time(self.studio.find, picture, prompt or "", model, thresholds, examples=examples)
        return _answer(picture, findings, model)

    @published
    def segment(
        self,
        image: str,
        prompt: str = "",
        points: Sequence[Sequence[float]] | None = None,
        boxes: Sequence[Sequence[float]] | None = None,
        strokes: Sequence[Sequence[Sequence[float]]] | None = None,
        everything: bool = False,
        model: str | None = None,
        segmenter: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        nms_threshold: float = NMS_THRESHOLD,
        fill: float = SPECKS,
        best_only: bool | None = None,
        each: bool | None = None,
        tiles: bool | None = None,
        like: Sequence[Sequence[float]] | None = None,
        unlike: Sequence[Sequence[float]] | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """Outlines the objects that a prompt names in a picture, and those that are pointed at: a mask for each.

        For shapes and areas; where boxes are enough, `detect` is faster. To cut an object out, call `inpaint` with the
        mode "transparent".

        Args:
            image: The picture, as `detect` takes it.
            prompt: What to look for, as `detect` takes it; or nothing, where something is pointed at.
            points: [[x, y, label], ...] in pixels, label 1 in an object and 0 outside it; together they mean one
                object.
            boxes: [[x0, y0, x1, y1], ...] in pixels, each around one object.
            strokes: [[[x, y], ...], ...] in pixels, each a line drawn over one object.
            everything: Whether to cut out all other objects, too.
            model: A name that `models` lists with the task "detect"; by default one that comes along and knows such
                pictures.
            segmenter: A name that `models` lists with the task "segment".
            box_threshold: Score from which a box counts, 0 to 1; by default the model's own.
            text_threshold: Score from which the noun of a sentence's phrase counts, 0 to 1; by default the model's own.
            nms_threshold: Of two boxes of one phrase that overlap more than this (IoU) the better stays; 1 keeps both.
            fill: Specks of masks with fewer pixels are removed and such holes filled; below 1 it is a share of each
                object, and a third of it for holes; 0 leaves masks as they are.
            best_only: Only the best box of each phrase counts, as for "left lion", which is one.
            each: Each phrase is looked for by itself, which finds more of what is described and takes a pass for each.
            tiles: A large picture is looked at in up to 3 x 3 tiles, too, for small things in it; a pass for each.
            like: [[x0, y0, x1, y1], ...] in pixels around examples of what to look for, in the place of words: with a
                model of which `models` says that it takes examples. The prompt is then what they are called, or empty.
            unlike: Such boxes around what not to look for.

        Returns:
            The picture with masks, and what `detect` returns, where each object has a "mask", too: COCO run lengths; of
            MCP "mask_pixels" instead, its area.
        """
        picture = self._picture(image)
        pointing = Pointing.of(points, boxes, strokes, flag_of("everything", everything) or False)
        pointing.check_inside(picture.size)
        model, segmenter = self._suited(image, model, segmenter)
        self.studio.segmenters.require(segmenter)
        thresholds = thresholds_of(box_threshold, text_threshold, nms_threshold, best_only, each, tiles)
        examples = examples_of(like, unlike, picture.size, thresholds)
        is_named = bool(examples.like or Prompt.parse(prompt).phrases)
        if not (is_named or pointing.gestures or everything):
            raise ValueError("Nothing is asked for: pass a prompt, points, boxes, strokes or everything.")
        findings = self.studio.unnamed(model)
        if is_named:
            how = {"examples": examples, "masks": gives_way(segmenter)}
            findings = self._in_time(self.studio.find, picture, prompt, model, thresholds, **how)
        findings = self._in_time(self.studio.cut_out, picture, findings, segmenter, pointing, fill)
        models = [*([model] if is_named else []), *([segmenter] if findings.segmenter else [])]
        return _answer(picture, findings, " + ".join(models))

    @published
    def inpaint(
        self,
        image: str,
        prompt: str = "",
        mode: str = "replace",
        text: str = "",
        regions: Sequence[Sequence[float | str]] | None = None,
        background: str | None = None,
        inpainter: str | None = None,
        model: str | None = None,
        segmenter: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        nms_threshold: float = NMS_THRESHOLD,
        grow: int | None = None,
        feather: int | None = None,
        one_by_one: bool | None = None,
        boxes: bool | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        strength: float = 1.0,
        seed: int | None = None,
        negative_prompt: str = "",
        scheduler: str | None = None,
        mask: str | None = None,
        margins: str | int | Sequence[str | int] | None = None,
        few_steps: str | None = None,
        best_only: bool | None = None,
        each: bool | None = None,
        tiles: bool | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """Edits a picture: replaces, removes or changes the objects that a prompt names, or what is behind them.

        The rest of the picture stays as it is, to the pixel. Without a model, at once: "fill", "transparent", "color",
        "picture", "blur", "pixelate", "recolor", "blur-background", "spotlight", "sticker". The inpainter "embedded"
        lays drawings of everyday things; for photographs take one of which `models` says that it knows them.

        Args:
            image: The picture, as `detect` takes it.
            prompt: What to edit, as `detect` takes it; of the modes "regions" and "outpaint" nothing.
            mode: "replace", "remove", "fill" (remove at once, without a model), "background" (keep the objects, repaint
                the rest), "regions", "outpaint" (the picture grows), or without a model: "transparent", "color" or
                "picture" (another background), "blur", "pixelate" or "recolor" (the objects), "blur-background",
                "spotlight" (all else becomes grey, or with the text "dark" dark) or "sticker" (cut out with an edge).
            text: What to paint; of the modes "color", "recolor" and "sticker" the colour, as a name or #rrggbb.
            regions: Of the mode "regions", [[x0, y0, x1, y1, "what the box is to show"], ...] in pixels, 30 at most.
            background: Of the mode "picture", the picture to lay behind.
            inpainter: A name that `models` lists with the task "inpaint".
            model: A name that `models` lists with the task "detect"; by default one that comes along and knows such
                pictures.
            segmenter: A name that `models` lists with the task "segment".
            box_threshold: Score from which a box counts, 0 to 1; by default the model's own.
            text_threshold: Score from which the noun of a sentence's phrase counts, 0 to 1; by default the model's own.
            nms_threshold: Of two boxes of one phrase that overlap more than this (IoU) the better stays; 1 keeps both.
            grow: Pixels by which masks grow, or shrink if negative; by default each by a twelfth of its object's longer
                side, at most 64, where objects are painted over, and 0 where they are kept.
            feather: Pixels of the soft edge around what is painted; by default a two-hundredth of the picture's longer
                side.
            one_by_one: Whether each object is painted by itself; by default what suits the inpainter.
            boxes: Whether whole boxes are painted instead of outlines; by default what suits the inpainter.
            steps: Denoising steps, 1 to 150; by default what suits the inpainter.
            guidance: How closely the text is followed, 0 to 30; by default what suits the inpainter.
            strength: How much of what was there is forgotten, over 0 to 1.
            seed: The same seed paints the same picture; by default drawn by lot.
            negative_prompt: What must not appear.
            scheduler: "ddim", "dpm++", "unipc", "euler", "euler-a", or "lcm" where it suits; by default its own.
            mask: A picture of the same size: what is white in it is edited, as it is, whatever the prompt says.
            margins: Of the mode "outpaint", by how much it grows: pixels or per cent, such as "25%", or a list of four:
                left, top, right, bottom. By default 25%; at most 100% on each side.
            few_steps: A name that `models` lists with the task "few steps", of a LoRA by which the inpainter paints in
                a few steps; by default none.
            best_only: Only the best box of each phrase counts, as for "left lion", which is one.
            each: Each phrase is looked for by itself, which finds more of what is described and takes a pass for each.
            tiles: A large picture is looked at in up to 3 x 3 tiles, too, for small things in it; a pass for each.

        Returns:
            The edited picture, a PNG file that holds its recipe, and {"width", "height", "model", "objects", "edit",
            "notes"}: what was found and edited, as `segment` returns it; the recipe, with the seed; and sentences about
            how it went. Where nothing is found the picture stays as it is and there is no recipe.
        """
        picture, inpainter = self._picture(image), inpainter or self.first.inpainter
        model, segmenter = self._suited(image, model, segmenter)
        task = parse_task(mode, text, self.studio.image(background) if background else None, regions, margins)
        refuse_unread(mode, regions, background, margins)
        check_prompt_of(task, prompt)
        one_by_one, boxes = flag_of("one_by_one", one_by_one), flag_of("boxes", boxes)
        how = (scheduler or None, few_steps or None)
        sampling = Sampling(steps, guidance, strength, seed, negative_prompt, 1, *how)
        shape = (grow, feather, one_by_one, boxes)
        edit = edit_of(task, INPAINTERS.get(inpainter), sampling, *shape, own_mask=bool(mask))
        settings = edit.mask
        if task.needs_model:
            self.studio.inpainters.require(inpainter).refuse_ignored(sampling)
            if sampling.few_steps:
                self.studio.few_steps.require(sampling.few_steps)
        thresholds = thresholds_of(box_threshold, text_threshold, nms_threshold, best_only, each, tiles)
        objects, models, search = sv.Detections.empty(), list[str](), dict[str, Any]()
        own: sv.Detections | None = None
        notes: tuple[str, ...] = ()
        if mask and not isinstance(task, PLACED):
            own = own_mask(self.studio.image(mask), picture.size)
        elif not isinstance(task, PLACED):
            if not settings.boxes:
                self.studio.segmenters.require(segmenter)
            if not Prompt.parse(prompt).phrases:
                raise ValueError("The prompt names nothing to edit: pass phrases such as 'cat . remote control'.")
            masks = not settings.boxes and gives_way(segmenter)
            findings = self._in_time(self.studio.find, picture, prompt, model, thresholds, masks=masks)
            if not settings.boxes:
                findings = self._in_time(self.studio.cut_out, picture, findings, segmenter, Pointing(), SPECKS)
            models = [model, *([segmenter] if findings.segmenter else [])]
            objects, notes = findings.detections, findings.notes
            search = search_of(prompt, models, as_used(thresholds, findings))
            if len(objects) == 0:
                record = export.record(objects, picture.size, " + ".join(models))
                return _as_file(export.png(self.studio.editable(image))), {**record, "notes": [*notes]}
        layer, objects_to_edit = self.studio.editable(image), objects if own is None else own
        edited = self.studio.edit(layer, objects_to_edit, edit, inpainter, stop=has_left())
        recipe = {**search, **edited.recipe_of(0)}
        models += [inpainter] if task.needs_model else []
        record = export.record(objects, edited.images[0].size, " + ".join(models))
        written = _as_file(png_with_recipe(edited.images[0], recipe))
        return written, {**record, "edit": recipe, "notes": [*notes, *edited.notes]}

    @published
    def track(
        self,
        video: str,
        prompt: str,
        effect: str = DRAWN,
        color: str = Show().color,
        masks: bool | None = None,
        every: int | None = None,
        start: float = 0.0,
        end: float | None = None,
        model: str | None = None,
        segmenter: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        nms_threshold: float = NMS_THRESHOLD,
        best_only: bool | None = None,
        each: bool | None = None,
        tiles: bool | None = None,
        tracker: str | None = None,
        corrections: list[dict[str, Any]] | None = None,
        backward: bool | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """Follows what a prompt names through a video: each thing keeps its id; it is shown, blurred or cut out.

        For single pictures take `detect`. What was followed before is not computed again: another effect, or the same
        call after it took too long, goes on from there.

        Args:
            video: The video, as an uploaded file; of MCP the address of one (http or https). MP4, MOV, WebM, MKV, AVI,
                GIF.
            prompt: What to follow, as `detect` takes it.
            effect: What is made of it: "boxes" (drawn, with names and ids), "blur", "pixelate", "recolor" or "cut-out"
                (all else gets one colour).
            color: Of "recolor" and "cut-out" the colour, as a name or #rrggbb.
            masks: Whether outlines are followed in place of boxes, which takes longer.
            every: The detector looks at one frame of so many; by default six times a second, for outlines once.
            start: Seconds of the video at which it begins.
            end: Seconds at which it ends; by default at its end.
            model: A name that `models` lists with the task "detect"; by default one that comes along and knows such
                pictures.
            segmenter: A name that `models` lists with the task "segment".
            box_threshold: Score from which a box counts, 0 to 1; by default the model's own.
            text_threshold: Score from which the noun of a sentence's phrase counts, 0 to 1; by default the model's own.
            nms_threshold: Of two boxes of one phrase that overlap more than this (IoU) the better stays; 1 keeps both.
            best_only: Only the best box of each phrase counts, as for "left lion", which is one.
            each: Each phrase is looked for by itself, which finds more of what is described and takes a pass for each.
            tiles: A large frame is looked at in up to 3 x 3 tiles, too, for small things in it; a pass for each.
            tracker: A name that `models` lists with the task "track"; all but "embedded" follow outlines.
            corrections: What is in some frames: [{"seconds", "objects": [{"phrase", "box": [x0, y0, x1, y1]}]}, ...].
                An object is followed from there on; with "followed": false it is not shown from there on, and with
                "gone": true the track in its place ends. A phrase such as "cat 1" means the track of that id.
            backward: What a look finds first is followed back to the look before, too; not by the tracker "embedded",
                which fills in its boxes anyway.

        Returns:
            The video as MP4, and {"video", "about", "width", "height", "rate", "tracks": [{"id", "phrase", "score",
            "first", "last", "seconds", "frames"}], "frames": [{"frame", "seconds", "objects"}], "notes"}, where objects
            are as `segment` returns them, with an "id"; agents get no frames.
        """
        if not video:
            raise ValueError("There is no video: pass one as `video`.")
        thresholds = thresholds_of(box_threshold, text_threshold, nms_threshold, best_only, each, tiles)
        tracker = tracker or EMBEDDED
        outlines = flag_of("masks", masks)
        cuts = bool(outlines) and tracker == EMBEDDED
        if tracker == EMBEDDED and not outlines:
            segmenter = None
        cutter = segmenter if cuts else self.first.segmenter  # which needs no choice where nothing is cut
        words, stretch = prompt or "", (every, start, end)
        question = TrackQuestion(
            str(video), words, model or self.first.detector, segmenter, thresholds, *stretch, tracker
        )
        said = parse_corrections(corrections or [])
        question = replace(question, corrections=said, backward=bool(flag_of("backward", backward)))
        if not (model and cutter):
            frame, _ = self.follower.frame(str(video), start)
            model, cutter = self._suited(frame, model, cutter)
            question = replace(question, model=model, segmenter=cutter if cuts else segmenter)
        self.follower.require(question)
        show = Show(effect, color)
        show.task(VIDEO)  # what is wrong with it is told at once
        return self._in_time(self._tracked, question, show)

    def _tracked(self, question: TrackQuestion, show: Show, stop: StopCheck) -> tuple[str, dict[str, Any]]:
        notes: list[str] = []
        with self.follower.followed(question, stop) as followed, stopping(stop):
            for _ in watched(self.follower.follow(followed, lambda told: notes.extend({*told} - {*notes})), stop):
                pass
            made = self.follower.make(followed, VIDEO, show, partial(watched, stop=stop))
            record = json.loads(Path(self.follower.make(followed, "json")).read_text(encoding="utf-8"))
            notes += followed.notes()
        return made, {**record, "notes": notes}

    def models(self) -> list[dict[str, Any]]:
        """Lists the models that the other tools take by name, with what each knows: drawings, photographs or both.

        Of each: name, task, title, description, what it knows, size in bytes, and whether it is downloaded: one that is
        not cannot be used. Those that detect have thresholds, too, and whether they take examples.
        """
        studio = self.studio
        kinds: list[tuple[str, ModelCache[Any, Any]]] = [("detect", studio.detectors), ("segment", studio.segmenters)]
        kinds += [("inpaint", studio.inpainters), ("few steps", studio.few_steps), ("track", studio.trackers)]
        return [
            {
                "name": name,
                "task": task,
                "title": card.title,
                "description": card.description,
                "knows": [*card.knows],
                "size_bytes": card.size_bytes,
                **{limit: getattr(card, limit) for limit in OF_DETECTORS if task == "detect"},
                "downloaded": models.is_ready(name),
            }
            for task, models in kinds
            for name, card in models.cards.items()
            if name != OFF
        ]

    def _in_time(self, compute: Callable[..., R], *arguments: Any, **options: Any) -> R:
        """What a method of the studio gives, or that it took too long; it is given up then, or if nobody waits."""
        jobs: list[Job[R]] = []
        left = has_left()

        def stop() -> bool:
            return left() or any(job.given_up for job in jobs)

        jobs.append(self.jobs.start(lambda: compute(*arguments, **options, stop=stop)))
        return jobs[0].result(left)

    def _suited(self, path: str, model: str | None, segmenter: str | None) -> tuple[str, str]:
        """Detector and segmenter; where none is named, the one of those that come along that knows such pictures."""
        first = self.first
        detector, cutter = self.studio.suited_models(path, model or first.detector, segmenter or first.segmenter)
        return model or detector, segmenter or cutter

    def _picture(self, path: str) -> Image.Image:
        if not path:
            raise ValueError("There is no picture: pass one as `image`.")
        return self.studio.image(path)


def _answer(picture: Image.Image, findings: Findings, model: str) -> tuple[str, dict[str, Any]]:
    """The picture with what was found in it, and the record."""
    drawn = annotate(picture, findings.detections, findings.phrases)
    record = export.record(findings.detections, picture.size, model)
    return _as_file(export.png(drawn)), {**record, "notes": [*findings.notes]}


def _as_file(png: bytes) -> str:
    return write_file(png, "image.png")
