from .decoder import Output
from .grounding_dino import GroundingDINO
from .neck import ImageFeatures
from .text_encoder import TextFeatures

__all__ = ["GroundingDINO", "ImageFeatures", "Output", "TextFeatures"]
