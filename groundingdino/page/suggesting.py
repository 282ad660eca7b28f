"""What a picture seems to show, as words to look for: a detector is asked for all names that it may know."""

from collections.abc import Generator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr

from groundingdino.artwork.names import load_names
from groundingdino.detection.objects import labels_of
from groundingdino.files.assets import PHOTOGRAPHS
from groundingdino.page.jobs import Job, Jobs
from groundingdino.page.layout import SUGGEST, suggested
from groundingdino.page.model_cache import ALWAYS_KEPT
from groundingdino.page.query import NO_MODEL
from groundingdino.page.request_log import OVERTAKEN, REFUSED, logged
from groundingdino.page.session import Session
from groundingdino.page.studio import Studio
from groundingdino.runtime.interruption import StopCheck

MOST = 8  # suggestions: one line of the page
NOTICED = 0.3  # seconds until it is noticed that nobody waits any more
SAME_OBJECT = 0.6  # IoU from which the less sure of two names is another word for the same object


class Suggestions:
    """What stands below the prompt to be pressed: phrases of an example, or names of what is in another picture.

    Args:
        prompts: Of the examples, by their paths.
    """

    def __init__(self, studio: Studio, jobs: Jobs, prompts: Mapping[str, str]):
        self.studio, self.jobs, self.prompts = studio, jobs, prompts

    def at_once(self, session: Session, path: str | None) -> tuple[Any, Any]:
        """The phrases of an example; of another picture the button that asks for them.

        Gradio tells of one upload more than once: what was asked of the same picture since goes on.
        """
        if path and session.suggested == path:
            return gr.skip(), gr.skip()
        session.suggested = path
        asks = bool(path) and path not in self.prompts
        samples = suggested(path, self.prompts)
        return gr.update(samples=samples, visible=not asks), gr.update(value=SUGGEST, visible=asks, interactive=True)

    def again(self, session: Session, path: str | None) -> tuple[Any, Any]:
        """What `at_once` gives of a new picture, as another model is to be asked."""
        session.suggested = None
        return self.at_once(session, path)

    def on_request(
        self, session: Session, path: str | None, model: str, namer: str = NO_MODEL
    ) -> Generator[tuple[Any, Any], None, None]:
        """Names of what is in a picture, after a look at it; where there are none the button says so.

        Nothing is said once the page shows another picture.
        """
        session.suggested = path
        jobs: list[Job[list[str]]] = []
        with logged("suggest") as line:
            try:
                yield gr.skip(), gr.update(value="Looking …", interactive=False)

                def look() -> list[str]:
                    return suggest(self.studio, path or "", model, lambda: jobs[0].given_up, namer)

                jobs.append(self.jobs.start(look))
                while session.suggested == path and not jobs[0].is_done_within(NOTICED):
                    yield gr.skip(), gr.skip()  # Gradio ends a generator of somebody who left where it yields
                if session.suggested != path:
                    line["ended"] = OVERTAKEN
                    return
                names = jobs[0].result()
            except ValueError as error:
                line["ended"] = REFUSED
                yield gr.skip(), gr.update(value=str(error))
                return
            finally:
                for job in jobs:
                    job.given_up = True
        found = bool(names)
        button = gr.update(value=SUGGEST if found else "Nothing that the model knows", visible=not found)
        yield gr.update(samples=[[name] for name in names], visible=found), button


def suggest(
    studio: Studio, path: str | Path, model: str, stop: StopCheck | None = None, namer: str = NO_MODEL
) -> list[str]:
    """Names of what is in a picture, the surest first, at most `MOST`.

    A namer writes them down. Without one it takes a pass for each 100 names or so, on the
    encoding that a prompt needs anyway. On a CPU only the models that come along are quick enough for that: there one
    is asked in the place of others.

    Args:
        model: The detector that is chosen.
        stop: called now and then; once it returns True, `interruption.Stopped` is raised.
        namer: The namer that is chosen, or `NO_MODEL`.

    Raises:
        ValueError: It is no picture that can be read; or the namer is not on this machine.
    """
    if namer != NO_MODEL:
        studio.namers.require(namer)
        return studio.namers.get(namer).names(studio.image(path), stop=stop)[:MOST]
    detectors = studio.detectors
    if model not in ALWAYS_KEPT and (detectors.is_on_cpu or not detectors.is_ready(model)):
        model = next(name for name in ALWAYS_KEPT if name in detectors.cards)
    detector, card = detectors.get(model), detectors.card(model)
    names = card.names or everyday_names(PHOTOGRAPHS in card.knows)
    encoded = detector.encode_image(studio.image(path), stop=stop)
    found = detector.ground(encoded, names, stop=stop).detections().with_nms(SAME_OBJECT, class_agnostic=True)
    return [*dict.fromkeys(labels_of(found))][:MOST]


@lru_cache
def everyday_names(of_photographs: bool) -> tuple[str, ...]:
    """The 80 names of COCO, or those of the drawings."""
    if not of_photographs:
        return tuple(name.name for name in load_names())
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    categories = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return tuple(name for name in categories if name not in ("__background__", "N/A"))
