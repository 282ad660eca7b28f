"""What the cards of all models have in common."""

from groundingdino.files.assets import ASSETS

MODEL_ASSETS = ASSETS / "models"
DRAWINGS, PHOTOGRAPHS = "drawings", "photographs"  # what a model knows, and is to be chosen for
