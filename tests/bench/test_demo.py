import numpy as np
import pytest
import rasterio
from bench_fakes import fake_decode_file, fake_encode_file
from click.testing import CliRunner

from eocodec.bench import demo
from eocodec.bench.demo_scene import DEMO_CRS, demo_scene
from eocodec.bench.mosaic import write_scene
from eocodec.errors import RasterError
from eocodec.sensors import S2_BAND_NAMES


def small(monkeypatch):
    monkeypatch.setattr(demo, "demo_scene", lambda nodata: demo_scene(96, 128, nodata=nodata))


def run(out, **kwargs):
    return demo.run_demo(out, encode=fake_encode_file, decode=fake_decode_file, **kwargs)


def test_made_up_scene_there_and_back(tmp_path, monkeypatch):
    small(monkeypatch)
    report = run(tmp_path / "out", quality=70.0)
    assert report.raw_bytes == 12 * 96 * 128 * 2
    assert report.coded_bytes == (tmp_path / "out" / "scene.tec").stat().st_size
    assert report.ratio == report.raw_bytes / report.coded_bytes
    assert report.difference.psnr > 40
    with rasterio.open(tmp_path / "out" / "scene.tif") as raster:
        assert raster.crs.to_string() == DEMO_CRS
        assert raster.descriptions == S2_BAND_NAMES
        assert raster.nodata == 0
        assert raster.transform.a == 10
    assert any("dB" in value for _, value in report.rows())


def test_picture_has_three_panels(tmp_path, monkeypatch):
    small(monkeypatch)
    report = run(tmp_path)
    with rasterio.open(report.picture) as raster:
        assert raster.driver == "PNG"
        picture = raster.read()
    assert picture.shape == (3, 96, 3 * 128 + 2 * demo.GAP)
    before, after, error = (picture[:, :, i * (128 + demo.GAP) :][:, :, :128] for i in range(3))
    assert before.std() > 20
    assert np.abs(before.astype(int) - after).mean() < 8
    assert 100 < np.median(error) < 155
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".png", ".tec", ".tif", ".tif"]


def test_own_scene_larger_than_the_panel_is_thinned_out(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "PANEL_SIDE", 50)
    write_scene(tmp_path / "mine.tif", demo_scene(100, 80))
    report = run(tmp_path / "out", source=tmp_path / "mine.tif")
    with rasterio.open(report.picture) as raster:
        assert raster.shape == (50, 3 * 40 + 2 * demo.GAP)
    assert report.coded.name == "mine.tec"


def test_a_missing_scene_is_named(tmp_path):
    with pytest.raises(RasterError, match=r"absent\.tif"):
        run(tmp_path, source=tmp_path / "absent.tif")


def test_all_nodata_still_has_a_picture(tmp_path):
    write_scene(tmp_path / "empty.tif", np.zeros((12, 64, 64), np.int16), 0)
    report = run(tmp_path / "out", source=tmp_path / "empty.tif")
    with rasterio.open(report.picture) as raster:
        assert raster.read()[:, :, :64].max() == 0


def test_command_prints_the_figures(tmp_path, monkeypatch):
    from eocodec.cli.demo import demo as command

    small(monkeypatch)
    real = demo.run_demo

    def run_with_fakes(out, **kwargs):
        return real(out, encode=fake_encode_file, decode=fake_decode_file, **kwargs)

    monkeypatch.setattr(demo, "run_demo", run_with_fakes)
    done = CliRunner().invoke(command, ["--out", str(tmp_path), "--quality", "60"])
    assert done.exit_code == 0, done.output
    for word in ("ratio", "PSNR", "encode", "decode", "picture"):
        assert word in done.output
