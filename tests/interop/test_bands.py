"""Band names in descriptions and file names."""

import pytest

from eocodec.errors import BandError
from eocodec.interop.bands import parse_band, stack_bands, stack_order
from eocodec.sensors import S2_BAND_NAMES


@pytest.mark.parametrize(
    ("text", "band"),
    [
        ("B02", "B02"),
        ("b2", "B02"),
        ("B8A", "B8A"),
        ("b8a", "B8A"),
        ("T32TMT_20200101T101010_B8A_20m", "B8A"),
        ("L2A_T29UNU_20221005T114359_B02_60m", "B02"),
        ("B4, central wavelength 665 nm", "B04"),
        ("B10", "B10"),
        ("B123", None),
        ("AB02", None),
        ("B00", None),
        ("B13", None),
        ("nir", None),
        ("", None),
        (None, None),
    ],
)
def test_parse_band(text, band):
    assert parse_band(text) == band


def test_order_inverts_the_file_order():
    shuffled = S2_BAND_NAMES[::-1]
    order, note = stack_order("a.tif", shuffled)
    assert [shuffled[k] for k in order] == list(S2_BAND_NAMES)
    assert note is None


def test_without_descriptions_the_models_order_is_assumed_and_said():
    order, note = stack_order("a.tif", [None] * 12)
    assert order == tuple(range(12))
    assert "a.tif" in note
    assert "B01 B02" in note


def test_stated_names_win():
    order, note = stack_order("a.tif", ["gray"] + [None] * 11, S2_BAND_NAMES[::-1])
    assert order == tuple(range(11, -1, -1))
    assert note is None


@pytest.mark.parametrize(
    ("descriptions", "words"),
    [
        (["B04", "B03", "B02"], ["3 bands", "takes 12"]),
        ([*S2_BAND_NAMES, "B10"], ["13 bands", "B10 is not among them"]),
        ([None], ["1 band,"]),
        ([f"band {k}" for k in range(12)], ["order is unknown", "'band 0'", "--bands"]),
        ([*S2_BAND_NAMES[:-1], "B01"], ["order is unknown", "B12 missing", "--bands"]),
        ([*S2_BAND_NAMES[:-1], None], ["order is unknown", "--bands"]),
        ([*S2_BAND_NAMES[:-1], "B10"], ["'B10' unknown"]),
    ],
)
def test_wrong_bands_are_named(descriptions, words):
    with pytest.raises(BandError) as caught:
        stack_order("a.tif", descriptions)
    assert all(word in str(caught.value) for word in words), caught.value


def test_too_few_stated_names():
    with pytest.raises(BandError, match="missing"):
        stack_order("a.tif", [None] * 12, ["B01", "B02"])


def test_some_of_the_bands():
    found = stack_bands("a.tif", ["B8A", "b2", "B12"])
    assert found.present == ("B02", "B8A", "B12")
    assert found.places == found.order == (1, 0, 2)
    assert found.extra == {}
    assert "a.tif has no B01 B03 B04 B05 B06 B07 B08 B09 B11; they stay nodata" in found.note


def test_some_of_the_bands_and_others():
    found = stack_bands("a.tif", ["B04", "scene class", "B02", "B10"])
    assert found.present == ("B02", "B04")
    assert found.places == (2, 0)
    assert found.order == (1, 0)
    assert found.extra == {1: "scene_class", 3: "B10"}


def test_all_bands_and_one_without_a_name():
    found = stack_bands("a.tif", [*S2_BAND_NAMES[:3], None, *S2_BAND_NAMES[3:]])
    assert found.present == S2_BAND_NAMES
    assert found.extra == {3: "band_4"}
    assert found.note is None


def test_stated_names_of_some_bands():
    assert stack_bands("a.tif", [None] * 4, ["B02", "B03", "B04", "B08"]).present == (
        "B02",
        "B03",
        "B04",
        "B08",
    )
    # As many as the model has, which only a statement makes believable.
    assert stack_bands("a.tif", [None] * 12, [*S2_BAND_NAMES[:-1], "B10"]).extra == {11: "B10"}


@pytest.mark.parametrize(
    ("descriptions", "stated", "words"),
    [
        ([*S2_BAND_NAMES[:-1], "B10"], None, "'B10' unknown"),
        (["B02", "B03", "B03"], None, "3 bands"),
        (["B02", None, "B04"], None, "3 bands"),
        (["red", "green"], None, "2 bands"),
        ([None] * 4, ["B02", "B03", "B04"], "4 bands"),
    ],
)
def test_names_that_do_not_say_enough(descriptions, stated, words):
    with pytest.raises(BandError, match=words):
        stack_bands("a.tif", descriptions, stated)
