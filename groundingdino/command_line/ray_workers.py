"""Labelling by the processes of a Ray cluster, on this machine or several that share a disk."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from groundingdino.results.journal import Journal, PictureFile
from groundingdino.results.labelling import Labeller, note


def label_on_ray(
    batches: Sequence[Sequence[PictureFile]],
    make_labeller: Callable[[], Labeller],
    workers: int,
    gpus: float,
    journal: Journal,
    progress: Callable[[int], object],
) -> None:
    """The same by processes of a Ray cluster, each with a labeller of its own; this one alone writes.

    Args:
        gpus: that each of the workers needs.

    Raises:
        ValueError: one sentence: a worker could not go on.
    """
    import ray.data
    import ray.exceptions

    # As JSON, since columns of Arrow want one type, and paths as others find them on a shared disk.
    rows = [
        {"number": number, "pictures": json.dumps([str(picture.path.absolute()) for picture in batch])}
        for number, batch in enumerate(batches)
    ]
    found = ray.data.from_items(rows).map(
        _RayWorker, fn_constructor_args=(make_labeller,), concurrency=workers, num_gpus=gpus or None
    )
    try:
        for row in found.iter_rows():
            note(batches[row["number"]], json.loads(row["found"]), journal, progress)
    except ray.exceptions.RayError as error:
        # The last line of a worker's traceback is its error.
        raise ValueError(f"A worker of Ray stopped: {str(error).strip().splitlines()[-1]}") from error


class _RayWorker:
    def __init__(self, make_labeller: Callable[[], Labeller]):
        self._labeller = make_labeller()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        images = [self._labeller.read(Path(path)) for path in json.loads(row["pictures"])]
        return {"number": row["number"], "found": json.dumps(self._labeller.find_readable(images))}
