import pytest

from groundingdino.editing.margins import Margins


@pytest.mark.parametrize(
    ("value", "sides"),
    [
        ("25%", ("25%",) * 4),
        ("64", (64,) * 4),
        (64, (64,) * 4),
        ("0, 0, 12.5 %, 100", (0, 0, "12.5%", 100)),
        ([0, 10, "5%", 0], (0, 10, "5%", 0)),
        (("1", 0, 0, 0), (1, 0, 0, 0)),
        (Margins(right=3), (0, 0, 3, 0)),
    ],
)
def test_margins_are_read_as_they_are_typed_and_sent(value, sides):
    assert Margins.parse(value).sides == sides
    assert Margins.parse(list(sides)) == Margins.parse(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a",
        "25 px",
        "-3",
        -3,
        1.5,
        True,
        None,
        "101%",
        "1000%",
        "1e2%",
        "%",
        "1,2",
        "1,2,3,4,5",
        [1, 2],
        {},
        [[1]] * 4,
        "٣",
    ],
)
def test_what_is_no_margin_is_refused_in_a_sentence(value):
    with pytest.raises(ValueError, match=r"^Expected a? ?margin.*\.$"):
        Margins.parse(value)


@pytest.mark.parametrize("value", [0, "0", "0%", "0,0,0%,0", [0, 0, 0, 0]])
def test_a_picture_has_to_grow(value):
    with pytest.raises(ValueError, match="The picture would not grow"):
        Margins.parse(value)


@pytest.mark.parametrize(
    ("value", "size", "pixels"),
    [
        ("25%", (200, 100), (50, 25, 50, 25)),
        ("100%", (3, 2), (3, 2, 3, 2)),
        ("0,0,1,0", (64, 48), (0, 0, 1, 0)),
        ("0.5%,7,0,0", (200, 100), (1, 7, 0, 0)),
    ],
)
def test_shares_are_of_width_and_height(value, size, pixels):
    margins = Margins.parse(value)
    assert margins.pixels(size) == pixels
    assert margins.grown(size) == (size[0] + pixels[0] + pixels[2], size[1] + pixels[1] + pixels[3])


@pytest.mark.parametrize(
    ("value", "size", "message"),
    [
        ("65,0,0,0", (64, 48), "64 x 48 pixels grows on each side by at most as much as it has, but 65"),
        (49, (64, 48), "but 49 pixels were asked for where it has 48"),
        ("1%", (20, 20), "would not grow by a pixel"),
        ("100%", (4000, 3000), "would have 108 megapixels: expected at most 64"),
    ],
)
def test_what_is_too_much_or_too_little_for_a_picture_is_told(value, size, message):
    with pytest.raises(ValueError, match=message):
        Margins.parse(value).pixels(size)
