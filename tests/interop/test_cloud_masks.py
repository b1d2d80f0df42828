"""Cloud masks from files, classes and brightness, on the scenes' grid."""

import numpy as np
import pytest

from eocodec.errors import InputError, RasterError
from eocodec.interop import cloud_masks
from interop_support import write_stack


def scl(path, *planes):
    return write_stack(path, np.stack(planes).astype("uint8"), None)


@pytest.fixture
def planes():
    rng = np.random.default_rng(0)
    return rng.integers(0, 12, (3, 20, 30)).astype("uint8")


def test_a_raster_for_each_date(tmp_path, planes):
    files = [scl(tmp_path / f"{k}.tif", plane) for k, plane in enumerate(planes)]
    np.testing.assert_array_equal(cloud_masks.from_files(files, 3, (20, 30)), planes != 0)


def test_one_raster_with_a_band_for_each_date_and_classes_by_name(tmp_path, planes):
    found = cloud_masks.from_files([scl(tmp_path / "a.tif", *planes)], 3, (20, 30), ["cirrus", "snow"])
    np.testing.assert_array_equal(found, (planes == 10) | (planes == 11))


def test_coarser_masks_are_repeated(tmp_path, planes):
    found = cloud_masks.from_files([scl(tmp_path / "a.tif", *planes)], 3, (40, 60))
    np.testing.assert_array_equal(found, np.kron(planes != 0, np.ones((2, 2), bool)))


def test_a_mask_whose_size_is_no_divisor(tmp_path):
    plane = np.zeros((20, 30))
    plane[-1] = plane[:, 0] = 1
    found = cloud_masks.from_files([scl(tmp_path / "a.tif", plane)], 1, (39, 59))[0]
    expected = np.zeros((39, 59), bool)
    expected[37:] = expected[:, :2] = True  # centres of finer pixels within the coarser ones
    np.testing.assert_array_equal(found, expected)


def test_what_does_not_fit(tmp_path, planes):
    file = scl(tmp_path / "a.tif", *planes)
    with pytest.raises(InputError, match="3 masks for 4 dates"):
        cloud_masks.from_files([file], 4, (20, 30))
    with pytest.raises(RasterError, match="extents differ"):
        cloud_masks.from_files([file], 3, (40, 90))
    with pytest.raises(InputError, match="no class fog"):
        cloud_masks.from_files([file], 3, (20, 30), ["fog"])
    with pytest.raises(RasterError, match="does not exist"):
        cloud_masks.from_files([tmp_path / "no.tif"], 3, (20, 30))


@pytest.mark.parametrize("pixels", [0, 1, 3])
def test_growing(pixels):
    clouds = np.zeros((2, 12, 12), bool)
    clouds[0, 5, 6] = True
    clouds[1, 0, 0] = True
    found = cloud_masks.grow(clouds, pixels)
    y, x = np.mgrid[:12, :12]
    np.testing.assert_array_equal(found[0], abs(y - 5) + abs(x - 6) <= pixels)
    assert found[1].sum() == (pixels + 1) * (pixels + 2) // 2
    assert clouds.sum() == 2
