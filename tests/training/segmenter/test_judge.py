"""The judge's own training: what it is shown, and that it learns to tell good masks from bad ones."""

import sys

import numpy as np
import pytest
import supervision as sv
import torch

from groundingdino.artwork.drawings import Artwork
from groundingdino.files.weight_files import read_weights
from groundingdino.segmentation.available_models import EMBEDDED_SEGMENTER
from groundingdino.segmentation.close_ups import Part
from groundingdino.segmentation.embedded_decoder import MaskJudge
from groundingdino.segmentation.embedded_encoder import DIM
from groundingdino.segmentation.mask_prompts import CANDIDATES
from groundingdino.segmentation.segmenter import Segmenter
from groundingdino.training.scenes.scenes import SceneMaker
from groundingdino.training.segmenter import judge as train_judge
from groundingdino.training.segmenter.judge import Looks, Watcher, error, fit, overlaps


@pytest.fixture(scope="module")
def scenes() -> SceneMaker:
    return SceneMaker(Artwork(("noto",)), train_judge.SEED, (96, 128))


def test_masks_are_compared_where_their_part_lies():
    """With all of the object, also what lies beside the part; cells beside the picture count nothing."""
    objects = np.zeros((2, 40, 60), bool)
    objects[0, 10:20, 20:40] = True
    objects[1, 30:, :] = True
    mask = torch.zeros(10, 10, dtype=torch.bool)  # cells of 2 x 2 pixels
    mask[:5, 5:] = True  # columns 20 to 30, rows 10 to 20
    assert overlaps(mask, objects, Part(10, 10, 30, 30, 32, 32)).tolist() == [0.5, 0]
    whole = torch.zeros(16, 16, dtype=torch.bool)  # of a square of 64, cells of 4 x 4
    whole[8:, :] = True  # down to row 64, of which the picture has 40
    assert overlaps(whole, objects, Part(0, 0, 64, 64, 64, 64))[1] == pytest.approx(2 * 15 / (2 * 15 + 7.5))


def test_it_is_shown_what_the_program_asks_for(scenes):
    """Proposals and what they gave, the true boxes, and each of the masks that a click can mean."""
    segmenter = Segmenter.from_pretrained("embedded", device="cpu")
    watcher = Watcher(segmenter)
    scene = scenes.scene(0)
    with torch.inference_mode():
        watcher.watch(scene, 7)
    for looks in watcher.found:
        assert looks.seen.shape == (len(looks.truth), 3 * DIM)
        assert looks.measured.shape == (len(looks.truth), 4)
        assert looks.picture.tolist() == [7] * len(looks.truth)
        assert ((looks.truth >= 0) & (looks.truth <= 1)).all()
    boxes = [looks for looks in watcher.found if len(looks.truth) == 1]
    clicks = [looks for looks in watcher.found if len(looks.truth) == CANDIDATES]
    assert len(boxes) + len(clicks) == len(watcher.found)
    assert len(clicks) == len(scene.boxes)
    assert len(boxes) > len(scene.boxes)
    encoded = segmenter.encode_image(scene.image)
    quality = segmenter.segment_boxes(encoded, sv.Detections(scene.boxes)).data["mask_quality"]
    told = np.array([looks.told.clamp(0, 1).item() for looks in boxes])
    assert np.abs(told[:, None] - quality).min(0).max() < 1e-4, "what each true box is told"
    judge = segmenter.model.mask_decoder.judge
    with torch.no_grad():
        judged = [(looks.told + judge(looks.seen, looks.measured)).item() for looks in boxes]
    assert np.corrcoef(judged, [looks.truth.item() for looks in boxes])[0, 1] > 0.5


def test_it_learns_what_was_true():
    generator = torch.Generator().manual_seed(0)
    seen, measured = torch.randn(600, 3 * DIM, generator=generator), torch.randn(600, 4, generator=generator)
    told = torch.full((600,), 0.5)
    looks = Looks(seen, measured, told, 0.5 + 0.2 * measured[:, 0].tanh(), torch.arange(600) // 10)
    judge = MaskJudge()
    before = error(judge, looks).item()
    fit(judge, looks, steps=100, rate=1e-2)
    assert error(judge, looks).item() < 0.3 * before


def test_the_command_writes_a_segmenter_of_which_the_judge_alone_has_learned(tmp_path, scenes, monkeypatch, capsys):
    output = tmp_path / "new" / "model.safetensors"
    monkeypatch.setattr(train_judge, "HELD_OUT", 2)
    monkeypatch.setattr(train_judge, "SceneMaker", lambda *_: scenes)
    monkeypatch.setattr(sys, "argv", ["train_judge", "--output", str(output), "--pictures", "2", "--threads", "1"])
    train_judge.main()
    lines = capsys.readouterr().out.splitlines()
    before, after = (float(line.removeprefix("mean squared error on held-out pictures: ")) for line in lines)
    assert 0 <= before < 1
    assert 0 <= after < 1
    assert after != before
    old, new = (read_weights(path)[0] for path in (EMBEDDED_SEGMENTER, output))
    changed = {name for name, weight in old.items() if not torch.equal(weight, new[name])}
    assert changed
    assert all(name.startswith("mask_decoder.judge.") for name in changed)
    Segmenter.from_pretrained(str(output))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--pictures", "3"], "10 or more"), (["nowhere.safetensors"], "nowhere.safetensors")],
)
def test_wrong_arguments_end_with_a_sentence(arguments, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_judge", "--output", "model.safetensors", *arguments])
    with pytest.raises(SystemExit):
        train_judge.main()
    assert said in capsys.readouterr().err.splitlines()[-1]
