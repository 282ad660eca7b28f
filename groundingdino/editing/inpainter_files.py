"""Which files a pipeline in diffusers' layout is made of: on this machine, and on the hub.

diffusers' own download takes every format that a repository holds, and starts again from zero where it broke off. Here
are only the files that the pipeline reads: safetensors alone, as pickles can run code, and half precision where it is
published, half the size and cast up where a processor needs it. Each is fetched by `hub.fetch`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from groundingdino.files import hub
from groundingdino.files.downloads import Progress
from groundingdino.files.hub import HubFile, NotInRepository, shard_names
from groundingdino.files.wholeness import is_whole

INDEX = "model_index.json"
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",), ("spiece.model",))
_TOKENIZER_OPTIONS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")

Get = Callable[[str], Path]  # the path of a file by its name in the repository; NotInRepository where it has none


def fetch_pipeline(repository: str, local_files_only: bool = False, progress: Progress | None = None) -> Path:
    """Folder in the hub's cache with all that a pipeline reads, of one revision; fetched first where it is not there.

    Raises:
        ValueError: as `hub.fetch`, or the repository is no pipeline, or has its weights only as pickles.
    """
    if folder := cached_pipeline(repository):
        return folder
    try:
        index = hub.fetch(HubFile(repository, INDEX), local_files_only, progress)
    except NotInRepository as error:
        raise ValueError(
            f"The repository '{repository}' is no pipeline in diffusers' layout: it has no {INDEX}."
        ) from error
    revision = index.parent.name

    def get(name: str) -> Path:
        return hub.fetch(HubFile(repository, name, revision), local_files_only, progress)

    for part in _parts(index):
        if problem := _missing(part, get):
            raise ValueError(f"The repository '{repository}' {problem}.")
    return index.parent


def cached_pipeline(repository: str) -> Path | None:
    """The folder that `fetch_pipeline` would give if all of it is in the cache, or None; never asks the network."""
    index = hub.cached(HubFile(repository, INDEX))
    return None if index is None or lacking(index.parent, is_whole) else index.parent


def lacking(folder: Path, is_here: Callable[[Path], bool] = Path.is_file) -> str:
    """What a pipeline's folder lacks, as the end of a sentence; "" if it is complete."""

    def get(name: str) -> Path:
        if not is_here(folder / name):
            raise NotInRepository(name)
        return folder / name

    if not (folder / INDEX).is_file():
        return f"has no {INDEX}"
    try:
        return next(filter(None, (_missing(part, get) for part in _parts(folder / INDEX))), "")
    except (OSError, ValueError) as error:
        return f"is damaged ({error})"


def has_half_weights(folder: Path) -> bool:
    """Whether weights of half precision lie in a pipeline's folder beside, or instead of, whole ones."""
    return any(folder.glob("*/*.fp16.safetensors")) or any(folder.glob("*/*.index.fp16.json"))


def unet_config(folder: Path) -> dict[str, Any]:
    """The settings of a pipeline's UNet, if there are any that can be read."""
    try:
        config = json.loads((folder / "unet" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def whole_progress(progress: Progress, size_bytes: int) -> Progress:
    """Makes one count of the counts of a pipeline's files, of which all together have about so many bytes."""
    finished: dict[str, int] = {}

    def report(done: int, _total: int | None, what: str) -> None:
        finished[what] = done
        arrived = sum(finished.values())
        progress(arrived, max(size_bytes, arrived), what)

    return report


def _parts(index: Path) -> Iterator[tuple[str, str, str]]:
    """Name, library and class of each part of a pipeline; parts that it was published without are left out."""
    entries: Mapping[str, Any] = json.loads(index.read_text(encoding="utf-8"))
    for name, entry in entries.items():
        if isinstance(entry, list) and len(entry) == 2 and all(isinstance(word, str) for word in entry):
            yield name, entry[0], entry[1]


def _missing(part: tuple[str, str, str], get: Get) -> str:
    """Gets the files of one part; says what it lacks, "" if nothing."""
    name, library, kind = part

    def has(filename: str) -> bool:
        try:
            get(f"{name}/{filename}")
        except NotInRepository:
            return False
        return True

    def reads_text() -> bool:
        for option in _TOKENIZER_OPTIONS:
            has(option)
        return any(all(has(filename) for filename in filenames) for filenames in _TOKENIZERS)

    if "Tokenizer" in kind:
        return "" if reads_text() else f"has no vocabulary in '{name}'"
    if "Scheduler" in kind:
        return "" if has("scheduler_config.json") else f"has no settings in '{name}'"
    if kind.endswith(("ImageProcessor", "FeatureExtractor")):
        return "" if has("preprocessor_config.json") else f"has no settings in '{name}'"
    if kind.endswith("Processor"):  # of pictures and text
        has("video_preprocessor_config.json")
        is_whole = reads_text() and any(map(has, _PROCESSORS))
        return "" if is_whole else f"has no vocabulary or no settings in '{name}'"
    if not has("config.json"):
        return f"has no config.json in '{name}'"
    stem = "diffusion_pytorch_model" if library == "diffusers" else "model"
    for variant in (".fp16", ""):
        if has(f"{stem}{variant}.safetensors"):
            return ""
        index = f"{name}/{stem}.safetensors.index{variant}.json"
        if has(index.removeprefix(f"{name}/")):
            shards = shard_names(get(index))
            return "" if all(has(shard) for shard in shards) else f"lacks some of the weights of '{name}'"
    return f"has no weights of '{name}' as .safetensors; other formats can run code and are not loaded"
