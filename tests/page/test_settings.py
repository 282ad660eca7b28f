"""What who hosts the page can set, by options and by the environment."""

import pytest

from groundingdino.page.limits import Limits
from groundingdino.page.settings import First, Settings

SET = {
    "GRADIO_SERVER_NAME": ("--host", "127.0.0.1", lambda settings: settings.host),
    "GRADIO_SERVER_PORT": ("--port", "8123", lambda settings: str(settings.port)),
    "GRADIO_ROOT_PATH": ("--root-path", "/demo", lambda settings: settings.root_path),
    "GROUNDINGDINO_AUTH": ("--auth", "ann:se:cret bob:other", lambda settings: " ".join(map(":".join, settings.auth))),
    "GROUNDINGDINO_MODEL": ("--model", "swin-t", lambda settings: settings.first.detector),
    "GROUNDINGDINO_SEGMENTER": ("--segmenter", "vit_b", lambda settings: settings.first.segmenter),
    "GROUNDINGDINO_INPAINTER": ("--inpainter", "sd15", lambda settings: settings.first.inpainter),
    "GROUNDINGDINO_MODELS": ("--models", "swin-t, sd15", lambda settings: ", ".join(settings.offered)),
    "GROUNDINGDINO_DEVICE": ("--device", "cpu", lambda settings: settings.device),
    "GROUNDINGDINO_MAX_VIDEO_SECONDS": ("--max-video-seconds", "7.5", lambda found: str(found.limits.video_seconds)),
    "GROUNDINGDINO_MAX_VIDEO_PIXELS": ("--max-video-pixels", "2.5", lambda found: str(found.limits.video_pixels / 1e6)),
    "GROUNDINGDINO_MAX_UPLOAD": ("--max-upload", "1.5", lambda settings: str(settings.limits.upload / 1e6)),
    "GROUNDINGDINO_MAX_PIXELS": ("--max-pixels", "0.5", lambda settings: str(settings.limits.pixels / 1e6)),
    "GROUNDINGDINO_MAX_STEPS": ("--max-steps", "8", lambda settings: str(settings.limits.steps)),
    "GROUNDINGDINO_MAX_CANDIDATES": ("--max-candidates", "2", lambda settings: str(settings.limits.candidates)),
    "GROUNDINGDINO_MAX_SECONDS": ("--max-seconds", "9.5", lambda settings: str(settings.limits.seconds)),
}
FLAGS = {
    "GRADIO_SHARE": ("share", False),
    "GRADIO_MCP_SERVER": ("mcp", False),
    "GROUNDINGDINO_LOCAL_FILES_ONLY": ("local-files-only", False),
    "GROUNDINGDINO_FETCH_PICTURES": ("fetch-pictures", True),
    "GROUNDINGDINO_LOG_CONTENT": ("log-content", False),
}


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SET, *FLAGS):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", SET)
def test_an_option_or_a_variable_sets_it(variable: str, monkeypatch):
    option, value, of = SET[variable]
    assert of(Settings.read([option, value])) == value
    monkeypatch.setenv(variable, value)
    assert of(Settings.read([])) == value
    monkeypatch.setenv(variable, "")
    assert Settings.read([]) == Settings()


@pytest.mark.parametrize("variable", FLAGS)
def test_a_flag_or_a_variable_switches_it(variable: str, monkeypatch):
    option, usual = FLAGS[variable]
    name = {"fetch-pictures": "fetches", "log-content": "logs_content"}.get(option, option.replace("-", "_"))
    assert getattr(Settings.read([]), name) is usual
    monkeypatch.setenv(variable, "false" if usual else "True")
    assert getattr(Settings.read([]), name) is not usual
    assert getattr(Settings.read([f"--{option}" if usual else f"--no-{option}"]), name) is usual


def test_an_option_overrules_the_variable(monkeypatch):
    monkeypatch.setenv("GROUNDINGDINO_MODEL", "swin-b")
    assert Settings.read(["--model", "swin-t"]).first == First("swin-t", "embedded", "embedded")


def test_no_models_is_none_besides_those_that_come_along():
    assert Settings.read(["--models", "none"]).offered == ()
    assert Settings.read([]).offered is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "70000 is no port: choose one from 1 to 65535"),
        (["--root-path", "demo"], "'demo' is no root path: expected one as /demo"),
        (["--host", "192.0.2.1"], "'192.0.2.1' is no address of this machine"),
        (["--mcp", "--auth", "ann:secret"], "MCP tools cannot log in"),
        (["--max-pixels", "65"], "The limit of pixels must be more than 0, and at most 64000000, not 65000000"),
        (["--max-video-seconds", "0"], "The limit of video seconds must be more than 0, not 0"),
        (["--max-seconds", "0"], "The limit of seconds must be more than 0, not 0"),
        (["--max-steps", "-1"], "The limit of steps must be more than 0, and at most 150, not -1"),
    ],
)
def test_what_cannot_be_set_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Settings.read(arguments)


@pytest.mark.parametrize("arguments", [["--auth", "ann"], ["--auth", ":secret"], ["--max-steps", "few"], ["--colour"]])
def test_what_cannot_be_read_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        Settings.read(arguments)
    assert "error: " in capsys.readouterr().err


def test_a_switch_is_true_or_false(monkeypatch):
    monkeypatch.setenv("GRADIO_SHARE", "maybe")
    with pytest.raises(ValueError, match="GRADIO_SHARE must be true or false, not 'maybe'"):
        Settings.read([])


def test_help_names_every_variable(capsys):
    with pytest.raises(SystemExit):
        Settings.read(["--help"])
    told = capsys.readouterr().out
    assert [name for name in (*SET, *FLAGS) if f"[{name}]" not in told] == []


def test_without_settings_all_is_as_it_comes():
    assert Settings.read([]) == Settings(limits=Limits(100_000_000, 64_000_000, 150, 4, None, 120, 3840 * 2160))
