import builtins
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageDraw

from groundingdino.inputs.image import content_hash, load_editable, load_image
from groundingdino.inputs.image_files import MAX_PIXELS

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def quadrants() -> Image.Image:
    """4 x 6 pixels, each quadrant of its own colour: red, green / blue, white."""
    pixels = np.zeros((6, 4, 3), np.uint8)
    pixels[:3, :2], pixels[:3, 2:], pixels[3:, :2], pixels[3:, 2:] = RED, GREEN, BLUE, WHITE
    return Image.fromarray(pixels)


@pytest.mark.parametrize("wrap", [bytes, Image.open, "path", np.asarray], ids=["bytes", "pillow", "path", "array"])
def test_every_source_gives_the_same_picture(wrap, tmp_path):
    data = encode(quadrants())
    if wrap == "path":
        source = tmp_path / "picture.png"
        source.write_bytes(data)
    else:
        source = data if wrap is bytes else wrap(Image.open(BytesIO(data)) if wrap is np.asarray else BytesIO(data))
    picture = load_image(source)
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(quadrants()))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_shows_white_as_white_and_black_as_black(mode):
    black_and_white = Image.fromarray(np.array([[0, 255]], np.uint8))
    via = {"PA": "P", "RGBa": "RGBA", "La": "LA", "HSV": "RGB"}.get(mode)
    image = (black_and_white.convert(via) if via else black_and_white).convert(mode)
    picture = np.asarray(load_image(image)).astype(int)
    assert np.abs(picture - [[[0, 0, 0], [255, 255, 255]]]).max() <= 1


def test_lab_is_converted_through_its_profile():
    grey = load_image(Image.new("LAB", (2, 2), (128, 128, 128)))
    red, green, blue = grey.getpixel((0, 0))
    assert max(red, green, blue) - min(red, green, blue) <= 2
    assert 110 < green < 130  # L* = 50 is the grey 119


def test_transparent_pixels_lie_on_white():
    clear_over_red, half_red = (255, 0, 0, 0), (255, 0, 0, 128)
    image = Image.new("RGBA", (2, 1))
    image.putdata([clear_over_red, half_red])
    picture = load_image(encode(image))
    assert picture.getpixel((0, 0)) == WHITE
    assert picture.getpixel((1, 0)) == (255, 127, 127)


def test_palette_transparency_lies_on_white():
    image = quadrants().quantize(4)
    picture = load_image(encode(image, transparency=image.getpixel((0, 0))))
    assert picture.getpixel((0, 0)) == WHITE
    assert picture.getpixel((3, 0)) == GREEN


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone_once(orientation):
    turns = [
        None,
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_90,  # a camera held so that it must be turned by 270 degrees
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_270,
    ]
    turn = turns[orientation - 1]
    stored = quadrants().transpose(turn) if turn is not None else quadrants()
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = load_image(encode(stored, exif=exif))
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(quadrants()))
    np.testing.assert_array_equal(np.asarray(load_image(picture)), np.asarray(quadrants()))


def test_orientation_beside_malformed_tags_still_counts():
    # A description that is a number: rewriting such a block, as Pillow's `exif_transpose` does, raises.
    tags = struct.pack("<HHIf", 0x010E, 11, 1, 0.5), struct.pack("<HHII", 0x0112, 3, 1, 6)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(tags) + bytes(4)
    assert load_image(encode(quadrants(), "JPEG", exif=exif)).size == (6, 4)


def test_damaged_exif_counts_as_upright():
    assert load_image(encode(quadrants(), "JPEG", exif=b"Exif\0\0garbage")).size == (4, 6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 257 * 100, 65535]], np.uint16), [0, 100, 255]),
        (np.array([[0, 257 * 100, 65535]], np.int32), [0, 100, 255]),
        (np.array([[-1000, 0, 1000]], np.int32), [0, 128, 255]),
        (np.array([[0, 2**20, 2**21]], np.int32), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 20, 200]], np.float32), [0, 20, 200]),
        (np.array([[0, 257 * 100, 65535]], np.float32), [0, 100, 255]),
        (np.array([[-1, 0, 1]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, 0.5, np.inf]], np.float32), [128, 128, 128]),
    ],
)
def test_more_than_eight_bits_are_scaled_not_clipped(values, expected):
    picture = np.asarray(load_image(Image.fromarray(values)))
    np.testing.assert_array_equal(picture[0, :, 0], expected)
    np.testing.assert_array_equal(picture[..., 0], picture[..., 2])


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32], ids=lambda dtype: dtype.__name__)
def test_a_grey_picture_is_as_bright_whatever_its_depth(bits, dtype):
    """Files of 16 bits hold what sensors of fewer gave, and seldom say so."""
    levels = np.array([[0, 51, 102, 204, 255]])
    values = np.rint(levels / 255 * (2**bits - 1)).astype(dtype)
    picture = np.asarray(load_image(Image.fromarray(values)))
    np.testing.assert_array_equal(picture[..., 0], levels)
    if dtype == np.uint16:
        for format in ("PNG", "TIFF"):
            np.testing.assert_array_equal(np.asarray(load_image(encode(Image.fromarray(values), format))), picture)


@pytest.mark.parametrize("mode", ["I", "I;16", "F"])
def test_eight_bits_stay_what_they_are_in_a_deeper_mode(mode):
    grey = Image.fromarray(np.array([[0, 20, 140, 201]], np.uint8))
    np.testing.assert_array_equal(np.asarray(load_image(grey.convert(mode))), np.asarray(load_image(grey)))


def test_sixteen_bit_png_file():
    values = np.array([[0, 257 * 7, 65535]], np.uint16)
    picture = np.asarray(load_image(encode(Image.fromarray(values))))
    np.testing.assert_array_equal(picture[0, :, 1], [0, 7, 255])


def test_cmyk_jpeg_keeps_its_colours():
    picture = load_image(encode(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=100))
    assert np.abs(np.array(picture.getpixel((8, 8))) - RED).max() <= 4


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_an_animated_file_the_first_frame_is_taken(format):
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, BLUE)]
    picture = load_image(encode(frames[0], format, save_all=True, append_images=frames[1:], lossless=True))
    assert picture.getpixel((4, 4)) == RED


def test_the_given_picture_stays_as_it_is():
    given = quadrants()
    load_image(given).paste((0, 0, 0), (0, 0, 4, 6))
    np.testing.assert_array_equal(np.asarray(given), np.asarray(quadrants()))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((2, 3), 7, np.uint8), (7, 7, 7)),
        (np.full((2, 3, 3), 7, np.uint8), (7, 7, 7)),
        (np.full((2, 3, 1), 7, np.uint8), (7, 7, 7)),
        (np.full((2, 3, 4), (255, 0, 0, 0), np.uint8), WHITE),
        (np.full((3, 2, 3), 7, np.uint8).transpose(1, 0, 2)[:, ::-1], (7, 7, 7)),  # not contiguous
    ],
)
def test_arrays(array, expected):
    picture = load_image(array)
    assert picture.size == (3, 2)
    assert picture.getpixel((1, 1)) == expected


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)], ids=str)
def test_tensors(channels, dtype):
    tensor = torch.zeros(*channels, 2, 3, dtype=dtype)
    white = 255 if dtype == torch.uint8 else 1
    tensor[..., 1, 2] = white
    if channels == (4,):
        tensor[3] = white  # opaque
    picture = load_image(tensor)
    assert picture.size == (3, 2)
    assert [picture.getpixel(place) for place in ((0, 0), (2, 1))] == [(0, 0, 0), WHITE]


def test_a_tensor_of_a_model_and_not_contiguous():
    tensor = torch.rand(2, 3, 3, requires_grad=True).permute(2, 0, 1)
    expected = (tensor.detach() * 255).round().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(np.asarray(load_image(tensor)), expected)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = encode(Image.new("RGB", (1, 1)))
    return data[:8] + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (b"", "The picture is not an image that Pillow can read"),
        (b"<html>not found</html>", "The picture is not an image that Pillow can read"),
        (encode(quadrants().resize((400, 600)))[:-300], "The picture is truncated or damaged"),
        (encode(quadrants().resize((400, 600)), "JPEG")[:-300], "The picture is truncated or damaged"),
        (encode(quadrants().resize((400, 600)), "WEBP")[:-300], "The picture (is truncated|cannot be read)"),
        (encode(quadrants(), "GIF")[:20], "The picture (is truncated|is not an image|cannot be read)"),
        (png_header(8001, 8000), "The picture is too large: 8001 x 8000 pixels, more than 64 megapixels"),
        (png_header(10_000, 10_000), "too large: 10000 x 10000 pixels, more than 64 megapixels"),  # Pillow only warns
        (png_header(60_000, 60_000), "The picture is too large: more than 64 megapixels"),  # Pillow refuses
        (png_header(0, 5), "The picture"),
        (Image.new("RGB", (0, 5)), "The picture is empty: its size is 0 x 5 pixels"),
        (Image.new("1", (8001, 8000)), "The picture is too large: 8001 x 8000 pixels"),
        (np.zeros((8001, 8000), np.uint8), "The picture is too large: 8000 x 8001 pixels"),
        (np.zeros((0, 5, 3), np.uint8), r"The picture is empty: its shape is \(0, 5, 3\)"),
        (np.zeros((2, 3, 3)), r"must be uint8 .* is float64 of shape \(2, 3, 3\)"),
        (np.zeros((2, 3, 2), np.uint8), r"must be .* is uint8 of shape \(2, 3, 2\)"),
        (np.zeros(5, np.uint8), r"must be .* is uint8 of shape \(5,\)"),
        (torch.zeros(1, 3, 4, 4), r"shape \(H, W\) or \(C, H, W\) .* this one is float32 of shape \(1, 3, 4, 4\)"),
        (torch.zeros(5, 4, 3), r"this one is float32 of shape \(5, 4, 3\)"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "this one is int64"),
        (torch.linspace(-2, 2.5, 48).reshape(3, 4, 4), r"must be in \[0, 1\], but this one goes from -2 to 2.5"),
        (torch.full((3, 4, 4), torch.nan), "goes from nan to nan"),
        (torch.zeros(3, 0, 4), r"The picture is empty"),
        (Image.new("F", (2, 2), float("nan")), "holds no finite value"),
        ("missing.png", "There is no picture at 'missing.png'"),
        (".", r"There is no picture at '\.'"),
    ],
)
def test_refused_with_one_sentence(source, sentence, recwarn):
    with pytest.raises(ValueError, match=sentence) as refusal:
        load_image(source)
    assert "\n" not in str(refusal.value)
    assert all(warning.category is Image.DecompressionBombWarning for warning in recwarn)


def test_a_file_is_named_when_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no picture")
    with pytest.raises(ValueError, match=r"notes\.txt' is not an image"):
        load_image(path)


def test_the_pixel_limit_is_allowed_itself():
    assert load_image(Image.new("1", (8000, MAX_PIXELS // 8000))).size == (8000, 8000)


@pytest.mark.parametrize("size", [(1, 50_000), (50_000, 1), (1, 2000), (20_000, 10)])
def test_pictures_of_a_single_line_are_opened(size):
    picture = load_image(encode(Image.new("RGB", size, RED)))
    assert (picture.size, picture.getpixel((0, 0))) == (size, RED)


def test_a_loaded_picture_is_not_loaded_or_hashed_again(monkeypatch):
    picture = load_image(quadrants())
    key = content_hash(picture)
    assert load_image(picture) is picture
    monkeypatch.setattr(Image.Image, "tobytes", lambda _: pytest.fail("hashed again"))
    assert content_hash(picture) == key


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.putpixel((1, 1), (1, 2, 3)),
        lambda image: image.paste((0, 0, 0), (0, 0, 1, 1)),
        lambda image: ImageDraw.Draw(image).point((2, 2), (9, 9, 9)),
        lambda image: image.putdata([(5, 5, 5)]),
    ],
)
def test_a_changed_picture_has_another_key(change):
    picture = load_image(quadrants())
    key = content_hash(picture)
    change(picture)
    assert content_hash(picture) != key
    assert content_hash(load_image(picture)) != key
    assert load_image(picture) is not picture


def test_a_picture_of_the_callers_own_is_hashed_each_time():
    own = quadrants().convert("RGB")
    pixels, key = own.load(), content_hash(own)
    pixels[0, 0] = (7, 7, 7)
    assert content_hash(own) != key


def test_an_editable_picture_keeps_its_transparency_upright():
    image = Image.new("RGBA", (3, 2), (10, 20, 30, 0))
    image.putpixel((0, 0), (1, 2, 3, 100))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # its left column is the upper row, from the right
    buffer = BytesIO()
    image.save(buffer, "PNG", exif=exif)
    editable = load_editable(buffer.getvalue())
    assert (editable.mode, editable.size) == ("RGBA", (2, 3))
    assert editable.getpixel((1, 0)) == (1, 2, 3, 100)
    assert editable.getpixel((0, 0)) == (10, 20, 30, 0)
    np.testing.assert_array_equal(load_image(editable), load_image(buffer.getvalue()))


@pytest.mark.parametrize("modes", [("LA",), ("LA", "La"), ("PA",), ("RGBa",)])
def test_every_kind_of_transparency_becomes_rgba(modes):
    image = Image.new("RGBA", (2, 2), (80, 80, 80, 255))
    for mode in modes:
        image = image.convert(mode)
    editable = load_editable(image)
    assert (editable.mode, editable.getpixel((1, 1))) == ("RGBA", (80, 80, 80, 255))


def test_an_editable_picture_without_transparency_is_loaded_as_ever(tmp_path):
    path = tmp_path / "plain.png"
    Image.new("L", (4, 3), 7).save(path)
    editable = load_editable(path)
    assert (editable.mode, editable.getpixel((0, 0))) == ("RGB", (7, 7, 7))
    assert load_editable(editable) is editable
    assert load_image(editable) is editable
    assert load_editable(np.full((3, 4, 3), 9, np.uint8)).getpixel((0, 0)) == (9, 9, 9)


@pytest.mark.parametrize("load", [load_image, load_editable])
@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF"])
def test_a_file_of_many_frames_is_closed_again(tmp_path, monkeypatch, load, kind):
    path, opened, open_file = tmp_path / "frames", [], builtins.open
    frames = [Image.new("P", (4, 3), index) for index in range(3)]
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], transparency=0)
    monkeypatch.setattr(builtins, "open", lambda *arguments: opened.append(open_file(*arguments)) or opened[-1])
    load(path)
    assert opened
    assert all(file.closed for file in opened)


def test_what_became_of_an_array_is_not_loaded_again():
    image = load_image(np.full((3, 4, 3), 9, np.uint8))
    assert load_image(image) is image


def test_a_picture_that_was_only_opened_can_be_edited(tmp_path):
    for mode, colour, became in (("RGB", (1, 2, 3), "RGB"), ("RGBA", (1, 2, 3, 4), "RGBA")):
        Image.new(mode, (4, 3), colour).save(tmp_path / "opened.png")
        editable = load_editable(Image.open(tmp_path / "opened.png"))
        assert (editable.mode, editable.getpixel((3, 2))) == (became, colour)


def test_a_deep_picture_is_edited_as_it_is_loaded(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.array([[0, 400], [65535, 9]], np.uint16)).save(path, transparency=400)
    with Image.open(path) as opened:
        assert opened.has_transparency_data
    np.testing.assert_array_equal(load_image(load_editable(path)), load_image(path))


@pytest.mark.parametrize("source", ["/no/such.png", "a" * 300, b"text", np.zeros((2, 2), float)])
def test_what_is_no_picture_cannot_be_edited_either(source):
    with pytest.raises(ValueError, match=r"\.$") as refusal:
        load_editable(source)
    assert "\n" not in str(refusal.value)
