"""The table of the models that have a name."""

import argparse


def list_models(_: argparse.Namespace) -> None:
    """One line per model: its size, whether it is here, its thresholds, what it knows."""
    from groundingdino.detection.available_models import MODELS, is_cached
    from groundingdino.editing.available_models import INPAINTERS, has_inpainter
    from groundingdino.segmentation.available_models import SEGMENTERS, has_segmenter

    print(f"{'name':<10} {'size':>7}  {'here':<4} {'box':>4} {'text':>4}  what it knows")
    for card in MODELS.values():
        here = "yes" if is_cached(card.name) else "no"
        size = f"{card.size_bytes / 1e6:.0f} MB"
        thresholds = f"{card.box_threshold:4.2f} {card.text_threshold:4.2f}"
        print(f"{card.name:<10} {size:>7}  {here:<4} {thresholds}  {card.description}")
    others = (("segmenter", SEGMENTERS, has_segmenter), ("inpainter", INPAINTERS, has_inpainter))
    for task, cards, is_here in others:
        print(f"\n{task:<10} {'size':>7}  {'here':<4}")
        for name, other in cards.items():
            here = "yes" if is_here(name) else "no"
            print(f"{name:<10} {f'{other.size_bytes / 1e6:.0f} MB':>7}  {here:<4} {'':9}  {other.description}")
    print("\nA model that is not here is downloaded when `--model`, `--segmenter` or `--inpainter` first asks for it.")
