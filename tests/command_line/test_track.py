"""`track`: what it writes, that it goes on after a kill, and that it refuses with one line."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundingdino.command_line.main import main
from groundingdino.detection.detector import Detector
from groundingdino.files.assets import ASSETS
from groundingdino.segmentation.segmenter import Segmenter
from groundingdino.tracking import track_file
from groundingdino.tracking.video import Video
from tests.clips import hear, write
from tests.scissors import Scissors
from tests.tiny_segmenters import save_video

PROMPT = "cat . dog"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Twelve frames of one noise that moves a little."""
    noise = np.random.default_rng(2).integers(0, 256, (14, 18, 3), np.uint8)
    large = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    frames = [large[number : number + 96, 2 * number : 2 * number + 112] for number in range(12)]
    return write(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=frames, options={"crf": "5"})


@pytest.fixture
def track(clip, model, tmp_path):
    """Runs the command on the clip; `track("out.json", ...)` gives its status."""

    def run(output: str, *options: str, prompt: str = PROMPT, video: Path = clip) -> int:
        arguments = ["track", str(video), prompt, "--output", str(tmp_path / output), "--model", model, "--every", "2"]
        return main([*arguments, "--box-threshold", "0.3", "--nms-threshold", "off", *options])

    return run


def test_without_a_name_the_model_that_knows_such_frames_follows(tmp_path, capsys):
    cat = np.asarray(Image.open(ASSETS / "examples" / "cat.webp").convert("RGB").resize((224, 150)))
    clip = write(tmp_path / "cat.mp4", frames=[cat] * 4)
    assert main(["track", str(clip), "cat", "--output", str(tmp_path / "out.json"), "--device", "cpu"]) == 0
    told = "its frames look like photographs, so embedded-photos is asked: --model asks another"
    assert told in capsys.readouterr().err
    assert "embedded-photos" in json.loads((tmp_path / "out.json").read_text())["about"]


def complaint(capsys) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_each_kind_of_output_is_of_the_same_tracks(track, tmp_path, monkeypatch, capsys):
    assert track("out.json") == 0
    told = capsys.readouterr().out.splitlines()
    tracks = read(tmp_path / "out.json")
    assert len(tracks["frames"]) == 12
    assert tracks["tracks"]
    assert told[-1].split()[:5] == [str(len(tracks["tracks"])), "tracks", "over", "12", "frames"]
    assert (tracks["width"], tracks["height"], tracks["video"]) == (112, 96, "clip.mp4")

    monkeypatch.setattr(Detector, "from_pretrained", None)  # no model runs again
    assert track("out.txt") == 0
    boxes = [line.split(",") for line in (tmp_path / "out.txt").read_text().splitlines()]
    assert [(int(box[0]) - 1, int(box[1])) for box in boxes] == [
        (frame["frame"], one["id"]) for frame in tracks["frames"] for one in frame["objects"]
    ]
    assert track("out.json", "--format", "youtube-vis") == 0
    assert len(read(tmp_path / "out.json")["annotations"]) == len(tracks["tracks"])
    assert track("out.mp4") == 0
    shown = Video(tmp_path / "out.mp4")
    assert [frame.seconds for frame in shown.frames()] == pytest.approx([n / 10 for n in range(12)])
    assert track("out.zip", "--transparent") == 0
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert len(archive.namelist()) == 13
        assert Image.open(io.BytesIO(archive.read("000001.png"))).mode == "RGBA"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("out.json", "out.mp4", "out.tracks.jsonl", "out.txt", "out.zip")
    ]


def test_what_is_named_is_hidden_from_where_it_was_first_seen(track, clip, tmp_path):
    assert track("out.json") == 0
    assert track("out.zip", "--pixelate") == 0
    frames = read(tmp_path / "out.json")["frames"]
    assert frames[0]["objects"], "at the first frame it was seen, though not yet sure"
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        for frame in Video(clip).frames():
            edited = np.asarray(Image.open(io.BytesIO(archive.read(f"{frame.index + 1:06}.png"))))
            far = np.ones(edited.shape[:2], bool)
            for one in frames[frame.index]["objects"]:
                x0, y0, x1, y1 = (int(edge) for edge in one["box"])
                reach = 12 + max(x1 - x0, y1 - y0) // 8
                far[max(0, y0 - reach) : y1 + reach, max(0, x0 - reach) : x1 + reach] = False
                assert (edited[y0:y1, x0:x1] != frame.pixels[y0:y1, x0:x1]).any(2).mean() > 0.3
            np.testing.assert_array_equal(edited[far], frame.pixels[far])


def test_masks_are_followed_and_written(track, tmp_path, monkeypatch):
    monkeypatch.setattr(Segmenter, "from_pretrained", lambda *_: Scissors())
    assert track("out.zip", "--masks", "--format", "masks", "--best-only") == 0
    assert track("out.json", "--masks", "--best-only") == 0
    frames = read(tmp_path / "out.json")["frames"]
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        last = np.asarray(Image.open(io.BytesIO(archive.read("000012.png"))))
    assert set(np.unique(last)) - {0} <= {one["id"] for one in frames[-1]["objects"]}
    assert {"mask"} <= set(frames[-1]["objects"][0])


def test_a_model_that_remembers_follows_outlines_and_goes_on(track, tmp_path, monkeypatch, capsys):
    folder = str(save_video("edgetam_video", tmp_path / "small"))
    options = ["--tracker", folder, "--best-only", "--every", "4"]
    monkeypatch.setattr(Segmenter, "from_pretrained", lambda name, *_: asked.append(name) or Scissors())
    asked = []
    assert track("out.json", *options) == 0
    assert asked == [folder], "its own segmenter makes the masks that it begins with"
    frames = read(tmp_path / "out.json")["frames"]
    assert frames[0]["objects"][0]["mask"]["size"] == [96, 112]
    assert track("out.zip", *options, "--format", "masks") == 0
    assert len(asked) == 1, "what is known takes no model"
    capsys.readouterr()
    assert track("out.txt") == 2
    assert "--restart" in complaint(capsys), "by another tracker it is another run"
    assert track("out.json", *options, "--backward") == 2
    assert "holds what was found with backward null" in complaint(capsys), "as is a backward pass"
    assert track("back.json", *options, "--backward") == 0
    assert len(read(tmp_path / "back.json")["frames"]) == 12
    assert '"backward": 4' in (tmp_path / "back.tracks.jsonl").read_text().splitlines()[0]
    capsys.readouterr()
    assert track("out.txt", "--tracker", "vit_b") == 2
    assert "There is no tracker 'vit_b': expected embedded, edgetam" in complaint(capsys)


def test_what_another_program_wrote_is_not_written_over(track, tmp_path, monkeypatch, capsys):
    (tmp_path / "out.txt").write_text("notes")
    with monkeypatch.context() as without:
        without.setattr(Detector, "from_pretrained", None)
        assert track("out.txt") == 2
    assert complaint(capsys).endswith(
        "is there, and not by `track`: give another --output, or --restart to write over it."
    )
    assert (tmp_path / "out.txt").read_text() == "notes"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.txt"]
    assert track("out.txt", "--restart") == 0
    assert (tmp_path / "out.txt").read_text() != "notes"
    assert track("out.txt") == 0, "its own it writes again"


def test_a_stretch_is_followed_alone(track, tmp_path):
    assert track("out.json", "--start", "0.25", "--end", "0.75") == 0
    frames = read(tmp_path / "out.json")["frames"]
    assert [(frame["frame"], frame["seconds"]) for frame in frames] == [
        (index, pytest.approx(0.3 + index / 10, abs=1e-4)) for index in range(5)
    ]
    assert track("out.mp4", "--start", "0.25", "--end", "0.75") == 0
    assert next(Video(tmp_path / "out.mp4").frames()).seconds == 0


def test_stopped_again_and_again_it_writes_what_it_writes_at_once(track, tmp_path, monkeypatch, capsys):
    track("once.json")
    find = Detector.ground_batch
    calls = 0

    def stop_at_the_third(self, *arguments):
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise KeyboardInterrupt
        return find(self, *arguments)

    monkeypatch.setattr(Detector, "ground_batch", stop_at_the_third)
    capsys.readouterr()
    assert [track("stopped.json") for _ in range(2)] == [130, 130]
    assert "continues next time where it stopped" in capsys.readouterr().err
    assert not (tmp_path / "stopped.json").exists()
    assert len((tmp_path / "stopped.tracks.jsonl").read_text().splitlines()) == 1 + 2 * 2 * 2
    monkeypatch.setattr(Detector, "ground_batch", find)
    assert track("stopped.json") == 0
    assert (tmp_path / "stopped.json").read_bytes() == (tmp_path / "once.json").read_bytes()


class Killed(BaseException):
    """Nothing that anybody catches."""


def test_killed_within_a_line_it_continues_without_loss_or_double(track, tmp_path, monkeypatch):
    assert track("once.json") == 0
    append, lines = track_file.append, []

    def die(file, text):
        lines.append(text)
        if len(lines) == 5:
            append(file, text[:20])
            raise Killed
        append(file, text)

    monkeypatch.setattr(track_file, "append", die)
    with pytest.raises(Killed):
        track("killed.json")
    monkeypatch.setattr(track_file, "append", append)
    assert len((tmp_path / "killed.tracks.jsonl").read_bytes().splitlines()) == 1 + 4 + 1
    assert track("killed.json") == 0
    assert (tmp_path / "killed.json").read_bytes() == (tmp_path / "once.json").read_bytes()
    assert (tmp_path / "killed.tracks.jsonl").read_bytes() == (tmp_path / "once.tracks.jsonl").read_bytes()


def test_another_question_is_refused_until_restarted(track, tmp_path, capsys):
    track("out.json")
    capsys.readouterr()
    assert track("out.json", prompt="zebra") == 2
    assert f"holds what was found with prompt {json.dumps(PROMPT)}: give another --output" in complaint(capsys)
    assert track("out.txt", "--end", "1") == 2
    assert "holds what was found with end null" in complaint(capsys)
    assert track("out.json", "--restart", prompt="zebra") == 0
    assert {one["phrase"] for one in read(tmp_path / "out.json")["tracks"]} <= {"zebra"}


def rows(path: Path) -> list[list[tuple]]:
    """Of each frame the objects that are followed in it."""
    return [
        [(one["id"], one["phrase"], tuple(one["box"])) for one in frame["objects"]] for frame in read(path)["frames"]
    ]


def write_corrections(tmp_path, *corrections) -> tuple[str, str]:
    (tmp_path / "said.json").write_text(json.dumps(corrections))
    return "--corrections", str(tmp_path / "said.json")


BALL = {"seconds": 0.6, "objects": [{"phrase": "ball", "box": [20, 30, 60, 70]}]}


def test_a_frame_is_corrected_and_only_what_comes_after_it_is_another(track, tmp_path, monkeypatch):
    assert track("out.json") == 0
    before = rows(tmp_path / "out.json")
    monkeypatch.setattr(Detector, "ground_batch", None)  # what it saw is known
    assert track("out.json", *write_corrections(tmp_path, BALL)) == 0
    after = rows(tmp_path / "out.json")
    assert after[:4] == before[:4], "before it was first seen what is the ball now"
    assert not any(phrase == "ball" for frame in before for _, phrase, _ in frame)
    (ball,) = {id for id, phrase, _ in after[6] if phrase == "ball"}
    assert (ball, "ball", (20, 30, 60, 70)) in after[6]
    gone = {"seconds": 0.9, "objects": [{"phrase": f"ball {ball}", "box": [20, 30, 60, 70], "gone": True}]}
    assert track("out.json", *write_corrections(tmp_path, gone, BALL)) == 0
    assert rows(tmp_path / "out.json")[:9] == after[:9]
    assert ball not in [id for frame in rows(tmp_path / "out.json")[9:] for id, *_ in frame]
    assert track("out.json") == 0, "taken back"
    assert rows(tmp_path / "out.json") == before
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["out.tracks.jsonl"]


def test_killed_while_it_is_corrected_it_asks_the_detector_nothing_twice(track, tmp_path, monkeypatch):
    assert track("once.json", *write_corrections(tmp_path, BALL)) == 0
    assert track("out.json") == 0
    append, lines = track_file.append, []

    def die(file, text):
        lines.append(text)
        if len(lines) > 9:
            append(file, text[:20])
            raise Killed
        append(file, text)

    monkeypatch.setattr(track_file, "append", die)
    monkeypatch.setattr(Detector, "ground_batch", None)
    for corrections in ([BALL], [BALL | {"seconds": 0.2}]):
        lines.clear()
        with pytest.raises(Killed):
            track("out.json", *write_corrections(tmp_path, *corrections))
    monkeypatch.setattr(track_file, "append", append)
    assert track("out.json", *write_corrections(tmp_path, BALL)) == 0
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "once.json").read_bytes()
    assert not (tmp_path / "out.tracks.before.jsonl").exists()


def test_killed_when_the_run_before_was_just_put_aside_it_goes_on(track, tmp_path, monkeypatch):
    assert track("out.json") == 0

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(track_file, "replace_file", die)  # the first thing that is written of the new run
        with pytest.raises(Killed):
            track("out.json", *write_corrections(tmp_path, BALL))
    monkeypatch.setattr(Detector, "ground_batch", None)  # what it saw is known
    assert track("out.json", *write_corrections(tmp_path, BALL)) == 0
    assert any(phrase == "ball" for _, phrase, _ in rows(tmp_path / "out.json")[6])


def test_of_frames_that_are_not_followed_corrections_are_told(track, tmp_path, capsys):
    late = BALL | {"seconds": 1.2}
    assert track("out.json", *write_corrections(tmp_path, late)) == 0
    assert complaint(capsys) == (
        "groundingdino: Corrections at 1.20 s change nothing: only 0.00 to 1.20 s are followed."
    )
    assert track("out.json") == 0, "it is the same question"
    assert track("short.json", "--start", "0.3", "--end", "0.7", *write_corrections(tmp_path, BALL)) == 0
    assert capsys.readouterr().err == ""
    corrections = [BALL | {"seconds": seconds} for seconds in (0, 0.2, 0.3, 0.7, 0.8)]
    assert track("brief.json", "--start", "0.3", "--end", "0.7", *write_corrections(tmp_path, *corrections)) == 0
    assert "Corrections at 0.00, 0.20, 0.70 (+1) s change nothing: only 0.30 to 0.70 s" in complaint(capsys)
    assert any(phrase == "ball" for _, phrase, _ in rows(tmp_path / "brief.json")[0])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "said.json' cannot be read: No such file or directory."),
        (b"ball at 0.6", "said.json' is no JSON: expected a list of corrections, as /track takes it."),
        (b"\xff\xfe", "said.json' is no JSON"),
        (b"[" * 100_000, "said.json' is no JSON"),
        (b"{}", "said.json' has none: expected corrections as [{'seconds', 'objects'"),
        (b'[{"seconds": 1, "objects": [{"phrase": "ball"}]}]', "said.json' has none: expected corrections as"),
        (b'[{"seconds": NaN}]', "said.json' has none: expected corrections as"),
        (b"[" + b"0," * 10_000 + b"0]", "got [0, 0, 0, 0, 0, 0, ...]."),
    ],
)
def test_corrections_that_are_none_are_one_line(content, told, track, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Detector, "from_pretrained", None)
    if content is not None:
        (tmp_path / "said.json").write_bytes(content)
    assert track("out.json", "--corrections", str(tmp_path / "said.json")) == 2
    assert told in complaint(capsys)
    assert not (tmp_path / "out.tracks.jsonl").exists()


def test_a_damaged_video_is_followed_as_far_as_it_goes(track, tmp_path, capsys):
    noise = np.random.default_rng(0)
    frames = [noise.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(8)]
    whole = write(tmp_path / "cut.mp4", frames=frames, options={"bf": "0"}, container={"movflags": "+faststart"})
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert track("out.json", video=whole) == 0
    assert "cut.mp4' is damaged: what could not be read of it is left out." in complaint(capsys)
    assert 3 <= len(read(tmp_path / "out.json")["frames"]) < 8


def test_sound_goes_along_and_what_cannot_be_read_of_it_is_told(track, clip, tmp_path, capsys):
    frames = [frame.pixels for frame in Video(clip).frames()]
    tone = np.sin(np.arange(8000) / 3)[None].astype(np.float32)
    loud = write(tmp_path / "loud.mp4", frames=frames, sound=tone, sound_rate=8000)
    assert track("out.mp4", "--blur", video=loud) == 0
    assert np.abs(hear(tmp_path / "out.mp4")[0]).max() > 0.5
    assert capsys.readouterr().err == ""
    strange = write(tmp_path / "strange.mkv", frames=frames, sound=tone, sound_rate=8000)
    strange.write_bytes(strange.read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    assert track("other.mp4", "--blur", video=strange) == 0
    assert complaint(capsys).endswith("strange.mkv' cannot be read and is left out.")


@pytest.mark.parametrize(
    ("output", "options", "sentence"),
    [
        ("out", [], "does not say what to write: expected a name such as out.mp4, out.json, out.txt or out.zip"),
        ("out.avi", [], "does not say what to write"),
        ("missing/out.mp4", [], "cannot be written: expected a file name in a folder that exists"),
        ("out.mp4", ["--format", "mot"], "does not fit --format mot: name the file out.txt"),
        ("out.zip", ["--format", "masks"], "There are no masks to write: give --masks, too"),
        ("out.json", ["--blur"], "An edit makes a video: name the output out.mp4, or out.zip for pictures"),
        ("out.mp4", ["--transparent"], "MP4 has no transparency: name the output out.zip"),
        ("out.mp4", ["--recolor", "nothing"], "nothing"),
        ("out.mp4", ["--segmenter", "vit_b"], "Tracking without --masks makes no use of --segmenter"),
        ("out.mp4", ["--backward"], "The tracker 'embedded' makes no backward pass: it looks often"),
        ("out.mp4", ["--start", "3", "--end", "2"], "--end 2 is not after --start 3"),
        ("out.mp4", ["--model", "swin-x"], "There is no model 'swin-x'"),
        ("out.mp4", ["--masks", "--segmenter", "vit_x"], "There is no segmenter 'vit_x'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(output, options, sentence, track, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Detector, "from_pretrained", None)  # before any model is loaded
    assert track(output, *options) == 2
    assert sentence in complaint(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_video_is_not_written_over_itself(clip, capsys):
    before = clip.read_bytes()
    assert main(["track", str(clip), "cat", "--output", str(clip)]) == 2
    assert "clip.mp4' is the video itself: give another --output" in complaint(capsys)
    assert clip.read_bytes() == before


@pytest.mark.parametrize(
    ("prompt", "content", "told"),
    [
        (" . ", b"", "The prompt names nothing"),
        ("cat", None, "There is no video"),
        ("cat", b"no video", "read as a video"),
    ],
)
def test_what_cannot_be_followed_is_refused(prompt, content, told, track, tmp_path, capsys):
    video = tmp_path / "other.mp4"
    if content is not None:
        video.write_bytes(content)
    assert track("out.json", prompt=prompt, video=video) == 2
    assert told in complaint(capsys)
    assert not (tmp_path / "out.tracks.jsonl").exists()


def test_a_start_behind_the_end_is_one_line(track, capsys):
    assert track("out.json", "--start", "60") == 2
    assert "has no frame after 60.0 seconds: it lasts 1.2" in complaint(capsys)


@pytest.mark.parametrize("options", [["--every", "0"], ["--start", "-1"], ["--end", "x"], ["--blur", "--pixelate"]])
def test_options_are_read_strictly(options, track, capsys):
    with pytest.raises(SystemExit) as ended:
        track("out.mp4", *options)
    assert ended.value.code == 2
    assert complaint(capsys)


def test_a_full_disk_is_one_line(track, capsys, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("groundingdino.tracking.track_file.append", refuse)
    assert track("out.mp4") == 2
    assert "out.tracks.jsonl' cannot be written: No space left on device" in complaint(capsys)
