"""Which photographs a training mixes, how often each set is shown, and what is known of it: `photographs.json`.

A settings file holds

    synonyms: {name: [other words for the same]}
    words: further words of prompts, so that they are no letters to the model
    sets: {folder: {weight, absent_groups, absent, present}}

where a set is complete for the names in its annotations, `absent` are names of which nothing is in its pictures,
`absent_groups` those of whole groups of `names.tsv`, and `present` are exceptions to these groups.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groundingdino.artwork.names import load_names
from groundingdino.training.detector.coco_folder import CocoFolder
from groundingdino.training.detector.photographs import PhotographSource, Words, cutouts_of
from groundingdino.training.detector.targets import Source, mix

SETTINGS = Path(__file__).with_name("photographs.json")


def read_settings(path: Path = SETTINGS) -> dict[str, Any]:
    """The settings of a file.

    Raises:
        ValueError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"'{path}' does not hold settings of photographs as JSON ({error}).") from error


def photographs(folder: Path, settings: Mapping[str, Any], seed: int = 0) -> Source:
    """Training pictures of all sets of the settings, which are folders in COCO's layout under one folder.

    Raises:
        ValueError: a set is not there or not in COCO's layout.
    """
    words = Words(settings["synonyms"])
    folders = {name: CocoFolder(folder / name) for name in settings["sets"]}
    pictures = {name: of.split(seed)[0] for name, of in folders.items()}
    cutouts = [cutout for of in pictures.values() for cutout in cutouts_of(of)]
    sources = []
    for number, (name, of) in enumerate(folders.items()):
        known = settings["sets"][name]
        absent = absent_names(known, of.names)
        source = PhotographSource(pictures[name], of.names, absent, words, seed + number, cutouts)
        sources.append((float(known["weight"]), source))
    return mix(sources, seed)


def absent_names(known: Mapping[str, Any], complete: tuple[str, ...]) -> list[str]:
    """The names of which nothing is in a set's pictures."""
    groups, present = set(known["absent_groups"]), {*known.get("present", ()), *complete}
    grouped = [name.name for name in load_names() if name.group in groups and not name.words & present]
    return [*grouped, *(name for name in known["absent"] if name not in present)]


def texts(settings: Mapping[str, Any]) -> list[str]:
    """Everything that the settings let prompts say, for the word list."""
    synonyms = settings["synonyms"]
    named = [name for known in settings["sets"].values() for name in known["absent"]]
    return [*synonyms, *(word for words in synonyms.values() for word in words), *named, *settings["words"]]
