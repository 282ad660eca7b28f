"""How the embedded models learnt, and what they are worth. Inference never imports any of it.

scenes       pictures that are drawn; only they know what is drawn, everything after them sees pictures, phrases, boxes
detector     drawn scenes and photographs -> batches, matcher, losses, trainer, evaluation
segmenter    scenes -> clicks and boxes -> masks
inpainter    edits of scenes judged by the detector
loop.py      a run that can be stopped and resumed
processes.py several of which learn together
"""

from groundingdino.runtime.extras import missing

if _sentence := missing("Training", "train"):
    raise ModuleNotFoundError(_sentence)
