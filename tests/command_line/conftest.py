"""What the tests of several commands share."""

import pytest

from tests.tiny_detectors import save
from tests.tiny_models import save_detector, save_segmenter


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """A model that was never trained: it finds up to five things in any picture, with some score."""
    return save_detector(tmp_path_factory.mktemp("model") / "tiny.safetensors")


@pytest.fixture(scope="module")
def owlv2(tmp_path_factory) -> str:
    """A folder with a model of another architecture that was never trained."""
    return str(save("owlv2", tmp_path_factory.mktemp("owlv2")))


@pytest.fixture(scope="module")
def sam3(tmp_path_factory) -> str:
    """The same of one that makes masks, too."""
    return str(save("sam3", tmp_path_factory.mktemp("sam3")))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory) -> str:
    """A segmenter that was never trained: it cuts noise out of any picture."""
    return save_segmenter(tmp_path_factory.mktemp("segmenter") / "tiny-sam.safetensors")


@pytest.fixture
def dying() -> str:
    """A program that runs a command and dies in the middle of its journal's third line, as nobody can catch."""
    return """
import os, signal, sys
from groundingdino.command_line.main import main
from groundingdino.results.journal import Journal
append, lines = Journal._append, []
def die(self, text):
    lines.append(text)
    if len(lines) == 3:
        append(self, text[:20])
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, text)
Journal._append = die
main(sys.argv[1:])
"""


def complaint(capsys) -> str:
    """The one line that bad input is answered with."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("groundingdino")
    return line
