"""Files of the Hugging Face hub: the local cache first, a download only where it is allowed.

The cache is huggingface_hub's own, so that other programs' downloads serve us and ours serve them. The transfer is
ours (`downloads`): huggingface_hub 2.4 starts a broken download again from zero (its issue 4196), which over a slow
line means that 700 MB never arrive.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    _CACHED_NO_EXIST,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    is_offline_mode,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, httpx

from groundingdino.files.downloads import DownloadsOff, NotSaved, Progress, download, not_downloaded, retry
from groundingdino.files.wholeness import is_whole

# What a model folder may hold beside its configuration and weights; the words of a tokenizer, as BERT has them or as
# CLIP does, where there is no tokenizer.json.
_WORDS = ("vocab.txt", "vocab.json", "merges.txt")
OPTIONAL_FILES = (
    "tokenizer.json",
    *_WORDS,
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
)


@dataclass(frozen=True)
class HubFile:
    """One file of a model repository; `size` (bytes) and `sha256` are checked where they are known beforehand."""

    repository: str
    filename: str
    revision: str = "main"
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class HubFolder:
    """A model repository in transformers' layout: its configuration, its weights and what is beside them."""

    repository: str
    revision: str = "main"


def is_repository(name: str) -> bool:
    """Whether a name has the form of a repository, `owner/name`."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None


class NotInRepository(ValueError):
    """The repository exists and has no file of this name."""


def cached(file: HubFile) -> Path | None:
    """Where the file lies in the local cache, or None; never asks the network. Half a file is none."""
    path = try_to_load_from_cache(file.repository, file.filename, revision=file.revision)
    if not isinstance(path, str) and file.sha256 is not None:
        # The same content may have been fetched under a name of its revision other than the pinned one.
        path = try_to_load_from_cache(file.repository, file.filename, revision="main")
    if not isinstance(path, str):
        return None
    is_here = is_whole(Path(path)) if file.size is None else file.size == Path(path).stat().st_size
    return Path(path) if is_here else None


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
        # A file that is known beforehand is a model, any other one is part of one.
        what = f"{file.repository} {file.filename}" if file.sha256 else file.repository
        raise DownloadsOff(
            f"'{file.filename}' of the Hugging Face repository '{file.repository}'",
            f"run `hf download {what}` on a connected machine and pass the path that it prints",
        )
    name = f"'{file.filename}' of '{file.repository}'"
    try:
        return _download(file, name, progress)
    except LocalEntryNotFoundError as error:  # of the hub's library, for a connection that was lost; no HTTPError
        raise not_downloaded(name, error) from error
    except EntryNotFoundError as error:
        raise NotInRepository(f"The repository '{file.repository}' has no file '{file.filename}'.") from error
    except GatedRepoError as error:
        raise ValueError(
            f"The Hugging Face repository '{file.repository}' is for those who have accepted its licence: do so at "
            f"https://huggingface.co/{file.repository}, then run `hf auth login` or set `HF_TOKEN`."
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ValueError(
            f"The Hugging Face hub has no repository '{file.repository}' (revision {file.revision}) that you may read."
        ) from error
    except httpx.HTTPError as error:
        raise not_downloaded(name, error) from error
    except OSError as error:
        raise NotSaved(name, constants.HF_HUB_CACHE, error) from error


def fetch_model_folder(
    repository: str, local_files_only: bool = False, progress: Progress | None = None, revision: str = "main"
) -> Path:
    """Folder in the cache with a repository's configuration and weights, all of one revision.

    It has the files of the tokenizer and of what prepares pictures, too, if the repository has any.

    Raises:
        ValueError: as `fetch`.
    """
    # Only the hub knows which other files the repository has; it is queried once.
    if folder := cached_model_folder(repository, not (local_files_only or is_offline_mode()), revision):
        return folder
    config = fetch(HubFile(repository, "config.json", revision), local_files_only, progress)
    revision = config.parent.name

    def fetch_beside(filename: str) -> Path:
        return fetch(HubFile(repository, filename, revision), local_files_only, progress)

    try:
        fetch_beside("model.safetensors")
    except NotInRepository:
        for shard in shard_names(fetch_beside("model.safetensors.index.json")):
            fetch_beside(shard)
    for name in OPTIONAL_FILES:
        if not _is_settled(repository, config.parent, name):
            try:
                fetch_beside(name)
            except NotInRepository:
                _remember_missing(repository, revision, name)
    return config.parent


def cached_model_folder(repository: str, whole: bool = True, revision: str = "main") -> Path | None:
    """The folder that `fetch_model_folder` would give if all of it is in the cache, or None.

    Args:
        whole: It must be known of each optional file that it is here or that the repository has none.
    """
    config = cached(HubFile(repository, "config.json", revision))
    if config is None:
        return None
    folder = config.parent
    index = folder / "model.safetensors.index.json"
    if index.exists() and not is_whole(index):
        return None
    weights = shard_names(index) if index.exists() else ["model.safetensors"]
    if whole and not all(_is_settled(repository, folder, name) for name in OPTIONAL_FILES):
        return None
    return folder if all(is_whole(folder / name) for name in weights) else None


def _is_settled(repository: str, folder: Path, name: str) -> bool:
    """Whether an optional file is here, is not needed, or is known to be missing from the repository."""
    if is_whole(folder / name) or (name in _WORDS and is_whole(folder / "tokenizer.json")):
        return True
    return try_to_load_from_cache(repository, name, revision=folder.name) is _CACHED_NO_EXIST


def _remember_missing(repository: str, revision: str, name: str) -> None:
    """Note it in the cache where huggingface_hub does."""
    note = _cache_folder(repository) / ".no_exist" / revision / name
    with suppress(OSError):  # then it is queried again
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()


def _cache_folder(repository: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / ("models--" + repository.replace("/", "--"))


def shard_names(index: Path) -> list[str]:
    """Names of the files that the weights of `model.safetensors.index.json` are spread over.

    Raises:
        ValueError: the file does not say so.
    """
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"'{index}' does not list weight files: download it again.") from error


def _download(file: HubFile, name: str, progress: Progress | None) -> Path:
    url = hf_hub_url(file.repository, file.filename, revision=file.revision)

    def wait() -> None:
        if progress:
            progress(0, file.size, f"downloading {file.filename}")

    # Without a connection fail at once: none has succeeded yet.
    remote = retry(lambda: get_hf_file_metadata(url), while_waiting=wait, lost_connections=False)
    if remote.etag is None or remote.commit_hash is None:
        raise ValueError(f"The server at '{constants.ENDPOINT}' does not answer as a Hugging Face hub does.")
    if file.size is not None and remote.size not in (None, file.size):
        raise ValueError(
            f"{name} has {remote.size} bytes at '{constants.ENDPOINT}' instead of {file.size}: it is not the published "
            "file."
        )
    # The layout of the cache is documented: blobs/<etag> holds the content, hf_hub_download links a name to it.
    folder = _cache_folder(file.repository)
    blob = folder / "blobs" / remote.etag
    lock = folder.parent / ".locks" / folder.name / f"{remote.etag}.lock"
    size = file.size or remote.size
    download(
        url,
        blob,
        lock,
        size,
        file.sha256 or remote.etag,
        name,
        lambda done: progress and progress(done, size, f"downloading {file.filename}"),
        build_hf_headers(),
    )

    def link() -> Path:
        try:
            return Path(hf_hub_download(file.repository, file.filename, revision=file.revision))
        except LocalEntryNotFoundError as error:
            if isinstance(error.__cause__, httpx.HTTPError):
                raise error.__cause__ from None
            raise

    return retry(link, while_waiting=wait)
