"""A line below the result, with a button, that names the model which suits a picture better."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from groundingdino.files.assets import DRAWINGS, PHOTOGRAPHS
from groundingdino.page.model_cache import Card, ModelCache, readable_size

_NAMED = 5  # names that are listed

DETECTOR, SEGMENTER, INPAINTER, FEW_STEPS, TRACKER = "detector", "segmenter", "inpainter", "few steps", "tracker"


class Advice(TypedDict):
    """What `assets/page/result.js` shows; without a label there is no button."""

    text: str
    label: str
    kind: str  # of model: one of these
    model: str  # its name


def for_photographs(
    models: ModelCache[Any, Any],
    card: Card,
    kind: str,
    can: Callable[[Any], bool] = lambda _: True,
    missed: Sequence[str] = (),
) -> Advice | None:
    """Which model to choose for a photograph instead of this one; None if this one knows them, or there is none.

    Nobody can tell a photograph from a drawing here: it is said where a model found nothing that knows drawings alone,
    or few names.

    Args:
        models: All of a kind.
        card: The one that was used.
        kind: Of model.
        can: Whether the model of a card can do what was asked.
        missed: Phrases of which a detector found nothing.
    """
    few = _names(card)
    if PHOTOGRAPHS in card.knows and not few:
        return None

    def suits(other: Any) -> bool:
        if PHOTOGRAPHS not in other.knows or not can(other):
            return False
        return not _names(other) or (not few and any(map(other.knows_name, missed)))

    suited = [(name, other) for name, other in models.cards.items() if suits(other)]
    if not suited:
        return None
    ready = [entry for entry in suited if models.is_ready(entry[0])]
    name, better = (ready or suited)[0]
    knows = f"This {kind} knows {_listed(few) if few else ' and '.join(card.knows) or DRAWINGS}"
    text = f"{knows}, and misses some." if few else f"{knows}. Is this a photograph?"
    if ready:
        return Advice(text=text, label=f"Use {better.title}", kind=kind, model=name)
    size = readable_size(better.size_bytes)
    if models.is_offline:
        who = "Others need" if few else "Photographs need"
        text = f"{knows}. {who} {better.title} ({size}), but downloads are off."
        return Advice(text=text, label="", kind=kind, model=name)
    return Advice(text=text, label=f"Get {better.title} · {size}", kind=kind, model=name)


def _names(card: Any) -> tuple[str, ...]:
    """What a detector knows, if that is little."""
    return getattr(card, "names", ())


def _listed(names: Sequence[str]) -> str:
    named = ", ".join(names[:_NAMED])
    return f"{named} and {len(names) - _NAMED} more names" if len(names) > _NAMED else named


def to_fetch(models: ModelCache[Any, Any], name: str, kind: str, again: bool) -> Advice | None:
    """A button that downloads a model, or tries to once more."""
    if models.is_offline:
        return None
    label = f"{'Try again' if again else 'Download'} · {readable_size(models.card(name).size_bytes)}"
    return Advice(text="", label=label, kind=kind, model=name)
