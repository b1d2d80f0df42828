"""A window over HTTP: what the server counts is what was asked for, and both files give the same pixels."""

import urllib.request

import pytest

from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import write_scene
from eocodec.bench.range_server import serve
from eocodec.bench.window import WindowOptions, run_window, table_rows, windows

TILE, SIDE = 64, 256


def ask(address, asked=None, method="GET"):
    headers = {} if asked is None else {"Range": f"bytes={asked}"}
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers, method=method)) as answer:
        return answer.status, answer.headers.get("Content-Range"), answer.read()


def test_the_server_serves_ranges_and_counts(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(100)))
    with serve(tmp_path) as traffic:
        url = f"{traffic.address}/a"
        assert ask(url) == (200, None, bytes(range(100)))
        assert ask(url, "10-19") == (206, "bytes 10-19/100", bytes(range(10, 20)))
        assert ask(url, "90-") == (206, "bytes 90-99/100", bytes(range(90, 100)))
        assert ask(url, "-5") == (206, "bytes 95-99/100", bytes(range(95, 100)))
        assert ask(url, "-500")[2] == bytes(range(100))
        assert ask(url, method="HEAD") == (200, None, b"")
        with pytest.raises(urllib.error.HTTPError, match="416"):
            ask(url, "100-")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(url + "b")
        assert [method for method, _, _ in traffic.requests] == ["GET"] * 5 + ["HEAD", "GET", "GET"]
        assert traffic.sent == 100 + 10 + 10 + 5 + 100
    with serve(tmp_path, ranges=False) as traffic:
        assert ask(f"{traffic.address}/a", "10-19") == (200, None, bytes(range(100)))


def test_one_window_lies_in_a_tile_and_one_around_a_corner():
    found = windows((SIDE, SIDE), TILE, 10)
    touched = {name: {at.start // TILE, (at.stop - 1) // TILE} for name, (at, _) in found.items()}
    assert touched == {"inside a tile": {1}, "across four": {0, 1}}
    assert windows((30, 30), TILE, 20)["across four"] == (slice(10, 30), slice(10, 30))


def test_requests_are_counted_for_both(tmp_path):
    import torch

    torch.set_num_threads(1)
    write_scene(tmp_path / "scene.tif", demo_scene(SIDE, SIDE))
    result = run_window(WindowOptions(quality=90, tile=TILE, window=10, input=tmp_path / "scene.tif"))
    counts = {(read["file"], read["window"]): read for read in result["reads"]}
    assert all(counts[file, name]["open_requests"] >= 1 for file, name in counts)
    ours = [counts["tec", name] for name in ("inside a tile", "across four")]
    assert [read["open_requests"] for read in ours] == [1, 1]
    assert [read["read_requests"] for read in ours] <= [1, 4]  # fewer if tiles came with the end of the file
    assert counts["cog", "across four"]["open_bytes"] > 0
    assert result["meta"]["input"] == "scene.tif"
    header, rows = table_rows(result)
    assert len(rows) == 4
    assert all(len(row) == len(header) for row in rows)
