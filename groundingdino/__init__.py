"""Grounding DINO (arXiv 2303.05499): point at things in a picture with words.

    import groundingdino as gd

    detector = gd.Detector.from_pretrained("embedded")
    features = detector.encode_image(image)                    # the part that does not depend on the prompt
    grounding = detector.ground(features, "cat . remote control")
    detections = grounding.detections(box_threshold=0.35)      # supervision.Detections; no model run

The way of the data, one file each:

    image -> model/backbone ----+
                                +-> model/enhancer -> model/query_selection -> model/decoder -> phrases -> sv.Detections
    prompt -> model/text_encoder+

`detector` keeps what was computed, `checkpoints` loads and saves, `kernels` holds deformable attention, `drawing` and
`export` show results, `studio` is the state of a running app; `training` is imported by nothing else.

Shapes use one legend: `B` batch, `Q` queries, `T` text tokens, `S` image tokens, `L` levels, `C` channels. Outside
`model` boxes are xyxy in pixels and pictures are RGB; inside, boxes are cxcywh in [0, 1].
"""

from groundingdino.checkpoints import load_checkpoint
from groundingdino.config import EMBEDDED, SWIN_B, SWIN_L, SWIN_T, GroundingDINOConfig
from groundingdino.detector import Detector, EncodedImage
from groundingdino.model import GroundingDINO
from groundingdino.phrases import Grounding

__all__ = [
    "EMBEDDED",
    "SWIN_B",
    "SWIN_L",
    "SWIN_T",
    "Detector",
    "EncodedImage",
    "Grounding",
    "GroundingDINO",
    "GroundingDINOConfig",
    "load_checkpoint",
]
