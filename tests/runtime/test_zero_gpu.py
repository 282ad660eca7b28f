"""Where a GPU is lent, `spaces` is imported before what it changes; elsewhere it is not imported at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from groundingdino.runtime.zero_gpu import SIGN
from tests.conftest import ROOT

# Stands in for the package, and for Gradio, which is imported next: each ends the program and says which it is.
SPACES = """
import sys
late = [name for name in ("torch", "gradio", "transformers") if name in sys.modules]
sys.exit(f"spaces before all but {late}")
"""
GRADIO = "import sys; sys.exit(f\"gradio, and spaces {'spaces' in sys.modules}\")"


@pytest.mark.parametrize(("variable", "said"), [("true", "spaces before all but []"), ("", "gradio, and spaces False")])
def test_the_page_imports_it_first_or_not_at_all(tmp_path: Path, variable: str, said: str):
    (tmp_path / "spaces.py").write_text(SPACES)
    (tmp_path / "gradio.py").write_text(GRADIO)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", SIGN: variable}
    run = subprocess.run(
        [sys.executable, "-c", "import app"], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.stderr.strip().splitlines()[-1:] == [said]
