"""Every codec of the benchmark gives back what it should, and the registry finds it."""

import sys
import types

import numpy as np
import pytest

from eocodec.bench import codecs, klt, native, stills
from eocodec.bench.base import PSNR_PEAK, measure, pack, unpack
from eocodec.bench.demo_scene import demo_scene
from eocodec.errors import BandError, InputError

pytest.importorskip("imagecodecs")
pytest.importorskip("av")


@pytest.fixture(scope="module")
def image():
    return demo_scene(64, 96, seed=5, nodata=0)


@pytest.mark.parametrize("parts", [[b"a"], [b"", b"bc", b""], [b"x" * 300, b"y"]])
def test_packing_is_undone(parts):
    assert unpack(pack(parts)) == parts


@pytest.mark.parametrize("make", [stills.JpegXlLossless, stills.JpegLs, stills.ZstdPredictor])
def test_lossless_codecs_are_lossless(make, image):
    series = np.stack([image, -image])
    for array in (image, series):
        decoded = make().decode(make().encode(array, 0))
        assert decoded.dtype == np.int16
        np.testing.assert_array_equal(decoded, array)
    assert make().bound(0) == 0


@pytest.mark.parametrize(
    "make",
    [stills.JpegXl, stills.Jpeg, stills.WebP, klt.KltJpeg2000, klt.KltX265],
    ids=lambda make: make.name,
)
def test_lossy_codecs_trade_bits_for_quality(make, image):
    codec = make()
    ends = [measure(codec, image, "scene", codec.settings[i]) for i in (0, -1)]
    worse, better = sorted(ends, key=lambda point: point.bits)
    assert worse.bits < better.bits / 2
    assert worse.psnr + 4 < better.psnr
    series = np.stack([image, image // 2])
    decoded = codec.decode(codec.encode(series, codec.settings[len(codec.settings) // 2]))
    assert decoded.shape == series.shape
    assert decoded.dtype == np.int16


def test_components_carry_the_variance_and_their_side_information_is_counted(image):
    everything = klt.transform(image, 0.0)
    back = klt.invert(everything.side_information(), everything.values, 12)
    assert np.abs(back - image).max() <= 2  # axes are sent as 16-bit integers
    few = klt.transform(image, 1e5)
    assert few.values.shape[1] < 12
    assert len(few.side_information()) == 2 * 12 * (1 + few.values.shape[1])
    assert len(klt.KltJpeg2000().encode(image, 36)) > len(few.side_information())


@pytest.mark.parametrize("phase", [(0, 0), (1, 0), (0, 1)])
def test_interpolated_bands_go_back_to_their_native_planes(phase):
    size = [native.interpolation(n, 2, p).shape[1] for n, p in zip((64, 80), phase, strict=True)]
    coarse = np.random.default_rng(0).integers(0, 4000, (2, *size)).astype(float)
    fine = native.refine(coarse, 2, phase, (64, 80))
    assert native.best_phase(fine, 2) == phase
    again = native.refine(native.coarsen(fine, 2, phase), 2, phase, (64, 80))
    np.testing.assert_allclose(again, fine, atol=1e-6)


def test_native_planes_cost_fewer_bits_where_bands_are_interpolated():
    image = demo_scene(132, 132, seed=1, nodata=0)
    for factor in (2, 6):
        bands = native._bands(factor)
        coarse = native.coarsen(image[bands], factor, (0, 0))
        image[bands] = np.rint(native.refine(coarse, factor, (0, 0), (132, 132)))
    plain, wrapped = stills.JpegLs(), native.Native(stills.JpegLs())
    assert len(wrapped.encode(image, 0)) < 0.8 * len(plain.encode(image, 0))
    decoded = wrapped.decode(wrapped.encode(image, 0))
    assert 10 * np.log10(PSNR_PEAK**2 / np.square(decoded.astype(float) - image).mean()) > 60
    with pytest.raises(BandError):
        wrapped.encode(image[:10], 0)


def test_groups_and_names_choose_codecs():
    names = [entry.name for entry in codecs.select(("j2k", "lossless"))]
    assert names == ["j2k", "jxl-lossless", "jpegls", "zstd"]
    assert {"x265", "av1", "sperr"} < {entry.name for entry in codecs.select(("default",))}
    assert {entry.name for entry in codecs.select(("strong",))} == {
        *("x265-slower", "x265-veryslow", "av1-p2", "av1-p1", "av1-p0")
    }
    everything = codecs.select(("all",))
    assert all(entry.group in codecs.GROUPS for entry in everything)
    with pytest.raises(InputError, match="unknown codec flif"):
        codecs.select(("j2k", "flif"))


def test_every_codec_has_the_name_it_is_found_by():
    for entry in codecs.CLASSICAL:
        assert entry.make().name == entry.name


def test_published_models_are_found_where_they_are_installed(monkeypatch):
    torch = pytest.importorskip("torch")

    class Doubler:
        """Stands in for a model: keeps bytes of half the samples' precision."""

        def eval(self):
            return self

        def compress(self, x):
            return {"strings": [[x.numpy().astype(np.float16).tobytes()]], "shape": x.shape, "bits": 0}

        def decompress(self, strings, shape, bits):
            samples = np.frombuffer(strings[0][0], np.float16).astype(np.float32)
            return torch.from_numpy(samples.reshape(shape))

    module = types.ModuleType("terracodec")
    for name in ("terracodec_v1_fp_s2l2a", "terracodec_v1_elic_s2l2a", "terracodec_v1_tt_s2l2a"):
        setattr(module, name, lambda pretrained, compression: Doubler())
    monkeypatch.setitem(sys.modules, "terracodec", module)
    monkeypatch.setattr(codecs.importlib.util, "find_spec", lambda name: module)
    found = [entry.make() for entry in codecs.select(("published",))]
    assert len(found) == 3
    image = demo_scene(32, 32, nodata=0)
    for codec in found:
        for array in (image, np.stack([image, image])):
            data = codec.encode(array, codec.settings[0])
            assert np.abs(codec.decode(data).astype(int) - array).max() < 8
            assert len(data) - codec.free_bytes(data) == 2 * array.size
