"""Figures before and after a fine-tuning: of the names that were learned, and of what was known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundingdino.detection.detector import Detector
from groundingdino.evaluation.figures import rounded
from groundingdino.evaluation.sets import LabelledSet
from groundingdino.training.detector.evaluate import Figures, evaluate, evaluate_set
from groundingdino.training.scenes.scenes import evaluation_scenes

_COLUMNS = {"AP": "AP", "AP50": "AP50", "found": "found", "false_boxes": "false boxes"}


@dataclass(frozen=True, eq=False)
class Measurement:
    """What is measured.

    Args:
        title: of its row.
        of: a set, or how many drawn scenes.
    """

    title: str
    of: LabelledSet | int

    def take(self, detector: Detector) -> dict[str, Any]:
        """Figures as JSON, of boxes as `detect` shows them: see `evaluation.figures`."""
        if isinstance(self.of, int):
            scenes = evaluation_scenes("noto", self.of)
            found = evaluate(detector, scenes, lambda scene, phrase: scene.category(phrase))
            return _entry(found, self.of)
        return _entry(evaluate_set(detector, self.of, description=self.title), len(self.of.pictures))


def _entry(found: Figures, pictures: int) -> dict[str, Any]:
    of_each = {name: rounded(figures) for name, figures in found.of_each.items()}
    return {"pictures": pictures, **rounded(found.overall), "of_each": of_each}


def as_text(report: Mapping[str, Any]) -> str:
    """A table of `{"measured": {title: {"before": ..., "after": ...}}}`, in per cent."""
    lines = [["", "pictures", *(f"{column} {when}" for column in _COLUMNS.values() for when in ("before", "after"))]]
    for title, both in report["measured"].items():
        cells = [_cell(name, both[when].get(name)) for name in _COLUMNS for when in ("before", "after") if when in both]
        lines.append([title, str(both["before"]["pictures"]), *cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        )
        for first, *others in lines
    )


def model_card(
    report: Mapping[str, Any], title: str, names: Sequence[str], folder: Path, for_transformers: bool
) -> str:
    """README.md of the result, as hubs show it."""
    header = ["---", "pipeline_tag: zero-shot-object-detection", "tags:", "- grounding-dino"]
    if for_transformers:
        header.append("library_name: transformers")
    prompt = " . ".join(names[:3])
    many = f" and {len(names) - 20} more" if len(names) > 20 else ""
    rows = as_text(report)
    use = f'import groundingdino as gd\n\ndetector = gd.Detector.from_pretrained("{folder.name}")\n'
    use += f'print(detector("picture.jpg", "{prompt}"))'
    if for_transformers:
        use += (
            "\n\nfrom transformers import pipeline\n\n"
            f'find = pipeline("zero-shot-object-detection", "{folder.name}")\n'
            f'print(find("picture.jpg", candidate_labels={[f"{name}." for name in names[:3]]!r}))'
        )
    learned = f"{report['steps']} steps of {report['batch_size']} pictures at a rate of {report['rate']:g}"
    return "\n".join(
        [
            *header,
            "---",
            "",
            f"# {title}",
            "",
            f"Grounding DINO, fine-tuned from `{report['from']}` on {report['pictures']} pictures for "
            f"{', '.join(names[:20])}{many}. It still finds other things by their names.",
            "",
            f"```python\n{use}\n```",
            "",
            f"Learned in {learned}, seed {report['seed']}; {_moved(report)}. In per cent, on pictures that were not "
            "learned from:",
            "",
            f"```\n{rows}\n```",
            "",
            "The licence of the weights it began from holds for these, and that of the pictures.",
            "",
        ]
    )


def _moved(report: Mapping[str, Any]) -> str:
    if report["train"] == ["names"]:
        return "only the embeddings of the names' words moved: what is asked without them is found as before"
    moved = ", ".join(report["train"]) or "neither backbone nor text encoder"
    return f"kept in mind by: {report['replay'] or 'nothing'}; also moved: {moved}"


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if name == "false_boxes" else f"{100 * value:.1f}"
