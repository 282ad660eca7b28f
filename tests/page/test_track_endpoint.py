"""The endpoint `/track`, called without a server, and what agents are answered of a video."""

import inspect
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from groundingdino.detection.available_models import ModelCard
from groundingdino.page.endpoints import Endpoints
from groundingdino.page.limits import Limits
from groundingdino.page.mcp_answers import contents
from groundingdino.page.model_cache import ModelCache
from groundingdino.page.studio import DetectorLike, Studio
from groundingdino.segmentation.available_models import SegmenterCard
from groundingdino.segmentation.cutting import SegmenterLike
from groundingdino.tracking.available_trackers import TRACKERS
from groundingdino.tracking.video import Video
from groundingdino.tracking.video_models import load_video_model
from tests import clips
from tests.oracle import CARD, Oracle
from tests.scissors import SEGMENTER, Scissors
from tests.tiny_segmenters import save_video

SIZE = (320, 240)
CAT, OTHER_CAT = (10, 20, 110, 120), (200, 20, 300, 120)


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    return str(clips.write(tmp_path / "cats.mp4", frames=[clips.picture(3, SIZE)] * 8))


@pytest.fixture
def oracle() -> Oracle:
    return Oracle({SIZE: {"cat": [(0.9, CAT), (0.6, OTHER_CAT)]}})


@pytest.fixture
def endpoints(oracle: Oracle) -> Endpoints:
    detectors: ModelCache[DetectorLike, ModelCard] = ModelCache(
        {"embedded": CARD}, lambda *_, **__: oracle, lambda _: True
    )
    segmenters: ModelCache[SegmenterLike, SegmenterCard] = ModelCache(
        {"embedded": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True
    )
    return Endpoints(Studio(detectors, segmenters, limits=Limits(video_seconds=5)))


def test_a_video_and_its_tracks_come_back(endpoints: Endpoints, clip: str, oracle: Oracle):
    made, record = endpoints.track(clip, "cat . dog")
    assert Video(made).info.size == SIZE
    assert [(one["id"], one["phrase"], one["frames"]) for one in record["tracks"]] == [(1, "cat", 8), (2, "cat", 8)]
    assert len(record["frames"]) == 8
    assert (record["video"], record["notes"]) == ("cats.mp4", [])
    looks = oracle.prepared
    blurred, again = endpoints.track(clip, "cat . dog", "blur")
    assert blurred != made
    assert again == record
    assert oracle.prepared == looks, "another effect takes no model"


def test_outlines_are_listed_where_they_are_wanted(endpoints: Endpoints, clip: str):
    _, record = endpoints.track(clip, "cat", masks=True, start=0.2, end=0.7)
    assert len(record["frames"]) == 5
    assert record["frames"][-1]["objects"][0]["mask"]["size"] == [240, 320]


def test_a_model_that_remembers_follows_outlines(clip: str, oracle: Oracle, tmp_path: Path):
    small = load_video_model(save_video("sam2_video", tmp_path / "small"), "cpu")
    trackers = ModelCache(
        {name: TRACKERS[name] for name in ("embedded", "edgetam", "sam2.1-tiny")},
        lambda *_, **__: small,
        lambda name: name != "sam2.1-tiny",
    )
    detectors: ModelCache[DetectorLike, ModelCard] = ModelCache(
        {"embedded": CARD}, lambda *_, **__: oracle, lambda _: True
    )
    segmenters: ModelCache[SegmenterLike, SegmenterCard] = ModelCache(
        {"edgetam": SEGMENTER, "other": SEGMENTER}, lambda *_, **__: Scissors(), lambda _: True
    )
    endpoints = Endpoints(Studio(detectors, segmenters, trackers=trackers))
    made, record = endpoints.track(clip, "cat", tracker="edgetam")
    assert Video(made).info.size == SIZE
    assert record["about"] == "Tracked by Grounding DINO, embedded + edgetam: cat"
    assert oracle.prepared == 1, "a look each second"
    first = record["frames"][0]["objects"]
    assert [(one["id"], one["phrase"]) for one in first] == [(1, "cat"), (2, "cat")]
    assert first[0]["mask"]["size"] == [240, 320]
    _, record = endpoints.track(clip, "cat", tracker="edgetam", segmenter="other", every=4)
    assert record["about"] == "Tracked by Grounding DINO, embedded + other + edgetam: cat"
    assert oracle.prepared == 3
    _, record = endpoints.track(clip, "cat", tracker="edgetam", backward=True)
    assert (oracle.prepared, len(record["frames"])) == (4, 8), "another question"
    with pytest.raises(gr.Error, match=r"SAM 2\.1 tiny is not on this machine yet"):
        endpoints.track(clip, "cat", tracker="sam2.1-tiny")
    with pytest.raises(gr.Error, match="There is no model 'vit_b'; choose one of embedded, edgetam"):
        endpoints.track(clip, "cat", tracker="vit_b")
    assert [(one["name"], one["task"], one["downloaded"]) for one in endpoints.models()][-2:] == [
        ("edgetam", "track", True),
        ("sam2.1-tiny", "track", False),
    ]


def test_frames_can_be_corrected(endpoints: Endpoints, clip: str, oracle: Oracle):
    endpoints.track(clip, "cat")
    looks = oracle.prepared
    cat, ball = {"phrase": "cat", "box": CAT, "followed": False}, {"phrase": "ball", "box": [120, 150, 180, 210]}
    gone = {"phrase": "cat 2", "box": OTHER_CAT, "gone": True}
    corrections = [{"seconds": 0.4, "objects": [gone]}, {"seconds": 0, "objects": [cat, ball]}]
    _, record = endpoints.track(clip, "cat", corrections=corrections)
    tracks = [(one["id"], one["phrase"], one["first"]) for one in record["tracks"]]
    assert tracks[0] == (2, "ball", 0)
    assert {phrase for _, phrase, _ in tracks[1:]} == {"cat"}
    assert oracle.prepared == looks
    _, record = endpoints.track(clip, "cat", end=0.3, corrections=corrections)
    assert record["notes"] == ["Corrections at 0.40 s change nothing: only 0.00 to 0.30 s are followed."]
    with pytest.raises(gr.Error, match="Expected corrections as"):
        endpoints.track(clip, "cat", corrections=[{"objects": []}])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"video": ""}, "There is no video: pass one as `video`."),
        ({"prompt": " "}, "The prompt names nothing to follow"),
        ({"effect": "melt"}, "There is no effect 'melt': choose one of boxes, blur"),
        ({"effect": "recolor", "color": "loud"}, "loud"),
        ({"masks": "yes"}, "Expected true or false as masks"),
        ({"every": 0}, "one frame of 1 to 1000"),
        ({"backward": "yes"}, "Expected true or false as backward"),
        ({"backward": True}, "The tracker 'embedded' makes no backward pass"),
        ({"end": 0}, "The end at 0 seconds is not after the start"),
        ({"model": "large"}, "There is no model 'large'"),
    ],
)
def test_what_is_wrong_is_a_sentence(endpoints: Endpoints, clip: str, options: dict[str, Any], told: str):
    with pytest.raises(gr.Error, match=told):
        endpoints.track(**{"video": clip, "prompt": "cat", **options})


def test_a_video_that_is_none_is_a_sentence_without_folders(endpoints: Endpoints, tmp_path: Path):
    (tmp_path / "letter.mp4").write_text("Dear Sir")
    with pytest.raises(gr.Error, match=r"^\"?'letter\.mp4' cannot be read as a video"):
        endpoints.track(str(tmp_path / "letter.mp4"), "cat")


def test_every_parameter_is_described():
    described = inspect.getdoc(Endpoints.track) or ""
    names = [name for name in inspect.signature(Endpoints.track).parameters if name != "self"]
    assert [name for name in names if f"    {name}: " not in described] == []


def test_agents_get_the_address_of_a_video_and_no_frames(clip: str):
    pytest.importorskip("mcp")
    file = {"path": clip, "url": "http://here/cats.mp4", "meta": {"_type": "gradio.FileData"}}
    video, record = contents([file, {"tracks": [1], "frames": [{"frame": 0}] * 3}], "http://here")
    assert (video.type, record.type) == ("text", "text")
    assert video.text.startswith("The video: http")
    assert record.text == '{"tracks": [1], "frames": 3}'
