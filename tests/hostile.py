"""Inputs that nobody should send and somebody will: pictures, prompts and values, the same for the same seed."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

SIDE = 120  # pixels that the sides of an ordinary picture have at most
ORIENTATION = ExifTags.Base.Orientation
HEADS = (
    b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"RIFF\xff\0\0\0WEBPVP8 ",
    b"II*\0\x08\0\0\0",
    b"BM",
    b"P6\n",
)
FORMATS = {
    "JPEG": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tif",
    "PPM": "ppm",
    "AVIF": "avif",
}


@dataclass(frozen=True)
class Picture:
    """A file, and what must come of it."""

    what: str  # it is, in words
    name: str  # of the file
    data: bytes
    size: tuple[int, int] | None  # (width, height) of the picture in it; None if there is none that may be answered
    is_damaged: bool = False  # so that a sentence is as good an answer as the picture

    def __repr__(self) -> str:
        return f"{self.what} ({self.name[:40]}, {len(self.data)} bytes)"


def pictures(seed: int) -> Iterator[Picture]:
    """Without end: each kind once, in an order by lot, and then again with other sizes, places and bytes."""
    lot = random.Random(seed)
    while True:
        kinds = [*_GOOD, *_BAD, *_DAMAGED]
        lot.shuffle(kinds)
        for kind in kinds:
            yield kind(lot)


def prompts(seed: int) -> Iterator[Any]:
    """Without end: texts, and what is none."""
    lot = random.Random(seed)
    while True:
        kinds = [*_PROMPTS]
        lot.shuffle(kinds)
        yield from (kind(lot) for kind in kinds)


def is_long(prompt: Any) -> bool:
    """Whether it is more than one argument of a program may be, on Linux."""
    return isinstance(prompt, str) and len(prompt.encode("utf-8", "replace")) > 100_000


def is_too_much(value: Any) -> bool:
    """Whether it is, or holds, a longer list than anybody makes by hand."""
    return isinstance(value, list) and (len(value) > 999 or any(map(is_too_much, value)))


def photograph(lot: random.Random, mode: str = "RGB", size: tuple[int, int] | None = None) -> Image.Image:
    """Random blocks, of a size by lot unless it is given."""
    size = size or (lot.randint(1, SIDE), lot.randint(1, SIDE))
    blocks = Image.frombytes("RGB", (4, 4), lot.randbytes(48)).resize(size)
    if mode == "I;16":
        return Image.frombytes(mode, size, lot.randbytes(2 * size[0] * size[1]))
    return blocks.convert(mode)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file that Pillow makes of it."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _of(kind: str, mode: str, **options: Any) -> Callable[[random.Random], Picture]:
    def make(lot: random.Random) -> Picture:
        image = photograph(lot, mode)
        return Picture(f"{kind} of mode {mode}", f"a.{FORMATS[kind]}", encoded(image, kind, **options), image.size)

    return make


def _palette(lot: random.Random) -> Picture:
    image = photograph(lot).quantize(lot.randint(2, 256))
    transparency: Any = lot.choice([0, bytes(lot.randrange(256) for _ in range(9))])
    return Picture("palette with transparency", "p.png", encoded(image, "PNG", transparency=transparency), image.size)


def _turned(lot: random.Random) -> Picture:
    image, turn = photograph(lot), lot.choice([0, 1, 3, 5, 6, 8, 9, 65535])
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    size = image.size[::-1] if turn in (5, 6, 7, 8) else image.size
    return Picture(f"turned by EXIF {turn}", "turned.jpg", encoded(image, "JPEG", exif=exif), size)


def _odd_exif(lot: random.Random) -> Picture:
    image = photograph(lot)
    return Picture("EXIF of noise", "e.jpg", encoded(image, "JPEG", exif=b"Exif\0\0" + lot.randbytes(90)), image.size)


def _thin(lot: random.Random) -> Picture:
    size = lot.choice([(1, 50_000), (50_000, 1), (1, 1), (1, 2), (3, 1), (2, 2000), (2000, 1)])
    return Picture(f"{size[0]} x {size[1]}", "thin.png", encoded(photograph(lot, size=size), "PNG"), size)


def _frames(lot: random.Random) -> Picture:
    kind = lot.choice(["GIF", "TIFF", "WEBP", "PNG"])
    image = photograph(lot, size=(lot.randint(2, 9), lot.randint(2, 9)))
    others = [Image.new("RGB", image.size, (index % 256, index // 256, 0)) for index in range(lot.randint(2, 150))]
    data = encoded(image, kind, save_all=True, append_images=others)
    return Picture(f"{kind} of {len(others) + 1} frames", f"many.{FORMATS[kind]}", data, image.size)


def _ten_thousand_frames(lot: random.Random) -> Picture:
    data = encoded(photograph(lot, "L", (2, 2)), "GIF")
    frame = b",\0\0\0\0\2\0\2\0\0\2\2\x84Q\0"  # one of 2 x 2 pixels
    return Picture("GIF of 10,000 frames", "film.gif", data[:-1] + 10_000 * frame + b";", (2, 2))


def _renamed(lot: random.Random) -> Picture:
    image, ending = photograph(lot), lot.choice(["jpg", "txt", "exe", "heic", "eps", "svg"])
    return Picture(f"PNG named {ending}", f"a.{ending}", encoded(image, "PNG"), image.size)


def _long_name(lot: random.Random) -> Picture:
    image = photograph(lot)
    name = lot.choice(["a" * 240, "猫" * 80, 'two cats \'n "dogs" & $(ls) %s {x}', "-output", "é🐈"])
    return Picture("odd name", f"{name}.png", encoded(image, "PNG"), image.size)


def _png(*chunks: tuple[bytes, bytes], image: bytes | None = None) -> bytes:
    """A PNG file with these chunks before its pixels."""
    image = image or encoded(Image.new("RGB", (8, 8), "teal"), "PNG")
    made = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return image[:33] + made + image[33:]


def _long_text(lot: random.Random) -> Picture:
    bomb = zlib.compress(bytes(lot.randint(1, 99) * 1_000_000))
    kind, chunk = lot.choice(
        [
            ("zTXt bomb", (b"zTXt", b"Comment\0\0" + bomb)),
            ("iTXt bomb", (b"iTXt", b"Comment\0\1\0\0\0" + bomb)),
            ("profile bomb", (b"iCCP", b"icc\0\0" + bomb)),
            ("text of 5 MB", (b"tEXt", b"Comment\0" + 5_000_000 * b"a")),
            ("profile of noise", (b"iCCP", b"icc\0\0" + zlib.compress(lot.randbytes(9999)))),
        ]
    )
    return Picture(kind, "words.png", _png(chunk), (8, 8))


def _many_words(_: random.Random) -> Picture:
    words = PngImagePlugin.PngInfo()
    for index in range(3000):
        words.add_text(f"k{index}", "v")
    return Picture("3,000 texts", "words.png", encoded(Image.new("L", (8, 8)), "PNG", pnginfo=words), (8, 8))


def _refused(what: str, name: str, make: Callable[[random.Random], bytes]) -> Callable[[random.Random], Picture]:
    return lambda lot: Picture(what, name, make(lot), None)


def _huge(lot: random.Random) -> bytes:
    """A file whose header promises more pixels than are opened."""
    width, height = lot.choice([(60_000, 60_000), (2**31 - 1, 1), (8100, 8100), (1, 2**31 - 1)])
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1 << 20))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def _other_format(lot: random.Random) -> bytes:
    kind = lot.choice(["ICO", "TGA", "PCX", "SGI", "DDS", "IM", "JPEG2000", "ICNS", "XBM", "PDF"])
    return encoded(photograph(lot, "1" if kind == "XBM" else "RGB", (64, 64)), kind)


def _half(lot: random.Random) -> Picture:
    kind = lot.choice([*FORMATS])
    data = encoded(photograph(lot, size=(90, 70)), kind)
    cut = data[: lot.randrange(1, len(data))]
    return Picture(f"{kind} cut off", f"half.{FORMATS[kind]}", cut, (90, 70), is_damaged=True)


def _flipped(lot: random.Random) -> Picture:
    """Noise in the middle, so that the header may promise another size: none is known."""
    kind = lot.choice([*FORMATS])
    data = bytearray(encoded(photograph(lot, size=(90, 70)), kind))
    for _ in range(lot.randint(1, 30)):
        data[lot.randrange(len(data))] = lot.randrange(256)
    return Picture(f"{kind} with noise", f"noise.{FORMATS[kind]}", bytes(data), None, is_damaged=True)


_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{ } loop\n"
_GOOD: list[Callable[[random.Random], Picture]] = [
    *(_of("JPEG", mode) for mode in ("RGB", "L", "CMYK", "YCbCr")),
    *(_of("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "1", "I;16")),
    *(_of("TIFF", mode) for mode in ("RGB", "CMYK", "LAB", "F", "I", "I;16", "RGBA", "1")),
    *(_of(kind, "RGB") for kind in ("WEBP", "BMP", "PPM", "AVIF", "GIF")),
    _of("JPEG", "RGB", progressive=True),
    *(_palette, _turned, _odd_exif, _thin, _frames, _ten_thousand_frames, _renamed, _long_name),
    *(_long_text, _many_words),
]  # fmt: skip
_BAD: list[Callable[[random.Random], Picture]] = [
    _refused("EPS that never ends", "a.eps", lambda _: _EPS),
    _refused("EPS named PNG", "a.png", lambda _: _EPS),
    _refused("no bytes", "empty.png", lambda _: b""),
    _refused("one byte", "one.jpg", lambda lot: lot.randbytes(1)),
    _refused("noise", "noise.png", lambda lot: lot.randbytes(lot.randint(2, 5000))),
    _refused("noise behind a head", "noise.jpg", lambda lot: lot.choice(HEADS) + lot.randbytes(500)),
    _refused("zeros", "zeros.png", lambda _: bytes(1_000_000)),
    _refused("text", "a.jpg", lambda _: "Nur ein Text, größer als nichts.".encode()),
    _refused("a web page", "a.jpg", lambda _: b"<!doctype html><html><title>404</title></html>"),
    _refused("SVG", "a.svg", lambda _: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
    _refused("HEIC", "a.heic", lambda lot: b"\0\0\0\x18ftypheic" + lot.randbytes(200)),
    _refused("video", "a.mp4", lambda lot: b"\0\0\0\x18ftypisom" + lot.randbytes(200)),
    _refused("archive", "a.png", lambda lot: b"PK\3\4" + lot.randbytes(90)),
    _refused("bomb", "bomb.png", _huge),
    _refused("bomb", "bomb.gif", lambda _: b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;"),
    _refused("another format", "other.png", _other_format),
]  # fmt: skip
_DAMAGED: list[Callable[[random.Random], Picture]] = [_half, _flipped, _flipped]

_LETTERS = "aeiou bcdfg.,;|-'\"\\%{}<>&éßж猫🐈\u200b\u200d\u202e\ufeff\0\x1b\t\n\r，。、；"  # noqa: RUF001
_WORDS = "cat dog red the a and or of with on sits chases car 3 2.5 and/or remote".split()  # noqa: SIM905
_PROMPTS: list[Callable[[random.Random], Any]] = [
    lambda _: "cat . pizza",
    lambda _: "",
    lambda lot: lot.choice([" ", ".", "...", " . , ;", "\n\n", "the", "and or", "and and . the", "?"]),
    lambda lot: 20_000 * lot.choice("aé猫🐈."),
    lambda lot: lot.randint(501, 3999) * lot.choice("ab猫"),
    lambda lot: " ".join(f"thing{lot.randrange(9999)} ." for _ in range(lot.randint(2, 6000))),
    lambda _: 999 * "cat ",
    lambda _: 1999 * "a ",
    lambda _: 800 * "and ",
    lambda _: "cat" + 3000 * "\u200b" + " . dog",
    lambda _: "c\0a\x07t\x1b[31m . \x7f\x80",
    lambda _: "\ufeffcat，dog、pizza。｜car；",  # noqa: RUF001
    lambda _: "🐈‍⬛ . 👩‍👩‍👧‍👦 . кошка . 猫 . café . قطة",
    lambda _: "\u202etac . \u2066cat\u2069",
    lambda _: "Z" + 400 * "\u0301" + " . cat",
    lambda _: "\ud800 cat",
    lambda _: "[SEP] [CLS] [MASK] [PAD] ## [unused1]",
    lambda _: "../../etc/passwd . <script>alert(1)</script> . %s %n {0} ${x}",
    lambda _: "cat; DROP TABLE pictures; --",
    lambda _: 60 * "a cat sits on the red sofa with a dog and a bird. ",
    lambda lot: "".join(lot.choice(_LETTERS) for _ in range(lot.randint(1, 60))),
    lambda lot: " ".join(lot.choice(_WORDS) for _ in range(lot.randint(1, 30))),
    lambda lot: lot.choice(["'", '"', "“cat”", "“", "''cat", '"cat . dog"', "`cat"]),
    lambda lot: lot.choice([None, 7, 1.5, True, [], ["cat"], {}, {"cat": 1}, [[["cat"]]], [None]]),
]  # fmt: skip

NESTED: Any = []
for _ in range(60):
    NESTED = [NESTED]
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 0.5, 2, 1e308, -1e308, 10**30, 5e-324, 2**63, -(2**31), 65536),
    *("", "0.5", "NaN", "inf", "abc", "cat", "embedded", "../embedded", "a" * 5000, "\0", "null"),
    *([], {}, [[]], [{}], [None], [1, 2], ["a"], {"a": 1}, {"x": [1]}, NESTED, [[1, 2, 3, 4, 5]], [[1, 2, 1]] * 5000),
)


def points(lot: random.Random) -> Any:
    """Points, as many and as odd as may be."""
    return lot.choice(
        [
            [[lot.randrange(8), lot.randrange(8), lot.randrange(2)] for _ in range(lot.choice([1, 3, 50, 5000]))],
            [[1, 2]],
            [[1, 2, 3]],
            [[1, 2, 1, 4]],
            [["1", "2", "1"]],
            [[-1, 2, 1]],
            [[1e9, 1, 1]],
            [[1, 1, 0]],
            ["121"],
            [[None, 1, 1]],
            [[[1], [2], [1]]],
            {"x": 1},
            "1,2,1",
            7,
        ]
    )


def boxes(lot: random.Random) -> Any:
    """The same of boxes."""
    return lot.choice(
        [
            [[0, 0, lot.randint(1, 9), lot.randint(1, 9)] for _ in range(lot.choice([1, 20, 3000]))],
            [[5, 5, 5, 5]],
            [[9, 9, 1, 1]],
            [[-1e9, -1e9, 1e9, 1e9]],
            [[1e300, 1e300, 1e301, 1e301]],
            ["1234"],
            [["a", "b", "c", "d"]],
            [[1, 2, 3]],
            [1, 2, 3, 4],
            [[0, 0, 1e-9, 1e-9]],
            [[None] * 4],
            "box",
        ]
    )


def strokes(lot: random.Random) -> Any:
    """The same of strokes."""
    return lot.choice(
        [
            [[[lot.randrange(8), lot.randrange(8)] for _ in range(lot.choice([1, 2, 30_000]))]],
            [[[1, 1], [2, 2]]] * 3000,
            [[]],
            [[[1, 2, 3]]],
            [[1, 2]],
            [[[1]]],
            [[["1", "1"]]],
            [[[1e9, 1e9]]],
            [{"x": 1}],
            "line",
            [[[None, None]]],
        ]
    )


def regions(lot: random.Random) -> Any:
    """The same of regions."""
    return lot.choice(
        [
            [[0, 0, 5, 5, "red"]] * lot.choice([1, 30, 31, 5000]),
            [[0, 0, 5, 5]],
            [[0, 0, 5, 5, 7]],
            [[0, 0, 5, 5, "red" * 5000]],
            [["0", "0", "5", "5", "red"]],
            [[5, 5, 5, 5, "red"]],
            [[900, 900, 901, 901, "red"]],
            [[0, 0, 1e308, 1e308, "red"]],
            [[0, 0, 5, 5, ""]],
            ["region"],
            {},
            [],
            "red",
        ]
    )


MIXED = {"points": points, "boxes": boxes, "strokes": strokes, "regions": regions}
