import io
import random
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageFile

from groundingdino.inputs import image_files
from groundingdino.inputs.image import load_editable, load_image
from groundingdino.inputs.image_files import FORMATS, named

COLOR = (10, 120, 230)


def encode(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def plain(size: tuple[int, int] = (16, 12)) -> Image.Image:
    return Image.new("RGB", size, COLOR)


def refusal(source) -> str:
    with pytest.raises(ValueError, match=r"\.$") as refused:
        load_image(source)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# What one program or another would have to be started for, or nobody needs.
ENDLESS_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\n{ } loop\nshowpage\n"
SVG = b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"></svg>'


@pytest.mark.parametrize("format", FORMATS)
def test_the_formats_of_cameras_and_browsers_are_opened(format):
    picture = load_image(encode(plain(), format))
    assert picture.size == (16, 12)
    assert np.abs(np.asarray(picture).astype(int) - COLOR).max() <= (110 if format == "GIF" else 4)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (ENDLESS_EPS, "The picture is of the format EPS, which is not opened here: save it as JPEG or PNG."),
        (b"\xc5\xd0\xd3\xc6" + bytes(28), "of the format EPS"),
        (b"\xd7\xcd\xc6\x9a\0\0" + bytes(40), "of the format WMF"),
        (b"8BPS\0\1" + bytes(40), "of the format PSD"),
        (encode(plain(), "ICO"), "of the format ICO"),
        (encode(plain(), "JPEG2000"), "of the format JPEG2000"),
        (encode(plain(), "PCX"), "of the format PCX"),
        (encode(plain(), "DDS"), "of the format DDS"),
        (encode(plain(), "SGI"), "of the format SGI"),
        (encode(plain(), "PDF"), "of the format PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "of the format HEIC, .*export it as JPEG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "of the format HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "is a video, which is not opened here"),
        (SVG, "of the format SVG"),
        (b"\xff\x0a\xff\x07", "of the format JPEG XL"),
        (encode(plain(), "TGA"), "is not an image"),
        (b"<!DOCTYPE html>\n<svg></svg>", "is not an image"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_formats_are_refused_by_their_names(monkeypatch, data, sentence):
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(ValueError, match=sentence):
        load_image(data)


def test_ghostscript_is_not_started_for_an_image_that_pillow_opened(monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    opened = Image.open(io.BytesIO(ENDLESS_EPS))
    assert "of the format EPS" in refusal(opened)


def test_what_pillow_has_decoded_already_is_taken_whatever_it_was():
    opened = Image.open(io.BytesIO(encode(plain(), "PCX")))
    opened.load()
    assert load_image(opened).getpixel((3, 3)) == COLOR


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO], ids=lambda wrap: wrap.__name__)
def test_bytes_in_every_wrapping(wrap):
    assert load_image(wrap(encode(plain()))).getpixel((3, 3)) == COLOR


def test_paths_and_open_files(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(encode(plain()))
    with open(path, "rb") as file:
        for source in (path, str(path), file, file):  # the second time from its end
            assert load_image(source).getpixel((3, 3)) == COLOR
    with tempfile.SpooledTemporaryFile() as file:
        file.write(encode(plain()))
        assert load_image(file).getpixel((3, 3)) == COLOR


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (None, "Expected a picture as a path, bytes, .* but got None"),
        (7, "but got an int"),
        ([1, 2], "but got a list"),
        ("", "There is no picture at ''"),
        ("a" * 5000, f"There is no picture at '{'a' * 60}…{'a' * 60}'"),
        ("a\nb\0.png", "There is no picture at 'a.b..png'"),
        (Path("a" * 300), "There is no picture at 'aaa"),
        ("https://example.org/cat.png", "'https://example.org/cat.png' is an address, and pictures are not fetched"),
        ("data:image/png;base64,AAAA", "is an address"),
        (io.StringIO("text"), "open it for reading bytes, as in open"),
        (io.BytesIO(b""), "is not an image"),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_what_is_no_picture_is_told_in_a_sentence(source, sentence):
    with pytest.raises(ValueError, match=sentence):
        load_image(source)
    refusal(source)


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(encode(plain()))
    with open(path) as text:
        assert "reading bytes" in refusal(text)
    with open(path, "rb") as closed:
        pass
    assert refusal(closed) == "The file cannot be read: read of closed file."
    with open(tmp_path / "new.png", "wb") as file:
        assert refusal(file).startswith("The file cannot be read: ")
    with open(tmp_path / "notes.txt", "wb+") as file:
        file.write(b"no picture")
        assert "notes.txt' is not an image" in refusal(file)


def test_a_large_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_BYTES", 2_000_000)
    path = tmp_path / "large.png"
    path.write_bytes(bytes(2_000_001))
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        assert "is too large: more than 2 MB" in refusal(source)


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG", "AVIF"])
def test_of_thousands_of_frames_one_is_decoded(monkeypatch, format):
    frames = [
        Image.new("RGB", (8, 8), (200, 10, number % 200))
        for number in range(400 if format in ("TIFF", "AVIF") else 3000)
    ]
    data = encode(frames[0], format, save_all=True, append_images=frames[1:], lossless=True)
    monkeypatch.setattr(ImageFile.ImageFile, "seek", lambda *_: pytest.fail("looked at another frame"), raising=False)
    assert np.abs(np.array(load_image(data).getpixel((4, 4))) - (200, 10, 0)).max() <= 4


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("load", [load_image, load_editable])
@pytest.mark.parametrize("behind", [False, True], ids=["before the pixels", "behind them"])
@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 5_000_000)),
        chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(b"a" * 5_000_000)),
        chunk(b"tEXt", b"k\0" + b"a" * 70_000_000),
        chunk(b"iCCP", b"k\0\0" + zlib.compress(b"a" * 5_000_000)),
        chunk(b"tEXt", b"damaged")[:-1] + b"\0",
    ],
    ids=["zTXt", "iTXt", "tEXt", "iCCP", "damaged"],
)
def test_words_and_profiles_of_a_png_do_no_harm(extra, behind, load):
    data = encode(plain())
    at = len(data) - 12 if behind else 33
    picture = load(data[:at] + extra + data[at:])
    assert (picture.size, picture.getpixel((3, 3))) == ((16, 12), COLOR)


def test_pixels_of_a_png_still_have_to_be_whole():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encode(noise)
    middle = len(data) // 2
    damaged = data[:33] + chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 5_000_000)) + data[33:middle]
    assert "The picture" in refusal(damaged)


def gif_comment(megabytes: int) -> bytes:
    """Pillow puts a comment together in quadratic time."""
    data = encode(Image.new("P", (8, 8)), "GIF")
    start = 13 + (3 * (2 << (data[10] & 7)) if data[10] & 128 else 0)
    return data[:start] + b"!\xfe" + (b"\xff" + b"a" * 255) * (4096 * megabytes) + b"\0" + data[start:]


def chunks(count: int) -> bytes:
    data = encode(plain())
    return data[:33] + chunk(b"abCd", b"") * count + data[33:]


def filled(count: int) -> bytes:
    """A JPEG whose marker has that many bytes of filling, which Pillow reads one by one."""
    data = encode(plain(), "JPEG")
    return data[:2] + b"\xff" * count + data[2:]


@pytest.mark.parametrize("data", [gif_comment(40), chunks(3_000_000), filled(20_000_000)], ids=["GIF", "PNG", "JPEG"])
def test_reading_ends_when_it_takes_too_long(monkeypatch, data):
    monkeypatch.setattr(image_files, "_MOST_SECONDS", 0.2)
    assert "takes too long to read" in refusal(data)


def scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is there many times."""
    data = encode(plain((64, 64)), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


def test_a_jpeg_has_a_hundred_scans_at_most():
    assert load_image(scans(80)).getpixel((9, 9)) == load_image(scans(0)).getpixel((9, 9))
    assert "takes too long to read" in refusal(scans(100))


def test_scans_are_counted_in_the_picture_alone():
    data = encode(plain(), "JPEG", comment=b"\xff\xda" * 200)
    assert load_image(data + b"\xff\xda\0\2" * 200).size == (16, 12)


def test_a_jpeg_of_very_many_segments_is_refused():
    data = encode(plain(), "JPEG")
    assert load_image(data[:2] + b"\xff\xfe\0\2" * 5000 + data[2:]).size == (16, 12)
    assert "takes too long" in refusal(data[:2] + b"\xff\xfe\0\2" * 20_000 + data[2:])


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_of_very_many_tiles_is_refused_before_pillow_lists_them(order):
    count = 400_000
    entries = [(256, 4, 1, 8000), (257, 4, 1, 8000), (258, 3, 1, 8), (322, 4, 1, 1), (323, 4, 1, 1), (324, 4, count, 8)]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(entries))
    data = head + b"".join(struct.pack(order + "HHII", *entry) for entry in entries) + bytes(4 + 4 * count)
    assert "takes too long" in refusal(data)


@pytest.mark.parametrize(
    ("head", "pixels", "expected"),
    [
        (b"P5 3 1 4095\n", struct.pack(">3H", 0, 2048, 4095), [0, 128, 255]),
        (b"P5 3 1 1023\n", struct.pack(">3H", 0, 512, 2000), [0, 128, 255]),  # above white is white
        (b"P5 3 1 4095\n", struct.pack(">3H", 0, 16, 160), [0, 1, 10]),  # the file says what is white
        (b"P5 3 1 3\n", bytes([0, 1, 3]), [0, 85, 255]),
        (b"P6 1 1 1000\n", struct.pack(">3H", 0, 500, 1000), [0, 128, 255]),
        (b"P5 3 1 255\n", bytes([0, 1, 3]), [0, 1, 3]),
    ],
)
def test_netpbm_of_any_depth(head, pixels, expected):
    values = np.asarray(load_image(head + pixels)).reshape(-1, 3)
    np.testing.assert_array_equal(values[:, 0] if len(values) > 1 else values[0], expected)


def test_a_netpbm_of_twelve_bits_is_not_read_in_a_loop_over_pixels(monkeypatch):
    monkeypatch.setattr(image_files, "_MOST_SECONDS", 0.5)
    assert load_image(b"P5 2000 1500 4095\n" + b"\x0f\xff" * 3_000_000).getpixel((7, 7)) == (255, 255, 255)
    assert "too few pixels" in refusal(b"P5 2000 1500 4095\n" + b"\x0f\xff" * 2_999_999)


def test_damaged_files_are_told_in_a_sentence():
    chance = random.Random(0)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))
    files = [encode(noise.convert(mode), format) for format in FORMATS for mode in ("RGB", "L", "1")]
    files += [encode(noise.convert(mode), "PNG") for mode in ("P", "LA", "RGBA", "I;16")]
    read, told = 0, []
    for _ in range(600):
        data = bytearray(chance.choice(files))
        for _ in range(chance.choice((1, 2, 8))):
            at = chance.randrange(min(len(data), chance.choice((40, 200, len(data)))))
            data[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        for load in (load_image, load_editable):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    load(bytes(data))
                read += 1
            except ValueError as error:
                told.append(str(error))
    assert min(read, len(told)) > 100
    assert [each for each in told if not each.startswith("The picture ") or "\n" in each] == []


def test_a_name_is_on_one_line_and_short():
    assert named("a\tb\x1b[0m") == "'a?b?[0m'"
    assert named("x" * 500) == f"'{'x' * 60}…{'x' * 60}'"


def test_a_bad_picture_is_told_without_torch():
    code = (
        "import sys\nfrom groundingdino.inputs.image import load_image\n"
        "try: load_image('nope.png')\nexcept ValueError as error: print(error)\nprint('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[1] == "False"
    assert "There is no picture at 'nope.png'" in answer.stdout
