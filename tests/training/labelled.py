"""A tiny model and labelled pictures that have nothing to do with emoji."""

import dataclasses
import json

import numpy as np
from PIL import Image

from groundingdino.model.config import EMBEDDED, ResNetConfig, TextConfig
from groundingdino.training.detector.targets import Example

TINY = dataclasses.replace(
    EMBEDDED,
    backbone=ResNetConfig(channels=(8, 16, 16, 16), depths=(1, 1, 1, 1), stem_width=8, pyramid_dim=16),
    text=TextConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=30522,
        max_position_embeddings=64,
    ),
    hidden_dim=32,
    ffn_dim=32,
    enhancer_layers=1,
    decoder_layers=2,
    num_queries=12,
)


@dataclasses.dataclass(frozen=True)
class Picture:
    """What `training.targets.Example` asks for."""

    image: np.ndarray
    boxes: np.ndarray
    prompt: tuple[str, ...]
    positives: tuple[int | None, ...]

    def may_be(self, box: int, other: Example, phrase: int) -> bool:
        """These phrases have no synonyms."""
        own = self.positives[box]
        return own is not None and self.prompt[own] == other.prompt[phrase]


def pictures() -> list[Picture]:
    """Four pictures of one size with prompts of their own; the second has nothing to find, the third an unnamed box."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 64, 96, 3), dtype=np.uint8)
    box, other = (8.0, 8.0, 40.0, 40.0), (50.0, 20.0, 90.0, 60.0)
    labels = [
        ([box, other], ("cat", "dog"), (0, 1)),
        ([], ("remote control",), ()),
        ([other, box], ("red car", "tree", "bus"), (2, None)),
        ([box], ("traffic light", "cat"), (0,)),
    ]
    return [
        Picture(image, np.array(boxes, np.float32).reshape(-1, 4), prompt, positives)
        for image, (boxes, prompt, positives) in zip(images, labels, strict=True)
    ]


def write_folder(folder, annotations, count=1, names=("cat", "dog"), size=(20, 10)):
    """`count` white pictures, and annotations of the first unless they say otherwise."""
    (folder / "images").mkdir(parents=True)
    images = [{"id": 10 + i, "file_name": f"{i:03}.png", "width": size[0], "height": size[1]} for i in range(count)]
    for image in images:
        Image.new("RGB", size, "white").save(folder / "images" / image["file_name"])
    stored = {
        "images": images,
        "annotations": [{"id": i, "image_id": 10, **annotation} for i, annotation in enumerate(annotations)],
        "categories": [{"id": 5 + i, "name": name} for i, name in enumerate(names)],
    }
    (folder / "annotations.json").write_text(json.dumps(stored))
    return folder
