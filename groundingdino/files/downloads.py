"""Files from the network: resumed where a transfer broke off, verified, kept.

`hub` takes models from the Hugging Face hub with `download`; `fetch` takes single files from anywhere else.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from huggingface_hub import constants, get_session, hf_raise_for_status, is_offline_mode
from huggingface_hub.utils import WeakFileLock, httpx, parse_ratelimit_headers
from huggingface_hub.utils.sha import sha_fileobj

T = TypeVar("T")

# (bytes done, bytes in all or None where unknown, what is being done); raise in it to stop, what has come is kept.
Progress = Callable[[int, int | None, str], None]

REPORT_EVERY = 1 << 20  # bytes between two calls of the progress callback
ATTEMPTS = 5  # in a row that bring nothing; any byte that arrives starts the count again
PAUSE = 1.0  # seconds between attempts; twice as long after each answer that the server is busy
LONGEST_PAUSE = 60.0  # seconds; a server that asks for more is not waited for
BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers that another one may follow soon
_TICK = 0.2  # seconds between two reports while waiting, in which a download can be given up
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class DownloadsOff(ValueError):
    """A file is not on this machine, and must not be downloaded.

    `str` is the sentence for Python, `on_the_command_line` the one for a terminal.

    Args:
        what: The file, the subject of a sentence.
        elsewhere: How to fetch it on a connected machine, the end of a sentence.
    """

    def __init__(self, what: str, elsewhere: str):
        self._what, self._elsewhere = what, elsewhere
        super().__init__(self._told("local_files_only"))

    def on_the_command_line(self) -> str:
        """The same with the command line's name of what switched them off."""
        return self._told("--local-files-only")

    def _told(self, option: str) -> str:
        by, otherwise = ("HF_HUB_OFFLINE", "unset that") if is_offline_mode() else (option, "do without that once")
        return (
            f"{self._what} is not on this machine and downloads are switched off by {by}: {otherwise}, or "
            f"{self._elsewhere} in place of the name."
        )


class NotSaved(ValueError):
    """The disk failed; `reason` is the end of a sentence that does not name a folder of this machine."""

    def __init__(self, name: str, folder: str | Path, error: Exception):
        self.reason = (getattr(error, "strerror", None) or first_line(error)).rstrip(".")
        super().__init__(f"{name} could not be saved in '{folder}' ({first_line(error)}).")


@dataclass(frozen=True)
class WebFile:
    """One published file at a fixed address; `size` in bytes."""

    url: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def path(self) -> Path:
        """Where it is kept: beside the hub's cache, which `HF_HOME` moves."""
        return Path(constants.HF_HOME) / "downloads" / self.filename


def cached(file: WebFile) -> Path | None:
    """Where the file lies on this machine, or None; never asks the network."""
    return file.path if file.path.is_file() and file.path.stat().st_size == file.size else None


def fetch(file: WebFile, local_files_only: bool = False, progress: Progress | None = None) -> Path:
    """Path of the file on this machine, downloaded first where it is not there; a broken download continues.

    Args:
        local_files_only: never ask the network; so does the environment variable `HF_HUB_OFFLINE`.
        progress: called about once per megabyte.

    Raises:
        ValueError: the file is not here and must not or cannot be downloaded; the sentence says what to do.
    """
    if path := cached(file):
        return path
    if local_files_only or is_offline_mode():
        raise DownloadsOff(f"'{file.filename}'", f"fetch {file.url} on a connected machine and pass its path")
    lock, name = file.path.with_name(f"{file.filename}.lock"), f"'{file.filename}'"
    try:
        download(
            file.url,
            file.path,
            lock,
            file.size,
            file.sha256,
            name,
            lambda done: progress and progress(done, file.size, f"downloading {file.filename}"),
        )
    except httpx.HTTPError as error:
        raise not_downloaded(name, error) from error
    except OSError as error:
        raise NotSaved(name, file.path.parent, error) from error
    return file.path


def download(
    url: str,
    path: Path,
    lock: Path,
    size: int | None,
    checksum: str,
    name: str,
    report: Callable[[int], object],
    headers: Mapping[str, str] = NO_HEADERS,
) -> None:
    """Fetch a file to `path`, by one program at a time; what of it is beside it already is gone on with.

    Args:
        lock: The file by which programs wait for each other.
        size: In bytes; None where it is not known.
        checksum: See `verify`.
        name: Of the file, the subject of a sentence.
        report: Called with the bytes done.

    Raises:
        ValueError: it arrived damaged.
        httpx.HTTPError, OSError: it could not be fetched, see `not_downloaded`, or not be written, see `NotSaved`.
    """
    for folder in (path.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    incomplete = path.with_name(f"{path.name}.incomplete")
    with locked(lock, lambda: report(_size(incomplete))):
        if path.is_file() and path.stat().st_size == size:  # another program fetched it meanwhile, and all of it
            return
        transfer(url, incomplete, size, report, headers)
        verify(incomplete, size, checksum, name)
        incomplete.replace(path)


@contextmanager
def locked(lock: Path, while_waiting: Callable[[], object]) -> Iterator[None]:
    """Waits until no other program has a lock, and has it; one that was killed has none.

    Args:
        while_waiting: Called often meanwhile; raise in it to give up.
    """
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(WeakFileLock(lock, timeout=_TICK))
                break
            except TimeoutError:
                while_waiting()
        yield


def not_downloaded(name: str, error: Exception) -> ValueError:
    """What to raise where the network failed."""
    if _status(error) in BUSY:
        pause = _asked_pause(error)
        later = f"in {pause / 60:.0f} minutes" if pause > LONGEST_PAUSE else "later"
        remedy = f"the server is busy, try again {later}"
    else:
        remedy = "check the connection and try again"
    return ValueError(f"{name} could not be downloaded ({first_line(error)}): {remedy}, what has arrived is kept.")


def transfer(
    url: str,
    partial: Path,
    size: int | None,
    report: Callable[[int], object],
    headers: Mapping[str, str] = NO_HEADERS,
) -> None:
    """Append to `partial` until it has `size` bytes, through as many connections as it takes."""

    def arrived() -> int:
        return _size(partial)

    def attempt() -> None:
        start = arrived()
        report(start)
        if size is not None and start >= size:
            return
        complete = _stream(url, partial, start, report, headers)
        if not complete and size is not None and arrived() < size:
            raise httpx.RemoteProtocolError("the connection closed early")

    retry(attempt, arrived, lambda: report(arrived()))


def retry(
    attempt: Callable[[], T],
    arrived: Callable[[], int] = lambda: 0,
    while_waiting: Callable[[], object] = lambda: None,
    lost_connections: bool = True,
) -> T:
    """`attempt()`, again where the server is busy or the connection lost, until `ATTEMPTS` in a row brought nothing.

    Args:
        arrived: The bytes that are here: if they have become more, an attempt brought something.
        while_waiting: Called often between two attempts; raise in it to give up.
        lost_connections: Whether a lost connection is tried again, too; False where nobody may be online.

    Raises:
        httpx.HTTPError: that of the last attempt, or of one that the server wants to be later than `LONGEST_PAUSE`.
    """
    failures = 0
    while True:
        before = arrived()
        try:
            return attempt()
        except httpx.HTTPError as error:
            busy = _status(error) in BUSY
            if not busy and not (lost_connections and isinstance(error, httpx.TransportError)):
                raise
            failures = 1 if arrived() > before else failures + 1
            pause = max(PAUSE * 2 ** (failures - 1), _asked_pause(error)) if busy else PAUSE
            if failures >= ATTEMPTS or pause > LONGEST_PAUSE:
                raise
        end = time.monotonic() + pause
        while (left := end - time.monotonic()) > 0:
            while_waiting()
            time.sleep(min(_TICK, left))


def verify(partial: Path, size: int | None, checksum: str, name: str) -> None:
    """Compare with the size and, if it is one, the SHA-256; what differs is removed, as it cannot be continued.

    Raises:
        ValueError: it differs; `name` is the subject of the sentence.
    """
    actual = partial.stat().st_size
    problem = f"it has {actual} bytes instead of {size}" if size not in (None, actual) else ""
    if not problem and re.fullmatch(r"[0-9a-f]{64}", checksum):
        with partial.open("rb") as content:
            if sha_fileobj(content).hex() != checksum:
                problem = "its checksum is wrong"
    if problem:
        partial.unlink()
        raise ValueError(f"{name} arrived damaged ({problem}) and was removed: try again.")


def _size(file: Path) -> int:
    """Bytes that a file has; 0 where there is none."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _status(error: Exception) -> int | None:
    """That of the server's answer, if there was one."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _asked_pause(error: Exception) -> float:
    """Seconds that a busy server wants to be left alone; 0 where it does not say."""
    response = getattr(error, "response", None)
    if response is None:
        return 0.0
    if (limit := parse_ratelimit_headers(response.headers)) is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    pause = response.headers.get("Retry-After", "").strip()
    if pause.isdecimal():
        return float(pause)
    with suppress(ValueError, OverflowError):  # what is no date, or one that no clock shows
        return parsedate_to_datetime(pause).timestamp() - time.time()
    return 0.0


def _stream(url: str, partial: Path, start: int, report: Callable[[int], object], headers: Mapping[str, str]) -> bool:
    """Append what the server has beyond `start`; True if it says that there is no more."""
    headers = {**headers, "Accept-Encoding": "identity"}  # a range counts bytes of the file itself
    if start:
        headers["Range"] = f"bytes={start}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, follow_redirects=True, timeout=timeout) as response:
        if start and response.status_code == 416:  # nothing of the file lies beyond
            if response.headers.get("Content-Range", "").rpartition("/")[2] == str(start):
                return True
            partial.unlink()
            raise httpx.RemoteProtocolError("more had arrived than the server has")
        hf_raise_for_status(response)
        continues = response.status_code == 206  # a server that ignores the range sends all of it again, with 200
        done = start if continues else 0
        reported = done
        with partial.open("ab" if continues else "wb") as output:
            for chunk in response.iter_bytes():
                output.write(chunk)
                done += len(chunk)
                if done - reported >= REPORT_EVERY:
                    report(done)
                    reported = done
        report(done)
    return False
