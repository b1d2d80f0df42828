import os
import sys
import threading

import numpy as np
import pytest

from eocodec.bench import classical
from eocodec.bench.base import measure, unpack
from eocodec.bench.datasets import dev_tiles, load_tile, recorded_points
from eocodec.bench.demo_scene import demo_scene
from eocodec.errors import InputError, MissingDependency

pytest.importorskip("imagecodecs")
pytest.importorskip("av")


@pytest.fixture(scope="module")
def image():
    return demo_scene(128, 96, seed=3, nodata=0)


@pytest.mark.parametrize("make", [classical.Jpeg2000, classical.X265, classical.SvtAv1])
def test_rate_and_quality_go_together(make, image):
    codec = make()
    ends = [measure(codec, image, "scene", codec.settings[i]) for i in (0, -1)]
    worse, better = sorted(ends, key=lambda point: point.bits)
    assert worse.bits < better.bits / 2
    assert worse.psnr < better.psnr - 6
    assert better.psnr > 42
    decoded = codec.decode(codec.encode(image, codec.settings[0]))
    assert decoded.dtype == np.int16
    assert decoded.shape == image.shape


def test_jpeg2000_reaches_the_psnr_asked_for(image):
    for target in (36.0, 45.0):
        point = measure(classical.Jpeg2000(), image, "scene", target)
        assert abs(point.psnr - target) < 1.0


def test_header_correction_is_169_bytes_a_band_and_the_framing(image):
    codec = classical.Jpeg2000()
    data = codec.encode(image, 40.0)
    streams = [codec.encode_plane(band, 40.0) for band in image]
    assert len(data) - codec.free_bytes(data) == sum(map(len, streams)) - 12 * 169
    assert measure(codec, image, "scene", 40.0).bits == 8 * (sum(map(len, streams)) - 12 * 169)


def test_bands_without_content_are_charged_all_the_same():
    codec, constant = classical.Jpeg2000(), np.full((12, 64, 64), 500, np.int16)
    data = codec.encode(constant, 30.0)
    assert max(map(len, unpack(data))) < classical.J2K_HEADER_BYTES
    assert len(data) - codec.free_bytes(data) == 12


def test_x265_stream_has_no_self_description(image):
    assert b"x265" not in classical.X265().encode(image, 30)


def test_slower_presets_have_names_of_their_own():
    assert classical.X265().name == "x265"
    assert classical.X265(preset="veryslow").name == "x265-veryslow"
    assert classical.SvtAv1(preset=2).name == "av1-p2"


@pytest.mark.parametrize("make", [classical.Jpeg2000, classical.X265, classical.SvtAv1])
def test_series_come_back_as_series(make, image):
    codec = make()
    series = np.stack([image, image // 2])
    decoded = codec.decode(codec.encode(series, codec.settings[2]))
    assert decoded.shape == series.shape
    assert abs(decoded[1].mean() - series[1].mean()) < 0.2 * abs(decoded[0].mean() - decoded[1].mean())


def test_scale_of_av1_travels_in_the_streams(image):
    codec = classical.SvtAv1()
    dim, bright = (codec.decode(codec.encode(image // k, 20)) for k in (4, 1))
    assert abs(bright.mean() / dim.mean() - 4) < 0.1


@pytest.mark.parametrize("make", [classical.X265, classical.SvtAv1])
@pytest.mark.parametrize("shape", [(12, 63, 64), (12, 64, 62)])
def test_sizes_that_video_cannot_have(make, shape):
    with pytest.raises(InputError, match="even sides"):
        make().encode(np.zeros(shape, np.int16), 20)


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(MissingDependency, match=r"eocodec\[bench\]"):
        classical.Jpeg2000()


@pytest.mark.data
@pytest.mark.parametrize("tile", [0, 7])
@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (classical.Jpeg2000, (36, 45)),
        (classical.X265, (8, 24)),
        (classical.SvtAv1, (14, 38)),
    ],
)
def test_recorded_points_are_reproduced(real_data, make, settings, tile):
    path = dev_tiles(real_data)[tile]
    recorded = {(p.tile, p.codec, p.setting): p for p in recorded_points(real_data)}
    codec, image = make(), load_tile(path)
    for setting in settings:
        expected = recorded[path.stem, codec.name, float(setting)]
        found = measure(codec, image, path.stem, setting)
        assert found.bits == pytest.approx(expected.bits, rel=0.05)
        assert found.psnr == pytest.approx(expected.psnr, abs=0.1)


@pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="no real-time priorities here")
def test_no_thread_keeps_real_time_priority():
    ready, done = threading.Event(), threading.Event()

    def wait():
        ready.set()
        done.wait(10)

    thread = threading.Thread(target=wait)
    thread.start()
    ready.wait(10)
    number = thread.native_id
    try:
        os.sched_setscheduler(number, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        done.set()
        pytest.skip("this user may not give real-time priority")
    classical._at_ordinary_priority()
    found = os.sched_getscheduler(number)
    done.set()
    thread.join()
    assert found == os.SCHED_OTHER
