"""`finetune DATA --from M --output FOLDER`: a model learns the names of a data set and keeps what it knew."""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from groundingdino.command_line.options import refuse_unread
from groundingdino.command_line.output import reporting_errors_of, say
from groundingdino.command_line.search import check_models, identity, load_model
from groundingdino.runtime.extras import missing

if TYPE_CHECKING:
    from groundingdino.detection.checkpoints import LoadedModel
    from groundingdino.detection.detector import Detector
    from groundingdino.training.detector.targets import Source
    from groundingdino.training.finetuning.knowledge import Knowledge
    from groundingdino.training.finetuning.outcome import Measurement
    from groundingdino.training.finetuning.pictures import OwnPictures
    from groundingdino.training.finetuning.tuning import Tuning

DRAWN = "scenes"  # in place of a set's path
WORK = "training"  # the folder in the output that holds what a run needs to go on
ONLY_NAMES = ("names",)  # as --train and `tuning.NAMES` have it
_SHARE = 0.5  # of the pictures: replay
_BATCH = {"cuda": 8}  # else 4
_MOST_WORKERS = 8
_MOST_ASKED = 200  # pictures in which what was known is looked for again
_SCENES = 100


def finetune(options: argparse.Namespace) -> None:
    """Learn, or go on learning, and write the model with a report of what it was worth before and after."""
    sentence = missing("--lora", "train", "peft") if options.lora else missing("Fine-tuning", "train")
    if sentence:
        raise ValueError(sentence)
    from groundingdino.training import processes

    try:
        _finetune(options, processes.is_first())
    except ValueError:
        if processes.is_first():
            raise
        raise SystemExit(2) from None  # the first process says why


def _finetune(options: argparse.Namespace, first: bool) -> None:
    """The part of one process, of which there may be several: the first writes."""
    _check(options)
    check_models(options, "model")

    from groundingdino.training import processes
    from groundingdino.training.finetuning.pictures import check_names, find_own_pictures

    if (device := processes.device()) is not None:
        options.device = options.device or str(device)
    told = say if first else lambda _: None
    own = find_own_pictures(options.data, options.pictures, options.seed, options.count, told)
    work = options.output / WORK
    with reporting_errors_of(work):
        work.mkdir(parents=True, exist_ok=True)

        from groundingdino.detection.checkpoints import load_pretrained
        from groundingdino.detection.detector import Detector
        from groundingdino.training.finetuning.tuning import as_transformers_computes, tune

        loaded = as_transformers_computes(load_model(load_pretrained, options.model, options))
        check_names(own.names, loaded.tokenizer, loaded.model.config.max_tokens)
        replay = _replay(options, loaded)
        tuning = _tuning(options, own, loaded, replay)
        if tuning.batch_size < (many := processes.count()):
            raise ValueError(
                f"{many} processes cannot share a batch of {tuning.batch_size}: give a larger --batch-size."
            )
        asked = _asked(options, own, tuning, replay)
        detector = Detector(loaded)
        with processes.first_alone():
            _check_same(work, asked, options.restart and first)
            knowledge = _ask(options, own, detector, work) if replay else None
            source, others = _source(options, own, loaded, replay, knowledge)
            measurements = _measurements(options, own, knowledge, replay, others) if first else []
            before = _before(work, measurements, detector)
        workers = _workers(options, loaded)
        tuned = tune(loaded, source, tuning, work, workers, own.names)
        if not first:
            return
        report = {
            **{name: value for name, value in asked.items() if name not in ("model", "names", "boxes")},
            "from": options.model,
            "pictures": len(own.learn.pictures),
            "names": list(own.names),
            "measured": {
                one.title: {"before": before[one.title], "after": one.take(Detector(tuned))} for one in measurements
            },
        }
        _write(options, tuned, report, own.names)
    with reporting_errors_of("standard output"):
        from groundingdino.training.finetuning.outcome import as_text

        print(json.dumps(report, indent=2, ensure_ascii=False) if options.json == "-" else as_text(report))


def _check(options: argparse.Namespace) -> None:
    output: Path = options.output
    if os.path.isfile(output) or not os.path.isdir(output.parent):
        raise ValueError(f"'{output}' cannot become a folder: expected a name for one, in a folder that exists.")
    if output.is_dir() and not (output / WORK).is_dir() and any(output.iterdir()):
        raise ValueError(
            f"'{output}' holds something else: give another --output, a folder that is empty or not there."
        )
    if options.no_replay:
        refuse_unread(options, "Learning without replay", ("replay",))
    if options.train == ONLY_NAMES:
        refuse_unread(options, "Learning names alone, which forgets nothing,", ("replay", "no_replay"))
    if options.lora and options.train:
        raise ValueError("--lora teaches backbone and text encoder by adapters: leave --train out.")
    for data in (options.data, *options.old):
        if str(data) != DRAWN and not os.path.exists(data):
            raise ValueError(f"There is no '{data}': expected a data set in COCO's, YOLO's or ODVG's layout.")


def _replay(options: argparse.Namespace, loaded: "LoadedModel") -> str | None:
    """`own`, `scenes` or the path of a set; of a model that knows drawings alone it is drawings."""
    if options.no_replay or options.train == ONLY_NAMES:
        return None
    if options.replay is not None:
        return str(options.replay)

    from groundingdino.files.assets import DRAWINGS

    return DRAWN if loaded.card.knows == (DRAWINGS,) else "own"


def _tuning(options: argparse.Namespace, own: "OwnPictures", loaded: "LoadedModel", replay: str | None) -> "Tuning":
    from groundingdino.training.finetuning.tuning import Tuning, default_rate

    device = next(loaded.model.parameters()).device.type
    batch = options.batch_size or _BATCH.get(device, 4)
    pictures = len(own.learn.pictures)
    share = 1 - _SHARE if replay else 1  # of the pictures: the set's own
    steps = options.steps or max(1, round((options.epochs or 12) * pictures / (batch * share)))
    return Tuning(
        steps=steps,
        batch_size=batch,
        rate=options.rate or default_rate(loaded.model, tuple(options.train)),
        opened=tuple(options.train),
        lora=options.lora or 0,
        short_side=options.short_side or loaded.model.config.short_side,
        save_memory=options.save_memory,
        seed=options.seed,
    )


def _asked(options: argparse.Namespace, own: "OwnPictures", tuning: "Tuning", replay: str | None) -> dict[str, Any]:
    """What decides what is learned."""
    return {
        "model": identity(options.model),
        "data": str(options.data),
        "pictures": len(own.learn.pictures),
        "names": list(own.names),
        "boxes": f"{len(own.learn.objects)} ({crc32(json.dumps(own.learn.objects).encode()):08x})",
        "replay": replay,
        "steps": tuning.steps,
        "batch_size": tuning.batch_size,
        "rate": tuning.rate,
        "train": list(tuning.opened),
        "lora": tuning.lora,
        "short_side": tuning.short_side,
        "seed": tuning.seed,
    }


def _check_same(work: Path, asked: Mapping[str, Any], restart: bool) -> None:
    """That the run in the folder is this one; begins one where there is none."""
    from groundingdino.results.journal import replace_file

    path = work / "asked.json"
    if restart:
        for name in ("asked.json", "checkpoint.pt", "before.json", "knowledge.jsonl", "log.jsonl"):
            (work / name).unlink(missing_ok=True)
    if path.is_file():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"'{path}' is damaged: give --restart, which begins anew.") from error
        now = json.loads(json.dumps(asked))
        differ = [name for name in now if there.get(name) != now[name]]
        if differ:
            told = ", ".join(f"{name.replace('_', ' ')} {json.dumps(there.get(name))}" for name in differ)
            raise ValueError(
                f"'{work.parent}' holds a run with {told}: give another --output, or --restart, which begins anew."
            )
        return
    replace_file(path, json.dumps(asked, indent=2).encode())


def _ask(options: argparse.Namespace, own: "OwnPictures", detector: "Detector", work: Path) -> "Knowledge":
    """What the model finds of common names in the pictures, before it learns."""
    from dataclasses import replace

    from tqdm import tqdm

    from groundingdino.training.finetuning.knowledge import MEASURED, REPLAYED, ask

    held_out = own.held_out.pictures[:_MOST_ASKED] if own.held_out else ()
    both = replace(own.learn, pictures=(*own.learn.pictures, *held_out))
    names = _others((*REPLAYED, *MEASURED), own)
    asked = {"model": identity(options.model), "names": names}
    with tqdm(total=len(both.pictures), unit="picture", desc="what it knows", disable=None) as bar:
        return ask(detector, both, names, work / "knowledge.jsonl", asked, bar.update)


def _others(names: tuple[str, ...], own: "OwnPictures") -> list[str]:
    learned = {name.lower() for name in own.names}
    return [name for name in names if name not in learned]


def _source(
    options: argparse.Namespace,
    own: "OwnPictures",
    loaded: "LoadedModel",
    replay: str | None,
    knowledge: "Knowledge | None",
) -> "tuple[Source, OwnPictures | None]":
    """Training pictures: of the set, and of what is replayed; and the set that is, if it is one."""
    from groundingdino.training.detector.photographs import PhotographSource, Words
    from groundingdino.training.detector.targets import mix
    from groundingdino.training.finetuning.knowledge import REPLAYED
    from groundingdino.training.finetuning.pictures import find_own_pictures, fitted, labelled

    words = Words(known=())  # a name means what the set's owner means by it
    tokenizer, most, seed = loaded.tokenizer, loaded.model.config.max_tokens, options.seed
    pictures = [picture for picture in labelled(own.learn) if picture.names]
    complete = own.names if own.complete else ()
    if knowledge is None:
        return fitted(PhotographSource(pictures, complete, (), words, seed), tokenizer, most), None
    known = _others(REPLAYED, own)
    doubtful = {picture.path: knowledge.doubtful(picture.path) for picture in pictures}
    learn = fitted(PhotographSource(pictures, complete, known, words, seed, doubtful=doubtful), tokenizer, most)
    other: OwnPictures | None = None
    if replay == DRAWN:
        again = _scenes(seed)
    elif replay == "own":
        added = [knowledge.added_to(picture, known) for picture in pictures]
        again = PhotographSource(added, (*complete, *known), (), words, seed + 1, doubtful=doubtful)
        again = fitted(again, tokenizer, most)
    else:
        other = find_own_pictures(Path(str(replay)), None, seed, None, say)
        complete = other.names if other.complete else ()
        shown = [picture for picture in labelled(other.learn) if picture.names]
        again = fitted(PhotographSource(shown, complete, (), words, seed + 1), tokenizer, most)
    return mix([(1 - _SHARE, learn), (_SHARE, again)], seed), other


def _scenes(seed: int) -> "Source":
    from groundingdino.artwork.drawings import Artwork
    from groundingdino.training.scenes.scenes import SceneMaker

    return SceneMaker(Artwork(resolution=320), seed).scene


def _measurements(
    options: argparse.Namespace,
    own: "OwnPictures",
    knowledge: "Knowledge | None",
    replay: str | None,
    other: "OwnPictures | None",
) -> "list[Measurement]":
    """What is measured before and after."""
    from groundingdino.evaluation.sets import find_sets
    from groundingdino.training.finetuning.knowledge import MEASURED
    from groundingdino.training.finetuning.outcome import Measurement

    found = []
    if own.held_out is not None:
        found.append(Measurement(f"new names: {own.held_out.name}", own.held_out))
    else:
        say("there are too few pictures to hold some out: what was learned is not measured")
    if replay == DRAWN or Path(DRAWN) in options.old:
        found.append(Measurement("old names: drawn scenes", _SCENES))
    if other is not None and other.held_out is not None:
        found.append(Measurement(f"old names: {other.held_out.name}", other.held_out))
    elif replay == "own" and knowledge is not None and own.held_out is not None:
        asked = own.held_out.first(_MOST_ASKED)
        if (there := knowledge.as_set(asked, _others(MEASURED, own))) is not None:
            found.append(Measurement("old names: what it found before", there))
    for data in options.old:
        if str(data) != DRAWN:
            found += [Measurement(f"old names: {one.name}", one) for one in find_sets(data)]
    if len(found) - (own.held_out is not None) == 0:
        say("nothing measures what becomes of old names: give --old DATA, a set with some")
    return found


def _before(work: Path, measurements: "list[Measurement]", detector: "Detector") -> dict[str, Any]:
    """Figures of the model that is begun from, noted as they are taken."""
    from groundingdino.results.journal import replace_file

    path = work / "before.json"
    taken: dict[str, Any] = {}
    if path.is_file():
        try:
            taken = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"'{path}' is damaged: remove it.") from error
    for one in measurements:
        if one.title not in taken:
            taken[one.title] = one.take(detector)
            replace_file(path, json.dumps(taken, indent=2).encode())
    return taken


def _workers(options: argparse.Namespace, loaded: "LoadedModel") -> int:
    """Processes that make pictures: for a GPU, which waits for them."""
    if options.workers is not None:
        return options.workers
    on_cpu = next(loaded.model.parameters()).device.type == "cpu"
    return 0 if on_cpu else min(_MOST_WORKERS, os.cpu_count() or 1)


def _write(
    options: argparse.Namespace, tuned: "LoadedModel", report: Mapping[str, Any], names: tuple[str, ...]
) -> None:
    from dataclasses import replace

    from groundingdino.detection.config_json import to_transformers
    from groundingdino.detection.folders import save_folder
    from groundingdino.results.journal import replace_file
    from groundingdino.training.finetuning.outcome import model_card

    output = Path(os.path.abspath(options.output))
    title = f"{tuned.card.title}, fine-tuned on {Path(options.data).resolve().stem}"
    described = replace(tuned.card, title=title, description=f"Your own weights, for {', '.join(names[:5])}.")
    save_folder(tuned._replace(card=described), output)
    in_transformers = to_transformers(tuned.model.config) is not None
    replace_file(output / "README.md", model_card(report, title, names, output, in_transformers).encode())
    replace_file(output / "report.json", (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode())
