"""A graph of ONNX in the layout in which LaMa is published, which fills holes with one colour."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

SIZE = 512
FLOAT = 1  # of ONNX's types


def save_lama(
    path: Path, bgr: tuple[float, float, float], inputs: tuple[str, str] = ("image", "mask"), gives: str = "output"
) -> Path:
    """Writes such a file; what it gives is 255 * image * (1 - mask) + bgr * mask, as the published one counts."""
    image, mask = inputs
    constants = {
        "one": np.ones((1, 1, 1, 1)),
        "white": np.full((1, 1, 1, 1), 255),
        "colour": np.reshape(bgr, (1, 3, 1, 1)),
    }
    nodes = [
        ("Sub", ("one", mask), "known"),
        ("Mul", (image, "known"), "seen"),
        ("Mul", ("seen", "white"), "kept"),
        ("Mul", (mask, "colour"), "filled"),
        ("Add", ("kept", "filled"), "output"),
    ]
    shapes = {image: (1, 3, SIZE, SIZE), mask: (1, 1, SIZE, SIZE)}
    # Numbers are those of the fields in onnx.proto.
    graph = [
        *(_field(1, _node(*node)) for node in nodes),
        _field(2, b"LaMa"),
        *(_field(5, _tensor(name, value.astype("<f4"))) for name, value in constants.items()),
        *(_field(11, _value(name, shape)) for name, shape in shapes.items()),
        _field(12, _value(gives, shapes[image if gives == "output" else mask])),
    ]
    operators = _field(8, _field(1, b"") + _number(2, 13))
    path.write_bytes(_number(1, 8) + _field(7, b"".join(graph)) + operators)
    return path


def _node(kind: str, inputs: Iterable[str], output: str) -> bytes:
    names = [*(_field(1, name.encode()) for name in inputs), _field(2, output.encode())]
    return b"".join(names) + _field(3, output.encode()) + _field(4, kind.encode())


def _tensor(name: str, values: np.ndarray) -> bytes:
    sides = b"".join(_number(1, side) for side in values.shape)
    return sides + _number(2, FLOAT) + _field(8, name.encode()) + _field(9, values.tobytes())


def _value(name: str, shape: Iterable[int]) -> bytes:
    sides = b"".join(_field(1, _number(1, side)) for side in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, FLOAT) + _field(2, sides)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])
