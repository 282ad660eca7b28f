"""README's Python is true to the types that we tell."""

import re
from pathlib import Path

from tests.conftest import ROOT


def test_python_of_the_readme_has_the_right_types(tmp_path: Path, monkeypatch):
    from mypy import api

    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) >= 4
    good = [
        "gd.MaskPrompt([1, 2, 3, 4], [[5, 6, 1], (7, 8, 0)], [([(1, 2), [3, 4]], 1)])",
        "gd.MaskPrompt(detections.xyxy[0], picture_points := detections.xyxy[:, :3], [(picture_points, 1)])",
    ]
    script = tmp_path / "readme.py"
    script.write_text("\n".join([*blocks, *good, "gd.MaskPrompt(points=5)"]), encoding="utf-8")
    monkeypatch.chdir(ROOT)  # where mypy finds the package
    # With the settings of CI, which has filled the cache before the tests; without it this takes a minute.
    told, errors, _ = api.run(["--config-file", "pyproject.toml", "--no-error-summary", str(script)])
    assert errors == ""
    (complaint,) = told.splitlines()
    assert 'error: Argument "points" to "MaskPrompt" has incompatible type "int"' in complaint
