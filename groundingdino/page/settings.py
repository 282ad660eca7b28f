"""What who hosts the page can set: each by an option of `app.py`, or by an environment variable where there is none.

A visitor chooses among what is offered here. The variables that begin with GRADIO are Gradio's own, with its meaning.
"""

import argparse
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, NamedTuple

from groundingdino.page.limits import Limits

EMBEDDED = "embedded"  # what comes along is always offered: it is what a new visitor starts with
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class First(NamedTuple):
    """The models that are chosen when a page is opened, and where a program names none."""

    detector: str = EMBEDDED
    segmenter: str = EMBEDDED
    inpainter: str = EMBEDDED


@dataclass(frozen=True)
class Settings:
    """How the page is served.

    Attributes:
        host, port: Where it listens; None: 127.0.0.1, the first free port from 7860.
        root_path: Under which a proxy offers it, as "/demo", or its whole address.
        share: Whether a public address is made by Gradio's servers.
        mcp: Whether the endpoints are MCP tools, too.
        auth: Names and passwords of those who may come in; none: everybody.
        first: Models that are chosen at first.
        offered: Names of models besides those that come along; None: all.
        device: Where models run, as PyTorch names it; None: a GPU if there is one.
        local_files_only: Whether nothing is ever downloaded.
        fetches: Whether pictures may be named by a public address, which the server fetches.
        limits: Of one request.
        logs_content: Whether the log tells what visitors type, too.
    """

    host: str | None = None
    port: int | None = None
    root_path: str | None = None
    share: bool = False
    mcp: bool = False
    auth: tuple[tuple[str, str], ...] = ()
    first: First = field(default_factory=First)
    offered: tuple[str, ...] | None = None
    device: str | None = None
    local_files_only: bool = False
    fetches: bool = True
    limits: Limits = field(default_factory=Limits)
    logs_content: bool = False

    def __post_init__(self) -> None:
        if self.mcp and find_spec("mcp") is None:
            raise ValueError("MCP tools need one more package: pip install 'gradio[mcp]', or start with --no-mcp.")
        if self.mcp and self.auth:
            raise ValueError("MCP tools cannot log in: start without --auth, or with --no-mcp.")
        if self.port is not None and not 0 < self.port < 65536:
            raise ValueError(f"{self.port} is no port: choose one from 1 to 65535 with --port.")
        if self.root_path and not self.root_path.startswith(("/", "http://", "https://")):
            raise ValueError(f"'{self.root_path}' is no root path: expected one as /demo, or a whole address.")
        if self.host:
            _check_host(self.host)

    @classmethod
    def read(cls, arguments: Sequence[str] | None = None) -> "Settings":
        """From the command line and the environment.

        Raises:
            ValueError: one sentence: what is wrong with what was set.
            SystemExit: there is no such option, or its value is of another kind; or help was asked for.
        """
        given = vars(_parser().parse_args(arguments))
        first = First(given.pop("model"), given.pop("segmenter"), given.pop("inpainter"))
        megabytes, megapixels = given.pop("max_upload"), given.pop("max_pixels")
        counts = given.pop("max_steps"), given.pop("max_candidates"), given.pop("max_seconds")
        video = given.pop("max_video_seconds"), round(given.pop("max_video_pixels") * 1e6)
        limits = Limits(round(megabytes * 1e6), round(megapixels * 1e6), *counts, *video)
        return cls(first=first, limits=limits, **given)


def _parser() -> argparse.ArgumentParser:
    usual = Limits()
    parser = argparse.ArgumentParser(
        description="Grounding DINO in the browser: type a prompt, see boxes and masks.",
        epilog="What stands in brackets is the environment variable that holds where the option is not given.",
    )
    add = _adder(parser)
    add("--host", "GRADIO_SERVER_NAME", "address to listen on: 0.0.0.0 for all; else 127.0.0.1")
    add("--port", "GRADIO_SERVER_PORT", "port to listen on; else the first free one from 7860", type=int)
    add("--root-path", "GRADIO_ROOT_PATH", "path under which a proxy offers the page, as /demo, or its whole address")
    add("--share", "GRADIO_SHARE", "make a public address for three days, through Gradio's servers", kind=bool)
    add("--mcp", "GRADIO_MCP_SERVER", "serve the endpoints as MCP tools, too", kind=bool)
    text = "who may come in, as 'NAME:PASSWORD NAME:PASSWORD'; others see a command line, so prefer the variable"
    add("--auth", "GROUNDINGDINO_AUTH", text, default="", type=_pairs)
    add("--model", "GROUNDINGDINO_MODEL", "detector that is chosen at first", default=EMBEDDED)
    add("--segmenter", "GROUNDINGDINO_SEGMENTER", "segmenter that is chosen at first", default=EMBEDDED)
    add("--inpainter", "GROUNDINGDINO_INPAINTER", "inpainter that is chosen at first", default=EMBEDDED)
    text = "models offered besides those that come along, as 'swin-t,sd15', or 'none'; else all"
    add("--models", "GROUNDINGDINO_MODELS", text, type=_names, dest="offered")
    add("--device", "GROUNDINGDINO_DEVICE", "where models run: cpu, cuda, ...; else a GPU if there is one")
    add("--local-files-only", "GROUNDINGDINO_LOCAL_FILES_ONLY", "never download a model", kind=bool)
    text = "fetch pictures that programs and agents name by a public address"
    add("--fetch-pictures", "GROUNDINGDINO_FETCH_PICTURES", text, kind=bool, default="yes", dest="fetches")
    text = "write into the log what visitors type, too"
    add("--log-content", "GROUNDINGDINO_LOG_CONTENT", text, kind=bool, dest="logs_content")
    text = "megabytes of a picture or video that is sent"
    add("--max-upload", "GROUNDINGDINO_MAX_UPLOAD", text, type=float, default=usual.upload / 1e6)
    text = "megapixels of a picture"
    add("--max-pixels", "GROUNDINGDINO_MAX_PIXELS", text, type=float, default=usual.pixels / 1e6)
    add("--max-steps", "GROUNDINGDINO_MAX_STEPS", "denoising steps", type=int, default=usual.steps)
    add("--max-candidates", "GROUNDINGDINO_MAX_CANDIDATES", "pictures at once", type=int, default=usual.candidates)
    text = "seconds that a request is computed; else 180 without, and any time with a model that paints or follows"
    add("--max-seconds", "GROUNDINGDINO_MAX_SECONDS", text, type=float)
    text = "seconds that a video may last"
    add("--max-video-seconds", "GROUNDINGDINO_MAX_VIDEO_SECONDS", text, type=float, default=usual.video_seconds)
    text = "megapixels of a video's frame"
    add("--max-video-pixels", "GROUNDINGDINO_MAX_VIDEO_PIXELS", text, type=float, default=usual.video_pixels / 1e6)
    return parser


def _adder(parser: argparse.ArgumentParser) -> Any:
    """Adds options whose default is in the environment. argparse reads it as if it were typed."""

    def add(name: str, variable: str, text: str, kind: type | None = None, default: Any = None, **options: Any) -> None:
        if kind is bool:
            options |= {"action": argparse.BooleanOptionalAction}
            default = _yes_or_no(variable, os.environ.get(variable, default or ""))
        else:
            default = os.environ.get(variable) or default
            options.setdefault("metavar", name.strip("-").rpartition("-")[2].upper())
        shown = f" ({default:g})" if isinstance(default, int | float) and not isinstance(default, bool) else ""
        parser.add_argument(name, default=default, help=f"{text}{shown} [{variable}]", **options)

    return add


def _yes_or_no(variable: str, text: str) -> bool:
    if text.strip().lower() not in (*_TRUE, *_FALSE):
        raise ValueError(f"{variable} must be true or false, not '{text}'.")
    return text.strip().lower() in _TRUE


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [(name, password) for name, _, password in (pair.partition(":") for pair in text.split())]
    if not all(name and password for name, password in pairs):
        raise argparse.ArgumentTypeError("expected NAME:PASSWORD, several separated by spaces")
    return tuple(pairs)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.replace(",", " ").split() if name != "none")


def _check_host(host: str) -> None:
    """A ValueError for what is no address of this machine; Gradio would take each of its ports for taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.bind(address)
    except (OSError, UnicodeError) as error:
        raise ValueError(
            f"'{host}' is no address of this machine: choose another with --host, as 127.0.0.1, or 0.0.0.0 for all."
        ) from error
