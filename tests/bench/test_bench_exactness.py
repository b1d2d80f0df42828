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


BUSY = exactness.Setting("busy", threads=2, onednn=False, batch=2, shuffled=True)


def test_equal_decoders_are_exact(importable_fakes):
    images = {"a": demo_scene(64, 64), "b": demo_scene(64, 80, 1), "c": demo_scene(64, 64, 2)}
    result = run(images, settings=(BUSY, exactness.SETTINGS[0]))
    assert exactness.all_exact(result)
    assert [entry["max_difference"] for entry in result["settings"]] == [0.0, 0.0]
    assert (result["meta"]["streams"], result["meta"]["mismatches"]) == (3, 0)
    assert (result["settings"][0]["batch"], result["settings"][0]["shuffled"]) == (2, True)
    assert exactness.table_rows(result)[1][0][1] == "3 of 3"
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
    assert (result["meta"]["mismatches"], result["settings"][0]["mismatches"]) == (1, 1)
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


def test_the_matrix_covers_what_it_says():
    settings = exactness.SETTINGS
    assert {s.threads for s in settings} == {1, 2}
    assert {s.batch for s in settings} == {1, 8}
    assert {s.onednn for s in settings} == {s.channels_last for s in settings} == {True, False}
    assert any(s.shuffled for s in settings)
    variables = {item for s in settings for item in s.environment.items()}
    assert variables >= {
        ("ATEN_CPU_CAPABILITY", "default"),
        ("ATEN_CPU_CAPABILITY", "avx2"),
        ("ONEDNN_MAX_CPU_ISA", "AVX2"),
        ("ONEDNN_MAX_CPU_ISA", "SSE41"),
    }


def test_made_up_tiles_where_there_is_no_imagery(tmp_path):
    images = exactness.tiles_to_code(8, tmp_path / "nothing")
    shapes = [image.shape[1:] for image in images.values()]
    assert shapes == [*exactness.SHAPES, *exactness.SHAPES[:2]]
    for name, (rows, cols) in zip(images, shapes, strict=True):
        assert name.startswith(f"{rows:03}x{cols:03}-made-up")
    assert sum(np.array_equal(images[a], images[b]) for a in images for b in images) == 8


@pytest.mark.data
def test_tiles_of_real_imagery(real_data):
    images = exactness.tiles_to_code(40, real_data)
    assert len(images) == 40
    assert {image.shape[1:] for image in images.values()} == set(exactness.SHAPES)
    again = exactness.tiles_to_code(40, real_data)
    assert all(np.array_equal(image, again[name]) for name, image in images.items())


def test_the_codec_itself(tiny_model):
    """Batches and memory layouts reach the decoder of the package."""
    settings = (exactness.Setting("batches", threads=2, batch=2, channels_last=False),)
    images = {"a": demo_scene(40, 33), "b": demo_scene(40, 33, 1)}
    result = exactness.run_exactness(images, model=str(tiny_model), qualities=(5.0, 50.0), settings=settings)
    assert exactness.all_exact(result), result["settings"]
