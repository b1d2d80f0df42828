import json

import pytest
from bench_fakes import fake_decode_file, fake_encode_file

from eocodec.bench import contest, speed
from eocodec.bench.contest import Contestant
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import native_mosaic, write_scene
from eocodec.bench.openjpeg_files import Parallel, decode_files, encode_files
from eocodec.bench.openjpeg_files import main as openjpeg_main
from eocodec.bench.pixels import compare_rasters
from eocodec.errors import RasterError


@pytest.fixture(scope="module")
def scene_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("speed") / "scene.tif"
    write_scene(path, demo_scene(128, 160, seed=5, nodata=0))
    return path


def test_runs_alternate_and_the_first_round_is_not_counted(tmp_path):
    log = []

    def action(name):
        def run(source, target):
            assert not target.exists()
            log.append(name)
            target.write_text(name)

        return run

    pair = [Contestant(n, action(f"{n}-e"), action(f"{n}-d")) for n in ("a", "b")]
    timings = contest.run_contest(pair, tmp_path / "in", tmp_path, runs=2)
    assert log == ["a-e", "a-d", "b-e", "b-d"] * 3
    assert len(timings["a"].encode_s) == len(timings["b"].decode_s) == 2


def test_medians_and_speeds():
    timings = contest.Timings([1.0, 9.0, 2.0], [0.5, 0.5, 4.0])
    found = timings.to_dict(megapixels=4.0)
    assert found["encode_mpixel_per_s"] == 2.0
    assert found["decode_mpixel_per_s"] == 8.0


@pytest.mark.parametrize("split", ["bands", "inside"])
def test_openjpeg_files_there_and_back(scene_path, tmp_path, split):
    pytest.importorskip("imagecodecs")
    parallel = Parallel(2, split)
    written = encode_files(scene_path, tmp_path / "jp2", 42.0, parallel)
    assert written == contest.size_of(tmp_path / "jp2")
    assert len(list((tmp_path / "jp2").glob("*.jp2"))) == 12
    decode_files(tmp_path / "jp2", tmp_path / "back.tif", parallel)
    assert compare_rasters(scene_path, tmp_path / "back.tif").psnr == pytest.approx(42, abs=1)


def test_openjpeg_program(scene_path, tmp_path):
    pytest.importorskip("imagecodecs")
    openjpeg_main(["encode", str(scene_path), str(tmp_path / "j"), "--psnr", "40", "--threads", "1"])
    openjpeg_main(["decode", str(tmp_path / "j"), str(tmp_path / "o.tif")])
    assert compare_rasters(scene_path, tmp_path / "o.tif").psnr == pytest.approx(40, abs=1)


def test_openjpeg_is_tuned_to_our_psnr_and_both_are_reported(scene_path, tmp_path, monkeypatch):
    pytest.importorskip("imagecodecs")
    pytest.importorskip("torch")

    def encode(source, target):
        fake_encode_file(source, target, model="fake", quality=40.0)

    ours = Contestant(speed.OURS, encode, fake_decode_file, ".tec")
    monkeypatch.setattr(speed, "_ours_warm", lambda options: ours)
    monkeypatch.setattr(speed, "_ours_process", lambda options: ours)
    options = speed.SpeedOptions(model="fake", quality=40.0, threads=1, runs=1, input=scene_path, video=False)
    result = speed.run_speed(options)
    files = result["files"]
    assert files["openjpeg"]["psnr"] == pytest.approx(files["eocodec"]["psnr"], abs=0.3)
    for name in ("warm_process", "whole_process"):
        ours_speed = result[name]["eocodec"]["encode_mpixel_per_s"]
        theirs = result[name]["openjpeg"]["encode_mpixel_per_s"]
        ratio = result[name]["ratio_ours_over_openjpeg"]["encode"]
        assert ratio == pytest.approx(ours_speed / theirs, rel=0.05)
    assert result["meta"]["rows"] == 128
    assert len(speed.table_rows(result)[1]) == 4
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(("whole", "tolerance"), [(False, speed.PSNR_TOLERANCE), (True, 0.35)])
def test_a_setting_is_found_for_a_psnr(whole, tolerance):
    tried = []

    def quality_of(setting):
        tried.append(setting)
        return 62 - 0.6 * setting - 0.004 * setting**2

    found = speed.matching(quality_of, 45.0, 10.0, -0.9, whole=whole)
    assert found in tried
    assert quality_of(found) == pytest.approx(45, abs=tolerance)
    assert len(tried) <= speed.TRIES + 1
    assert not whole or all(setting == int(setting) for setting in tried)


def test_video_encoders_take_part_in_the_warm_process(scene_path, monkeypatch):
    pytest.importorskip("av")
    pytest.importorskip("imagecodecs")
    pytest.importorskip("torch")
    ours = Contestant(
        speed.OURS, lambda s, t: fake_encode_file(s, t, model="fake", quality=40.0), fake_decode_file
    )
    monkeypatch.setattr(speed, "_ours_warm", lambda options: ours)
    options = speed.SpeedOptions(model="x/fake.safetensors", threads=1, runs=1, input=scene_path)
    result = speed.run_speed(options)
    assert "whole_process" not in result
    for name in ("x265", "av1"):
        assert result["files"][name]["psnr"] == pytest.approx(result["files"]["eocodec"]["psnr"], abs=0.8)
        assert result["warm_process"][f"ratio_ours_over_{name}"]["encode"] > 0
        assert name in result["meta"]["settings"]
    header, rows = speed.table_rows(result)
    assert all(len(row) == len(header) == 5 for row in rows)


def test_scenes_of_other_bands_are_refused(tmp_path):
    with pytest.raises(RasterError):
        speed.run_speed(speed.SpeedOptions(input=tmp_path / "absent.tif"))


def test_rasters_of_other_sizes_are_not_compared(scene_path, tmp_path):
    write_scene(tmp_path / "b.tif", demo_scene(64, 160))
    with pytest.raises(RasterError, match="expected"):
        compare_rasters(scene_path, tmp_path / "b.tif")


def test_difference_leaves_nodata_out(tmp_path):
    scene = demo_scene(64, 96, seed=1)
    other = scene.copy()
    other[:, scene[0] == 0] = 500
    other[3, 0, 0] += 7
    write_scene(tmp_path / "a.tif", scene, 0)
    write_scene(tmp_path / "b.tif", other, 0)
    found = compare_rasters(tmp_path / "a.tif", tmp_path / "b.tif")
    assert found.max_error == 7
    assert found.samples == (scene != 0).sum() < scene.size
    write_scene(tmp_path / "c.tif", scene, 0)
    assert compare_rasters(tmp_path / "a.tif", tmp_path / "c.tif").psnr == float("inf")


def test_mosaic_needs_scenes(tmp_path):
    with pytest.raises(RasterError, match="enough scenes"):
        native_mosaic(64, 64, tmp_path)


@pytest.mark.data
def test_mosaic_of_real_scenes_is_filled(real_data):
    mosaic = native_mosaic(96, 900, real_data)
    assert mosaic.shape == (12, 96, 900)
    assert (mosaic[1] > 0).all()
