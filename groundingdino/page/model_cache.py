"""The models of one kind that a running page offers: loaded when needed, and fetched only on request."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from huggingface_hub import is_offline_mode

from groundingdino.editing.out_of_memory import memory_errors
from groundingdino.files.downloads import NotSaved
from groundingdino.inputs.image_files import named
from groundingdino.runtime.devices import is_cpu

_TICK = 0.2  # seconds between two looks at a download
# They are small, and what every new visitor starts with.
ALWAYS_KEPT = ("embedded", "embedded-photos")
_KEPT = 2  # others that stay in memory: as many as one goes back and forth between

logger = logging.getLogger(__name__)


class Card(Protocol):
    """What is known of every model, whatever it does."""

    @property
    def title(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def description(self) -> str: ...
    @property
    def knows(self) -> tuple[str, ...]: ...


M = TypeVar("M")
C = TypeVar("C", bound=Card)


class NotDownloaded(ValueError):
    """A model is not on this machine.

    Attributes:
        models, name: Where it belongs, and what it is called there.
        reason: Why its download failed, if that was tried last.
    """

    def __init__(self, message: str, models: "ModelCache[Any, Any]", name: str, reason: str = ""):
        super().__init__(message)
        self.models, self.name, self.reason = models, name, reason


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


class ModelCache(Generic[M, C]):
    """Loads a model when it is needed, and keeps it in memory for the next request.

    Models come from the local cache. Only `download` fetches one, on the user's request.

    Besides those that come along the two that were used last are kept. One that makes room for another goes when the
    requests that run with it are over, for they hold it themselves; who asks for it again waits until it is loaded
    again.

    Args:
        cards: The models on offer by name.
        load: Makes a model by name, as `Detector.from_pretrained` and `Segmenter.from_pretrained` do.
        has_files: Whether the files of a model are on this machine.
        device: Where models run; None: the GPU if there is one.
        local_files_only: Refuse downloads.
    """

    def __init__(
        self,
        cards: Mapping[str, C],
        load: Callable[..., M],
        has_files: Callable[[str], bool],
        device: str | None = None,
        local_files_only: bool = False,
    ):
        self.cards = cards
        self.local_files_only = local_files_only
        self._load = load
        self._has_files = has_files
        self._device = device
        self._models: dict[str, M] = {}  # the one used last comes last
        self._models_lock = Lock()
        self._loading = {name: Lock() for name in cards}
        self._downloads: dict[str, _Download] = {}
        self._downloads_lock = Lock()

    def card(self, name: str) -> C:
        """What is known of a model; a ValueError lists the names there are."""
        if name not in self.cards:
            raise ValueError(f"There is no model {named(name)}; choose one of {', '.join(self.cards)}.")
        return self.cards[name]

    def in_memory(self) -> list[str]:
        """Names of the models that are loaded, the one used last at the end."""
        return [*self._models]

    def is_ready(self, name: str) -> bool:
        """Whether a model can be used without a download."""
        self.card(name)
        return name in self._models or self._has_files(name)

    def is_on_its_way(self, name: str) -> bool:
        """Whether a model is being downloaded."""
        download = self._downloads.get(name)
        return download is not None and not download.finished.is_set()

    @property
    def is_on_cpu(self) -> bool:
        """Whether models run on the processor."""
        return is_cpu(self._device)

    @property
    def is_offline(self) -> bool:
        """Whether nothing may be downloaded, by `local_files_only` or the environment variable `HF_HUB_OFFLINE`."""
        return self.local_files_only or is_offline_mode()

    def require(self, name: str) -> C:
        """What is known of a model that can be used; `NotDownloaded` says that it has to be downloaded first."""
        card, last = self.card(name), self._downloads.get(name)
        if self.is_ready(name):
            return card
        if self.is_offline:
            raise self._never_fetched(name)
        if last is None or not last.error:
            message = f"{card.title} is not on this machine yet: choose it in the page and press Download."
            raise NotDownloaded(message, self, name)
        raise NotDownloaded(f"{card.title} is not on this machine: {last.error}", self, name, last.error)

    def get(self, name: str) -> M:
        """A model, loaded if it is not in memory; errors are those of `require`."""
        self.require(name)
        with self._loading[name]:
            # A download that has brought all files still loads the model; a second copy might not fit into memory.
            if download := self._downloads.get(name):
                download.finished.wait()
            model = self._models.get(name)
            if model is None:
                model = self._load_here(name)
            self._keep(name, model)
        return model

    def _load_here(self, name: str) -> M:
        try:
            return self._load(name, device=self._device, local_files_only=True)
        except ValueError as error:  # it names the server's folders, and remedies that its visitors do not have
            logger.error("%s cannot be loaded: %s", name, error)
            title = self.cards[name].title
            raise ValueError(
                f"{title} cannot be loaded on this server, whose log says why: choose another model."
            ) from error

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
        if self.is_offline:
            raise self._never_fetched(name)
        download = self._start(name, card)
        while download and not download.finished.wait(_TICK):
            yield download.progress
        if download and download.error:
            raise ValueError(download.error)

    def _start(self, name: str, card: C) -> _Download | None:
        """The download under way; None if the model has become ready meanwhile."""
        with self._downloads_lock:
            running = self._downloads.get(name)
            if running is None or running.finished.is_set():
                if self.is_ready(name):
                    return None
                running = self._downloads[name] = _Download(Progress(0, card.size_bytes, card.title))
                Thread(target=self._fetch, args=(name, running), daemon=True).start()
            return running

    def _fetch(self, name: str, download: _Download) -> None:
        def report(done: int, total: int | None, what: str) -> None:
            download.progress = Progress(done, total, what)

        try:
            with memory_errors(self.let_go):
                self._keep(name, self._load(name, device=self._device, local_files_only=False, progress=report))
        except NotSaved as error:
            logger.error("%s", error)
            download.error = f"{self.cards[name].title} could not be saved on the server: {error.reason}."
        except ValueError as error:
            download.error = str(error)
        except Exception as error:  # a thread's error would vanish, and whoever waits would wait for ever
            logger.exception("Fetching %s failed", name)
            download.error = f"{self.cards[name].title} could not be downloaded: {error}"
        finally:
            download.finished.set()

    def _keep(self, name: str, model: M) -> None:
        """Puts a model behind all that were used before it, and drops those for which there is no room."""
        with self._models_lock:
            models = {kept: other for kept, other in self._models.items() if kept != name} | {name: model}
            others = [kept for kept in models if kept not in ALWAYS_KEPT]
            # Replaced as a whole, as it is read without the lock.
            self._models = {kept: other for kept, other in models.items() if kept not in others[:-_KEPT]}

    def let_go(self) -> None:
        """Drops all models but those that come along: memory is short."""
        with self._models_lock:
            self._models = {kept: model for kept, model in self._models.items() if kept in ALWAYS_KEPT}

    def _never_fetched(self, name: str) -> NotDownloaded:
        message = (
            f"{self.cards[name].title} is not on this machine, and downloads are switched off on this server: choose "
            "another model."
        )
        return NotDownloaded(message, self, name)


def readable_size(size: int) -> str:
    """A number of bytes as people read it."""
    return f"{size / 1e6:.0f} MB" if size < 999.5e6 else f"{size / 1e9:.1f} GB"
