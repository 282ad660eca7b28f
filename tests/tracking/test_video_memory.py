"""What is remembered of a video: the masks are transformers' own, and what is kept does not grow."""

import numpy as np
import pytest
import torch
import transformers

from groundingdino.tracking.video_memory import Seen, VideoMemory, mask_of
from groundingdino.tracking.video_models import VideoModel, load_video_model
from tests.tiny_segmenters import VIDEO_KINDS, build_video, save_video

SIZE = (96, 72)
FRAMES, LATER = 60, 23  # when another object comes


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Loaded models by kind, from folders in the published layout."""
    return {kind: load_video_model(save_video(kind, tmp_path_factory.mktemp(kind)), "cpu") for kind in VIDEO_KINDS}


def frames(count: int):
    """A picture of noise that moves, (72, 96, 3)."""
    noise = np.random.default_rng(3).integers(0, 256, (12, 40, 3), np.uint8)
    large = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    for number in range(count):
        x, y = 2 * number % 220, number % 24
        yield np.ascontiguousarray(large[y : y + SIZE[1], x : x + SIZE[0]])


def square(x: int, y: int) -> np.ndarray:
    mask = np.zeros(SIZE[::-1], bool)
    mask[y : y + 24, x : x + 30] = True
    return mask


BEGUN = {0: {1: square(5, 8), 2: square(60, 40)}, LATER: {3: square(30, 20)}}


def _with_an_axis(output):
    output.object_score_logits = output.object_score_logits[..., None]
    return output


def by_transformers(kind: str) -> list[dict[int, tuple[np.ndarray, float]]]:
    """Logits (h, w) and score of each object in each frame: transformers' model, processor and whole session."""
    model, processor = build_video(kind)
    if kind == "edgetam_video":  # cannot begin an object beside others, see `video_models`
        plain = model._use_mask_as_output
        model._use_mask_as_output = lambda *inputs: _with_an_axis(plain(*inputs))
    session_class = getattr(transformers, f"{type(model).__name__.removesuffix('Model')}InferenceSession")
    session, results = session_class(dtype=torch.float32), []
    for index, pixels in enumerate(frames(FRAMES)):
        inputs = processor(images=pixels, device="cpu", return_tensors="pt")
        if index in BEGUN:
            session.video_height, session.video_width = SIZE[::-1]
            masks = list(BEGUN[index].values())
            processor.add_inputs_to_inference_session(session, index, list(BEGUN[index]), input_masks=masks)
        found = model(inference_session=session, frame_idx=index, frame=inputs.pixel_values[0])
        scores = found.object_score_logits.flatten().tolist()
        results.append(
            {
                id: (mask[0].numpy(), score)
                for id, mask, score in zip(found.object_ids, found.pred_masks, scores, strict=True)
            }
        )
    assert len(session.processed_frames) == FRAMES, "nothing of it is dropped"
    return results


@pytest.mark.parametrize("kind", VIDEO_KINDS)
def test_masks_are_those_of_a_session_that_forgets_nothing_and_memory_does_not_grow(kind, saved):
    memory, expected = VideoMemory(saved[kind]), by_transformers(kind)
    shown, compared, kept = np.zeros(2, int), 0, []
    for index, pixels in enumerate(frames(FRAMES)):
        seen = memory.follow(pixels)
        memory.begin(BEGUN.get(index, {}))
        assert list(seen) == [id for id in expected[index] if id not in BEGUN.get(index, {})]
        for id, (logits, present) in seen.items():
            np.testing.assert_allclose(logits, expected[index][id][0], atol=1e-4)
            assert present == pytest.approx(expected[index][id][1], abs=1e-4)
            shown += [present > 0, (logits > 0).any() and (logits < 0).any()]
            compared += 1
        kept.append(memory.size_bytes)
    assert compared == 59 * 2 + FRAMES - LATER - 1
    assert (shown > compared / 4).all(), "masks that are neither empty nor full were compared"
    assert kept[10] > kept[1]
    assert len(set(kept[LATER + 17 :])) == 1
    assert len(memory._session.processed_frames) == 1
    for outputs in memory._session.output_dict_per_obj.values():
        assert len(outputs["cond_frame_outputs"]) == 1
        assert len(outputs["non_cond_frame_outputs"]) == 16


def test_what_is_remembered_decides(saved):
    """Frames of long ago, the last ones and another object's end: who remembers otherwise sees otherwise."""

    def last(begun: dict[int, np.ndarray], skipped: range = range(0)) -> torch.Tensor:
        memory = VideoMemory(saved["sam2_video"])
        for index, pixels in enumerate(frames(18)):
            seen = memory.follow(pixels[::-1].copy() if index in skipped else pixels)
            memory.begin(begun if index == 0 else {})
        return seen[1].logits

    expected = last({1: square(5, 8)})
    others = [last({1: square(40, 40)})]  # where it began, the last frames, and one of which there is a pointer alone
    others += [last({1: square(5, 8)}, range(first, end)) for first, end in ((15, 17), (4, 5))]
    least = min((other - expected).abs().max() for other in others)
    assert least > 1e-5
    assert (last({1: square(5, 8), 2: square(60, 40)}) - expected).abs().max() < least / 10


def test_who_is_forgotten_takes_its_memory_along_and_leaves_the_others_theirs(saved):
    whole, memory = VideoMemory(saved["sam2_video"]), VideoMemory(saved["sam2_video"])
    for index, pixels in enumerate(frames(14)):
        expected, seen = whole.follow(pixels), memory.follow(pixels)
        for one in (whole, memory):
            one.begin({1: square(5, 8), 2: square(60, 40)} if index == 0 else {})
        if index == 9:
            before = memory.size_bytes
            memory.forget([1])
            assert memory.ids == [2]
            assert memory.size_bytes < before
            for one in (whole, memory):  # of the others, too, SAM 2 then remembers a mask without shades
                one.begin({3: square(30, 20)})
        if index > 9:
            assert list(seen) == [2, 3]
            torch.testing.assert_close(seen[2].logits, expected[2].logits, atol=1e-4, rtol=0)
    memory.forget([2, 3])
    assert memory.follow(pixels) == {}


def test_a_mask_has_the_size_of_the_frame_and_what_is_away_has_none():
    logits = torch.full((32, 32), -5.0)
    logits[8:16, 8:24] = 5
    mask = mask_of(Seen(logits, 1.0), SIZE)
    assert mask.shape == SIZE[::-1]
    assert mask[18 + 1 : 36 - 1, 24 + 2 : 72 - 2].all()
    assert mask.sum() == pytest.approx(18 * 48, rel=0.1)
    assert not mask_of(Seen(logits, -1.0), SIZE).any()


def test_a_model_is_not_changed_by_what_it_follows(saved):
    loaded: VideoModel = saved["edgetam_video"]
    one, other = VideoMemory(loaded), VideoMemory(loaded)
    (pixels,) = frames(1)
    one.follow(pixels)
    one.begin({1: square(5, 8)})
    assert other.follow(pixels) == {}
    assert other.size_bytes == 0
