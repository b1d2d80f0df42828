"""The recipe on archives does what it says: its lines run in their order, on made-up products."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

pytest.importorskip("distributed", reason="distributed is not installed (extra dask)")

from eocodec.interop.inspect import validate_file
from eocodec.sensors import S2_L2A
from interop_support import names_in, write_band_folder
from recipe_support import follow
from safe_support import L1C_NAME, L2A_NAME, make_product


def collection(folder):
    """Two items with local assets."""
    items = []
    for seed, name in enumerate(("S2A_one", "S2B_two")):
        write_band_folder(folder / name, seed=seed, nodata=0)
        assets = {
            band.name: {"href": f"{name}/T33UXP_20200701T100031_{band.name}_{band.pixel_size}m.tif"}
            for band in S2_L2A
        }
        items.append({"type": "Feature", "id": name, "properties": {}, "assets": assets})
    return {"type": "FeatureCollection", "features": items}


def test_an_archive(tmp_path, monkeypatch):
    import torch

    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    make_product(tmp_path / "archive")
    make_product(tmp_path / "archive", "1C")
    (tmp_path / "found.json").write_text(json.dumps(collection(tmp_path)))
    said = follow("archive.md")
    assert "2 scenes, 0 there already, 2 to encode: about " in said[0]
    assert said[1].startswith("encoded: 2 scenes encoded, 0 there already, 0 failed; ")
    assert said[2].startswith("encoded: 2 scenes encoded, ")
    names = [Path(L2A_NAME).stem, Path(L1C_NAME).stem, "S2A_one", "S2B_two"]
    assert names_in("encoded") == sorted([*(f"{name}.tec" for name in names), "manifest.jsonl"])
    assert all(validate_file(path).ok for path in Path("encoded").glob("*.tec"))
    lines = said[3:]
    assert len(lines) == 4
    assert all(" times smaller, " in line for line in lines)
    assert lines[0].startswith(L1C_NAME)
