"""The recipes on xarray and stores do what they say: their blocks run in their order, on made-up scenes."""

import os
import re
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import write_scene
from eocodec.bench.range_server import serve

xr = pytest.importorskip("xarray", reason="xarray is not installed (extra xarray)")
for needed in ("dask", "rioxarray", "fsspec"):
    pytest.importorskip(needed, reason=f"{needed} is not installed (extras xarray, remote)")

RECIPES = Path(__file__).resolve().parents[1] / "docs" / "recipes"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SITE = "https://data.example.com"
SIDE = 160
BANDS = 12


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """An empty folder to run in."""
    import torch

    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scene(date):
    """Write `scene_<date>.tif`; returns its pixels."""
    pixels = demo_scene(SIDE, SIDE, seed=int(date) % 100, nodata=0)
    write_scene(Path(f"scene_{date}.tif"), pixels, 0)
    return pixels


def follow(name, address=SITE):
    """Run the blocks of a recipe; the names of one Python block are not there in the next."""
    for language, text in BLOCK.findall((RECIPES / name).read_text()):
        code = text.replace(SITE, address)
        if language == "python":
            exec(compile(code, f"{name}: {code[:40]!r}", "exec"), {"__name__": "__main__"})
        else:
            assert language == "shell", language
            path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
            environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                ["bash", "-euc", code], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


def close_enough(found, pixels):
    """Within what quality 60 is good for; nodata where it was."""
    absent = pixels == 0
    assert np.array_equal(np.isnan(found), absent)
    error = np.where(absent, 0, found - pixels)
    assert np.sqrt(np.mean(error**2)) < 100


@pytest.mark.filterwarnings("ignore:Use `@` matmul")
def test_a_cube_and_a_date_appended(capsys):
    first = [scene(date) for date in ("20230501", "20230506")]
    follow("cube.md")
    said = capsys.readouterr().out
    assert "2023-05-06" in said
    assert "EPSG:32633 865 nm" in said
    chunks = {path: path.read_bytes() for path in Path("cube.zarr/dn/c").rglob("*") if path.is_file()}
    assert sum(map(len, chunks.values())) * 4 < sum(pixels.nbytes for pixels in first)
    first.append(scene("20230511"))
    follow("append.md")
    assert "['2023-05-01', '2023-05-06', '2023-05-11']" in capsys.readouterr().out
    assert all(path.read_bytes() == data for path, data in chunks.items())
    with xr.open_dataset("cube.zarr", engine="eocodec") as cube:
        assert cube.dn.dims == ("time", "band", "y", "x")
        for k, pixels in enumerate(first):
            close_enough(cube.dn.isel(time=k).values, pixels)
    with xr.open_dataset("series.zarr", engine="eocodec") as series:
        assert series.dn.encoding["chunks"][0] == 12
        assert series.sizes["time"] == 2
        close_enough(series.dn.isel(time=1).values, first[1])


@pytest.mark.filterwarnings("ignore:Use `@` matmul")
def test_object_stores(capsys, monkeypatch):
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed (extra remote)")
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anyone")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("archive")
        pixels = scene("20230501")
        follow("s3.md")
        said = capsys.readouterr().out
        assert "'band': 12, 'y': 100, 'x': 100" in said
        assert "EPSG:32633" in said
        for name in ("scene.zarr", "scene.tec"):
            with xr.open_dataset(f"s3://archive/{name}", engine="eocodec") as found:
                close_enough(found.dn.values, pixels)
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_window_over_http(capsys, workplace):
    pixels = scene("20230501")
    subprocess.run(
        [str(Path(sysconfig.get_path("scripts")) / "eocodec"), "encode", "scene_20230501.tif", "scene.tec"],
        check=True,
        capture_output=True,
    )
    with serve(workplace) as traffic:
        follow("http.md", traffic.address)
        # Each block opens the file anew, which so small comes whole with the first request.
        assert len(traffic.requests) == 2
    said = capsys.readouterr().out
    means = np.array([float(word) for word in re.findall(r"[\d.]+", said.partition("]")[0])])
    expected = np.where(pixels == 0, np.nan, pixels)[:, 50:150, 50:150]
    assert means.shape == (BANDS,)
    assert np.allclose(means, np.nanmean(expected, axis=(1, 2)), rtol=0.05)
    assert f"({BANDS}, 100, 100)" in said
