"""The table of the models that have a name."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any


def list_models(_: argparse.Namespace) -> None:
    """One line per model: its size, whether it is here, its thresholds, what it knows."""
    from groundingdino.detection.available_models import MODELS, is_cached
    from groundingdino.editing.available_models import INPAINTERS, has_inpainter
    from groundingdino.editing.few_steps import FEW_STEPS, has_few_steps
    from groundingdino.segmentation.available_models import SEGMENTERS, has_segmenter
    from groundingdino.tracking.available_trackers import TRACKERS, has_tracker

    width = max(map(len, [*MODELS, *SEGMENTERS, *INPAINTERS, *FEW_STEPS]))
    print(f"{'name':<{width}} {'size':>8}  {'here':<4} {'box':>4} {'text':>4}  what it knows")
    for card in MODELS.values():
        here = "yes" if is_cached(card.name) else "no"
        size = f"{card.size_bytes / 1e6:.0f} MB"
        thresholds = f"{card.box_threshold:4.2f} {card.text_threshold:4.2f}"
        print(f"{card.name:<{width}} {size:>8}  {here:<4} {thresholds}  {card.description}")
    others: tuple[tuple[str, Mapping[str, Any], Callable[[str], bool]], ...] = (
        ("segmenter", SEGMENTERS, has_segmenter),
        ("inpainter", INPAINTERS, has_inpainter),
        ("few steps", FEW_STEPS, has_few_steps),
        ("tracker", TRACKERS, has_tracker),
    )
    for task, cards, is_here in others:
        print(f"\n{task:<{width}} {'size':>8}  {'here':<4}")
        for name, other in cards.items():
            here = "yes" if is_here(name) else "no"
            print(f"{name:<{width}} {f'{other.size_bytes / 1e6:.0f} MB':>8}  {here:<4}  {other.description}")
    options = "`--model`, `--segmenter`, `--inpainter`, `--few-steps` or `--tracker`"
    print(f"\nA model that is not here is downloaded when {options} first asks for it.")
