import json
import os
from pathlib import Path

import numpy as np
import pytest
from bench_fakes import fake_decode, fake_encode

from eocodec.bench import exactness
from eocodec.bench.demo_scene import demo_scene

pytest.importorskip("torch")
FAKE = "bench_fakes:fake_decode"


@pytest.fixture
def importable_fakes(monkeypatch):
    path = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))


def run(images, **kwargs):
    return exactness.run_exactness(
        images, qualities=(30.0,), codec=(fake_encode, fake_decode), decoder=FAKE, **kwargs
    )


def test_equal_decoders_are_exact(importable_fakes):
    settings = exactness.SETTINGS[3:4]
    result = run({"a": demo_scene(64, 64), "b": demo_scene(64, 80, 1)}, settings=settings)
    assert exactness.all_exact(result)
    assert [entry["max_difference"] for entry in result["settings"]] == [0.0]
    assert exactness.table_rows(result)[1][0][1] == "2 of 2"
    json.dumps(result, allow_nan=False)


def test_a_decoder_that_fails_or_differs_is_seen(importable_fakes):
    def broken(array, **kwargs):
        return fake_encode(array, **kwargs)[:-9] + b"ruined it"

    settings = exactness.SETTINGS[:1]
    image = {"a": demo_scene(64, 64)}
    result = exactness.run_exactness(
        image,
        qualities=(30.0,),
        settings=settings,
        codec=(broken, lambda data: np.zeros((12, 64, 64), np.int16)),
        decoder=FAKE,
    )
    assert not exactness.all_exact(result)
    assert list(result["settings"][0]["errors"].values()) == ["ChecksumMismatch"]
    result = exactness.run_exactness(
        image,
        qualities=(30.0,),
        settings=settings,
        codec=(fake_encode, lambda data: fake_decode(data) + 3),
        decoder=FAKE,
    )
    assert result["settings"][0]["max_difference"] == 3.0


def test_a_process_that_dies_is_not_exact():
    result = exactness.run_exactness(
        {"a": demo_scene(64, 64)},
        qualities=(30.0,),
        settings=exactness.SETTINGS[:1],
        codec=(fake_encode, fake_decode),
        decoder="no_such_module:decode",
    )
    assert not exactness.all_exact(result)
    assert result["settings"][0]["same_symbols"] == 0
    assert "exit code" in result["settings"][0]["errors"]["process"]


def test_made_up_tiles_where_there_is_no_imagery(tmp_path):
    images = exactness.tiles_to_code(2, 64, tmp_path)
    assert [image.shape for image in images.values()] == [(12, 64, 64)] * 2
