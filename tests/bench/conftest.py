"""A small imagery folder in the layout of the shared one, made up; and the real one where it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench_fakes import fake_decode, fake_encode

from eocodec.bench.base import LearnedCodec, measure
from eocodec.bench.datasets import data_dir
from eocodec.bench.demo_scene import demo_scene
from eocodec.bench.mosaic import write_scene

FAKE_QUALITIES = (0.0, 25.0, 50.0, 75.0, 100.0)


@pytest.fixture(scope="session")
def made_up_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dev tiles, and a classical.json whose codecs need 2 and 0.5 times the fake codec's bits."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "dev" / "ssl4eo"
    folder.mkdir(parents=True)
    codec = LearnedCodec("fake", FAKE_QUALITIES, fake_encode, fake_decode)
    recorded = {}
    for seed in (1, 2):
        scene = demo_scene(264, 264, seed)
        name = f"tile_{seed}"
        write_scene(folder / f"{name}.tif", scene)
        points = [measure(codec, scene[:, :256, :256], name, q) for q in FAKE_QUALITIES]
        recorded[name] = {
            "shape": [12, 256, 256],
            "j2k": [[p.setting, 2 * p.bits, p.psnr] for p in points],
            "x265": [[p.setting, p.bits // 2, p.psnr] for p in points],
        }
    recorded["tile_1_series"] = {"shape": [48, 256, 256], "x265": [[8, 1000, 40.0]]}
    (root / "dev" / "classical.json").write_text(json.dumps(recorded))
    return root


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The real imagery, or a skip."""
    root = data_dir()
    if root is None or not (root / "dev" / "classical.json").is_file():
        pytest.skip("no imagery: set EOCODEC_DATA or put it in ../shared/data")
    return root
