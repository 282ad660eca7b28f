"""The model, in the order of the data: backbone, neck, text_encoder, fusion, enhancer, query_selection, decoder."""

from groundingdino.model.decoder import Output
from groundingdino.model.grounding_dino import GroundingDINO
from groundingdino.model.neck import ImageFeatures
from groundingdino.model.text_encoder import TextFeatures

__all__ = ["GroundingDINO", "ImageFeatures", "Output", "TextFeatures"]
