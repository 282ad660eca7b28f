"""Where the data lie that come along: models, drawings, examples, fonts, the page's scripts."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]

# A wheel has them within the package, the repository beside it.
ASSETS = _PACKAGE / "assets" if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent / "assets"
MODEL_ASSETS = ASSETS / "models"

DRAWINGS, PHOTOGRAPHS = "drawings", "photographs"  # what a model knows, and is to be chosen for
