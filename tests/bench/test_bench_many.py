"""The benchmark of archives: which scenes, which runs, what it refuses. Its runs are the command's own."""

import pytest

from eocodec.bench import many
from eocodec.bench.many import ManyOptions, _check_kept, all_equal, largest_scenes, run_many, table_rows, ways
from eocodec.errors import CodecError, RasterError

CATALOG = """id,split,layout,height,width,path
a,train,native,100,100,train/native/a
b,train,stack,300,200,train/stack/b.tif
c,dev,stack,900,900,dev/c.tif
d,train,series,900,900,train/series/d.npz
e,train,stack,100,200,train/stack/e.tif
"""


@pytest.fixture
def imagery(tmp_path):
    (tmp_path / "catalog.csv").write_text(CATALOG)
    return tmp_path


def test_the_largest_single_dates_of_the_train_split(imagery):
    assert [path.name for path in largest_scenes(imagery, 2)] == ["b.tif", "e.tif"]
    assert len(largest_scenes(imagery, 3)) == 3
    with pytest.raises(RasterError, match="has 3 training scenes"):
        largest_scenes(imagery, 4)


def test_an_output_that_was_made_again_is_noticed(tmp_path):
    kept = {}
    (tmp_path / "a.tec").write_text("")
    _check_kept(tmp_path, kept)
    (tmp_path / "b.tec").write_text("")
    _check_kept(tmp_path, kept)
    assert set(kept) == {"a.tec", "b.tec"}
    (tmp_path / "a.tec").unlink()
    with pytest.raises(CodecError, match=r"made again: a\.tec"):
        _check_kept(tmp_path, kept)


def run_of(name, seconds, equal=True):
    found = {"way": name, "all_seconds": [seconds], "seconds": seconds, "peak_bytes": 5e8}
    return {**found, "mpixel_per_s": 20 / seconds, "equal": equal}


def test_the_table():
    timed = [run_of(way.name, 60.0 / (k + 1)) for k, way in enumerate(ways(2))]
    result = {
        "ways": timed,
        "speedup": 2.0,
        "estimate": {"seconds": 31.0},
        "killed": {"equal": True},
    }
    header, rows = table_rows(result)
    assert all(len(row) == len(header) for row in rows)
    assert rows[1][:2] == ["2 workers", "30.0"]
    assert rows[-1][1] == "2.00"
    assert all_equal(result)
    assert not all_equal({**result, "killed": {"equal": False}})


def test_a_run_that_ends_early_says_why(imagery, monkeypatch):
    monkeypatch.setattr(
        many, "COMMAND", (*many.COMMAND[:2], "import sys; sys.exit('no luck')", "encode-many")
    )
    with pytest.raises(CodecError, match="the dry run failed: no luck"):
        run_many(ManyOptions(scenes=2, data=imagery))
