"""The models and pictures of a running page: the only state there is, shared by all who use it."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import NamedTuple

import supervision as sv
from PIL import Image

from groundingdino.cache import ByteCache
from groundingdino.checkpoints import MODELS, ModelCard, is_cached
from groundingdino.detector import Detector
from groundingdino.image import load_image
from groundingdino.phrases import NMS_THRESHOLD

_PICTURE_BYTES = 512 << 20  # decoded pictures that stay in memory: a dozen photographs of 12 megapixels
_MAX_ENLARGEMENT = 4  # beyond it a picture is but blocks
_TICK = 0.2  # seconds between two looks at a download

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in two sizes, both RGB and upright."""

    image: Image.Image  # as given
    shown: Image.Image  # as it fits the canvas, small ones enlarged so that what is drawn on them is sharp

    @property
    def scale(self) -> float:
        """Pixels of `shown` per pixel of `image`."""
        return self.shown.width / self.image.width


@dataclass(frozen=True)
class Thresholds:
    """What turns scores into objects; none of it runs the model. None stands for the checkpoint's own value."""

    box: float | None = None
    text: float | None = None
    nms: float | None = NMS_THRESHOLD  # IoU; 1 keeps every box


@dataclass(frozen=True, eq=False)
class Findings:
    """What a model found in a picture, and how long each part took."""

    detections: sv.Detections  # in pixels of the picture
    phrases: tuple[str, ...]  # of the prompt, found or not; of a sentence: the labels that were found
    best_score: float  # of any candidate, also below the threshold; 0 without a prompt
    card: ModelCard
    box_threshold: float  # as used
    notes: tuple[str, ...]  # sentences for the user
    timing: "Timing"


class Timing(NamedTuple):
    """Milliseconds; `None` where nothing was computed because the answer was kept from before."""

    text: float | None
    picture: float | None
    grounding: float | None


class Progress(NamedTuple):
    """Of a download: bytes done, bytes in all (None while unknown), and what is being fetched."""

    done: int
    total: int | None
    what: str


@dataclass
class _Download:
    progress: Progress
    finished: Event = field(default_factory=Event)
    error: str = ""


class Studio:
    """Loads each model once, when it is first needed, and decodes each picture once.

    Models come from the local cache. Only `download` fetches one, because the user asked for it.

    Args:
        device: Where models run; None: the GPU if there is one.
        local_files_only: Refuse downloads.
        load: Makes the detector of a model, as `Detector.from_pretrained` does.
        cards: The models on offer by name.
        has_files: Whether the files of a model are on this machine.
    """

    def __init__(
        self,
        device: str | None = None,
        local_files_only: bool = False,
        load: Callable[..., Detector] = Detector.from_pretrained,
        cards: Mapping[str, ModelCard] = MODELS,
        has_files: Callable[[str], bool] = is_cached,
    ):
        self.cards = cards
        self.local_files_only = local_files_only
        self._device = device
        self._load = load
        self._has_files = has_files
        self._detectors: dict[str, Detector] = {}
        self._loading = {name: Lock() for name in cards}
        self._downloads: dict[str, _Download] = {}
        self._downloads_lock = Lock()
        self._pictures: ByteCache[Image.Image] = ByteCache(
            _PICTURE_BYTES, lambda image: image.width * image.height * len(image.getbands())
        )

    def card(self, name: str) -> ModelCard:
        """What is known of a model; a ValueError lists the names there are."""
        if name not in self.cards:
            raise ValueError(f"There is no model '{name}'; choose one of {', '.join(self.cards)}.")
        return self.cards[name]

    def is_ready(self, name: str) -> bool:
        """Whether a model can be used without a download."""
        self.card(name)
        return name in self._detectors or self._has_files(name)

    def detector(self, name: str) -> Detector:
        """The detector of a model, loaded on first use; a ValueError says that it has to be downloaded first."""
        card = self.card(name)
        with self._loading[name]:
            if name not in self._detectors:
                if not self._has_files(name):
                    raise ValueError(f"{card.title} is not on this machine yet: download it first.")
                self._detectors[name] = self._load(name, device=self._device, local_files_only=True)
        return self._detectors[name]

    def download(self, name: str) -> Iterator[Progress]:
        """Fetches a model and loads it, and tells how far it is until it is ready.

        Whoever asks for a model that is on its way follows the same download. It goes on when nobody follows it any
        more.

        Raises:
            ValueError: one sentence: no such model, downloads are switched off, or what went wrong.
        """
        card = self.card(name)
        if self.is_ready(name):
            return
        if self.local_files_only:
            raise ValueError(f"{card.title} is not on this machine, and downloads are switched off.")
        download = self._start(name, card)
        while not download.finished.wait(_TICK):
            yield download.progress
        if download.error:
            raise ValueError(download.error)

    def image(self, path: str | Path) -> Image.Image:
        """The picture in a file, decoded once for as long as it is in use; errors are those of `load_image`."""
        path = Path(path)
        # Loaded from bytes, so that a message does not name the server's folders.
        return self._pictures.get_or_compute(_version(path), lambda: load_image(path.read_bytes()))[0]

    def picture(self, path: str | Path, canvas: tuple[int, int]) -> Picture:
        """The picture in a file, and its copy for a canvas of that width and height in pixels."""
        image, version = self.image(path), _version(Path(path))
        shown, _ = self._pictures.get_or_compute((*version, canvas), lambda: _fit(image, canvas))
        return Picture(image, shown)

    def find(self, image: Image.Image, prompt: str, model: str, thresholds: Thresholds) -> Findings:
        """Finds the prompt's phrases in a picture, see `Detector`; without a prompt the picture is only encoded."""
        detector = self.detector(model)
        encoded = detector.encode_image(image)
        grounding = detector.ground(encoded, prompt)
        detections = grounding.detections(thresholds.box, thresholds.text, thresholds.nms)
        phrases = grounding.phrases
        if grounding.prompt.kind == "sentence":
            phrases = tuple(dict.fromkeys(map(str, detections.data["class_name"])))
        return Findings(
            detections,
            phrases,
            best_score=float(grounding.scores.max(initial=0)),
            card=detector.card,
            box_threshold=grounding.box_threshold if thresholds.box is None else thresholds.box,
            notes=grounding.notes,
            timing=Timing(
                text=None if grounding.text_cached else grounding.text_milliseconds,
                picture=None if encoded.cached else encoded.milliseconds,
                grounding=None if grounding.cached else grounding.grounding_milliseconds,
            ),
        )

    def _start(self, name: str, card: ModelCard) -> _Download:
        with self._downloads_lock:
            running = self._downloads.get(name)
            if running is None or running.finished.is_set():
                running = self._downloads[name] = _Download(Progress(0, card.size_bytes, card.title))
                Thread(target=self._fetch, args=(name, running), daemon=True).start()
            return running

    def _fetch(self, name: str, download: _Download) -> None:
        def report(done: int, total: int | None, what: str) -> None:
            download.progress = Progress(done, total, what)

        try:
            detector = self._load(name, device=self._device, local_files_only=False, progress=report)
            with self._loading[name]:
                self._detectors.setdefault(name, detector)
        except ValueError as error:
            download.error = str(error)
        except Exception as error:  # a thread's error would vanish, and whoever waits would wait for ever
            logger.exception("Fetching %s failed", name)
            download.error = f"{self.cards[name].title} could not be downloaded: {error}"
        finally:
            download.finished.set()


def _version(path: Path) -> tuple[Path, int]:
    """Names what is in a file now: its path and when it was written."""
    try:
        return path, path.stat().st_mtime_ns
    except OSError as error:
        raise ValueError("The picture is no longer on the server: please choose it again.") from error


def _fit(image: Image.Image, canvas: tuple[int, int]) -> Image.Image:
    scale = min(canvas[0] / image.width, canvas[1] / image.height, _MAX_ENLARGEMENT)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
