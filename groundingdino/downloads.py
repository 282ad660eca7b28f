"""Files from the network: resumed where a transfer broke off, verified, kept.

`hub` takes models from the Hugging Face hub with `download`; `fetch` takes single files from anywhere else.
"""

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from huggingface_hub import constants, get_session, hf_raise_for_status, is_offline_mode
from huggingface_hub.utils import WeakFileLock, httpx

# (bytes done, bytes in all or None where unknown, what is being done); raise in it to stop, what has come is kept.
Progress = Callable[[int, int | None, str], None]

REPORT_EVERY = 1 << 20  # bytes between two calls of the progress callback
ATTEMPTS = 5  # in a row that bring nothing; any byte that arrives starts the count again
PAUSE = 1.0  # seconds between attempts
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


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
        raise ValueError(
            f"'{file.filename}' is not on this machine and downloads are switched off: allow them once, or fetch "
            f"{file.url} on a connected machine and pass the path of it."
        )
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
        raise not_saved(name, file.path.parent, error) from error
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
        httpx.HTTPError, OSError: it could not be fetched, see `not_downloaded`, or not be written, see `not_saved`.
    """
    for folder in (path.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if path.is_file() and path.stat().st_size == size:  # another program fetched it meanwhile, and all of it
            return
        incomplete = path.with_name(f"{path.name}.incomplete")
        transfer(url, incomplete, size, report, headers)
        verify(incomplete, size, checksum, name)
        incomplete.replace(path)


def not_downloaded(name: str, error: Exception) -> ValueError:
    """What to raise where the network failed."""
    return ValueError(
        f"{name} could not be downloaded ({first_line(error)}): check the connection and try again, what has arrived "
        "is kept."
    )


def not_saved(name: str, folder: str | Path, error: Exception) -> ValueError:
    """What to raise where the disk failed."""
    return ValueError(f"{name} could not be saved in '{folder}' ({first_line(error)}).")


def transfer(
    url: str,
    partial: Path,
    size: int | None,
    report: Callable[[int], object],
    headers: Mapping[str, str] = NO_HEADERS,
) -> None:
    """Append to `partial` until it has `size` bytes, through as many connections as it takes."""
    failures = 0
    while True:
        start = partial.stat().st_size if partial.exists() else 0
        report(start)
        if size is not None and start >= size:
            return
        try:
            _stream(url, partial, start, report, headers)
            if size is None or partial.stat().st_size >= size:
                return
            raise httpx.RemoteProtocolError("the connection closed early")
        except httpx.TransportError:
            arrived = partial.exists() and partial.stat().st_size > start
            failures = 1 if arrived else failures + 1
            if failures >= ATTEMPTS:
                raise
            time.sleep(PAUSE)


def verify(partial: Path, size: int | None, checksum: str, name: str) -> None:
    """Compare with the size and, if it is one, the SHA-256; what differs is removed, as it cannot be continued.

    Raises:
        ValueError: it differs; `name` is the subject of the sentence.
    """
    actual = partial.stat().st_size
    problem = f"it has {actual} bytes instead of {size}" if size not in (None, actual) else ""
    if not problem and re.fullmatch(r"[0-9a-f]{64}", checksum):
        with partial.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != checksum:
                problem = "its checksum is wrong"
    if problem:
        partial.unlink()
        raise ValueError(f"{name} arrived damaged ({problem}) and was removed: try again.")


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _stream(url: str, partial: Path, start: int, report: Callable[[int], object], headers: Mapping[str, str]) -> None:
    headers = {**headers, "Accept-Encoding": "identity"}  # a range counts bytes of the file itself
    if start:
        headers["Range"] = f"bytes={start}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, follow_redirects=True, timeout=timeout) as response:
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
