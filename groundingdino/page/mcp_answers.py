"""What MCP tools answer: little enough for an agent to read, and a picture that its model can look at.

Gradio answers with pictures as large as they are, in base64, with Python's notation of dictionaries, and of two outputs
sometimes with the second alone. Our record has masks as run lengths, thousands of letters that no language model reads.
"""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import supervision as sv
from gradio.processing_utils import add_root_url
from gradio_client.utils import is_file_obj_with_meta
from PIL import Image

from groundingdino.inputs.image import load_editable

if TYPE_CHECKING:
    from gradio.mcp import GradioMCPServer
    from mcp.types import ImageContent, TextContent

LONGEST = 1024  # pixels of the longer side of a picture that is shown; models that look at pictures take few more


def answer_agents(server: "GradioMCPServer") -> None:
    """Makes the tools of a server answer with `contents`."""
    server.postprocess_output_data = contents  # type: ignore[method-assign, assignment]


def contents(outputs: Any, root_url: str) -> "list[TextContent | ImageContent]":
    """What a tool answers.

    Args:
        outputs: What the endpoint gives, as Gradio sends it; a tool that nobody follows has them all in one.
        root_url: Where the server is, for the addresses of files.
    """
    from mcp.types import ImageContent, TextContent

    outputs = add_root_url(outputs, root_url, None)
    if len(outputs) == 1 and isinstance(outputs[0], list | tuple) and any(map(is_file_obj_with_meta, outputs[0])):
        (outputs,) = outputs
    answer: list[TextContent | ImageContent] = []
    for output in outputs:
        if is_file_obj_with_meta(output) and Path(output["path"]).suffix == ".mp4":
            answer.append(TextContent(type="text", text=f"The video: {output['url']}"))
        elif is_file_obj_with_meta(output):
            data, kind = _small(Path(output["path"]))
            answer.append(ImageContent(type="image", data=base64.b64encode(data).decode(), mimeType=f"image/{kind}"))
            answer.append(TextContent(type="text", text=f"The whole picture: {output['url']}"))
        else:
            answer.append(TextContent(type="text", text=json.dumps(_readable(output), ensure_ascii=False)))
    return answer


def _small(path: Path) -> tuple[bytes, str]:
    """A picture of at most `LONGEST` pixels a side as a file, and its format."""
    image = load_editable(path)
    scale = min(1.0, LONGEST / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BOX, reducing_gap=2) if scale < 1 else image
    kind = "webp" if image.mode == "RGBA" else "jpeg"
    written = BytesIO()
    small.save(written, kind, quality=85)
    return written.getvalue(), kind


def _readable(output: Any) -> Any:
    """A record with the areas of masks in place of their run lengths; of a video without its frames."""
    if isinstance(output, dict) and isinstance(output.get("frames"), list):
        return {**output, "frames": len(output["frames"])}
    if not (isinstance(output, dict) and isinstance(output.get("objects"), list)):
        return output
    return {**output, "objects": [_without_mask(found) for found in output["objects"]]}


def _without_mask(found: dict[str, Any]) -> dict[str, Any]:
    if "mask" not in found:
        return found
    height, width = found["mask"]["size"]
    pixels = int(sv.rle_to_mask(found["mask"]["counts"], (width, height)).sum())
    return {**{name: value for name, value in found.items() if name != "mask"}, "mask_pixels": pixels}
