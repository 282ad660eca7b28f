"""Files of the Hugging Face hub: the local cache first, a download only where it is allowed.

The cache is huggingface_hub's own, so that other programs' downloads serve us and ours serve them. The transfer is
ours: huggingface_hub 2.4 starts a broken download again from zero (its issue 4196), which over a slow line means that
700 MB never arrive.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    get_session,
    hf_hub_download,
    hf_hub_url,
    hf_raise_for_status,
    is_offline_mode,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import WeakFileLock, build_hf_headers, httpx

# (bytes done, bytes in all or None where unknown, what is being done); raise in it to stop, what has come is kept.
Progress = Callable[[int, int | None, str], None]

REPORT_EVERY = 1 << 20  # bytes between two calls of the progress callback
ATTEMPTS = 5  # in a row that bring nothing; any byte that arrives starts the count again
PAUSE = 1.0  # seconds between attempts


@dataclass(frozen=True)
class HubFile:
    """One file of a model repository; `size` (bytes) and `sha256` are checked where they are known beforehand."""

    repository: str
    filename: str
    revision: str = "main"
    size: int | None = None
    sha256: str | None = None


class NotInRepository(ValueError):
    """The repository exists and has no file of this name."""


def cached(file: HubFile) -> Path | None:
    """Where the file lies in the local cache, or None; never asks the network."""
    path = try_to_load_from_cache(file.repository, file.filename, revision=file.revision)
    if not isinstance(path, str) and file.sha256 is not None:
        # The same content may have been fetched under a name of its revision other than the pinned one.
        path = try_to_load_from_cache(file.repository, file.filename, revision="main")
    if not isinstance(path, str):
        return None
    return Path(path) if file.size in (None, Path(path).stat().st_size) else None


def fetch(file: HubFile, local_files_only: bool = False, progress: Progress | None = None) -> Path:
    """Path of the file in the local cache, downloaded first where it is not there.

    A download that broke off continues where it stopped. What arrives is checked against the size and checksum given
    or, where none is, those the hub states.

    Args:
        local_files_only: never ask the network; so does the environment variable `HF_HUB_OFFLINE`.
        progress: called about once per megabyte.

    Raises:
        NotInRepository: the repository has no such file.
        ValueError: the file is not here and must not or cannot be downloaded; the sentence says what to do.
    """
    if path := cached(file):
        return path
    if local_files_only or is_offline_mode():
        raise ValueError(
            f"'{file.filename}' of the Hugging Face repository '{file.repository}' is not on this machine and downloads"
            f" are switched off: allow them once, or run `hf download {file.repository} {file.filename}` on a connected"
            " machine and pass the path of what it fetched."
        )
    try:
        return _download(file, progress)
    except EntryNotFoundError as error:
        raise NotInRepository(f"The repository '{file.repository}' has no file '{file.filename}'.") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ValueError(
            f"The Hugging Face hub has no repository '{file.repository}' (revision {file.revision}) that you may read."
        ) from error
    except httpx.HTTPError as error:
        raise ValueError(
            f"'{file.filename}' of '{file.repository}' could not be downloaded ({_first_line(error)}): check the "
            "connection and try again, what has arrived is kept."
        ) from error
    except OSError as error:
        raise ValueError(
            f"'{file.filename}' of '{file.repository}' could not be saved in '{constants.HF_HUB_CACHE}' "
            f"({_first_line(error)})."
        ) from error


def fetch_model_folder(repository: str, local_files_only: bool = False, progress: Progress | None = None) -> Path:
    """Folder in the cache with a repository's `config.json`, weights and tokenizer, all of one revision.

    Raises:
        ValueError: as `fetch`.
    """
    if folder := cached_model_folder(repository):
        return folder
    config = fetch(HubFile(repository, "config.json"), local_files_only, progress)
    revision = config.parent.name

    def fetch_beside(filename: str) -> Path:
        return fetch(HubFile(repository, filename, revision), local_files_only, progress)

    try:
        fetch_beside("model.safetensors")
    except NotInRepository:
        for shard in shard_names(fetch_beside("model.safetensors.index.json")):
            fetch_beside(shard)
    try:
        fetch_beside("vocab.txt")
    except NotInRepository:
        fetch_beside("tokenizer.json")
    return config.parent


def cached_model_folder(repository: str) -> Path | None:
    """The folder that `fetch_model_folder` would give if all of it is in the cache, or None."""
    config = cached(HubFile(repository, "config.json"))
    if config is None:
        return None
    folder = config.parent
    index = folder / "model.safetensors.index.json"
    weights = shard_names(index) if index.exists() else ["model.safetensors"]
    has_tokenizer = any((folder / name).exists() for name in ("vocab.txt", "tokenizer.json"))
    return folder if has_tokenizer and all((folder / name).exists() for name in weights) else None


def shard_names(index: Path) -> list[str]:
    """Names of the files that the weights of `model.safetensors.index.json` are spread over."""
    return sorted(set(json.loads(index.read_text())["weight_map"].values()))


def _download(file: HubFile, progress: Progress | None) -> Path:
    url = hf_hub_url(file.repository, file.filename, revision=file.revision)
    remote = get_hf_file_metadata(url)
    if remote.etag is None or remote.commit_hash is None:
        raise ValueError(f"The server at '{constants.ENDPOINT}' does not answer as a Hugging Face hub does.")
    if file.size is not None and remote.size not in (None, file.size):
        raise ValueError(
            f"'{file.filename}' of '{file.repository}' has {remote.size} bytes at '{constants.ENDPOINT}' instead of "
            f"{file.size}: it is not the published file."
        )
    size = file.size or remote.size
    checksum = file.sha256 or remote.etag
    # The layout of the cache is documented: blobs/<etag> holds the content, hf_hub_download links a name to it.
    folder = "models--" + file.repository.replace("/", "--")
    cache = Path(constants.HF_HUB_CACHE)
    blob = cache / folder / "blobs" / remote.etag
    lock = cache / ".locks" / folder / f"{remote.etag}.lock"
    for path in (blob, lock):
        path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if not blob.exists() or blob.stat().st_size != size:  # another program may have left half of it
            partial = blob.with_name(f"{blob.name}.incomplete")
            _transfer(
                url, partial, size, lambda done: progress and progress(done, size, f"downloading {file.filename}")
            )
            _verify(partial, size, checksum, file)
            partial.replace(blob)
    return Path(hf_hub_download(file.repository, file.filename, revision=file.revision))


def _transfer(url: str, partial: Path, size: int | None, report: Callable[[int], object]) -> None:
    """Append to `partial` until it has `size` bytes, through as many connections as it takes."""
    failures = 0
    while True:
        start = partial.stat().st_size if partial.exists() else 0
        report(start)
        if size is not None and start >= size:
            return
        try:
            _stream(url, partial, start, report)
            if size is None or partial.stat().st_size >= size:
                return
            raise httpx.RemoteProtocolError("the connection closed early")
        except httpx.TransportError:
            arrived = partial.exists() and partial.stat().st_size > start
            failures = 1 if arrived else failures + 1
            if failures >= ATTEMPTS:
                raise
            time.sleep(PAUSE)


def _stream(url: str, partial: Path, start: int, report: Callable[[int], object]) -> None:
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}  # a range counts bytes of the file itself
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


def _verify(partial: Path, size: int | None, checksum: str, file: HubFile) -> None:
    """Compare with the size and with the checksum; what differs is removed, as it cannot be continued."""
    actual = partial.stat().st_size
    problem = f"it has {actual} bytes instead of {size}" if size not in (None, actual) else ""
    if not problem and re.fullmatch(r"[0-9a-f]{64}", checksum):
        with partial.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != checksum:
                problem = "its checksum is wrong"
    if problem:
        partial.unlink()
        raise ValueError(
            f"'{file.filename}' of '{file.repository}' arrived damaged ({problem}) and was removed: try again."
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
