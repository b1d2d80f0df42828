"""SSL4EO-S12 v1.1 in each of its layouts: what is found, and what is drawn of it."""

import numcodecs
import numpy as np
import pytest
import torch
from ssl4eo_support import DATES, SIDE, dataset, place, zipped

from eocodec.errors import ConfigError, RasterError
from eocodec.train.published_config import PublishedData
from eocodec.train.ssl4eo import (
    Crops,
    Place,
    Positions,
    find_places,
    read_dates,
    training_batches,
    validation_batches,
)
from eocodec.train.zipped_array import ZippedArray


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return dataset(tmp_path_factory.mktemp("ssl4eo"), tmp_path_factory.mktemp("work"))


def config(**values):
    return PublishedData(**{"crop": 64, "batch": 2, "workers": 0, **values})


def all_dates(found):
    return read_dates(found, DATES, np.random.default_rng(0))


# --- layouts ------------------------------------------------------------------------------------------------


def test_shards(root):
    found = find_places(root, "train", "L2A")
    assert len(found) == 6
    seeds = [0, 2, 4, 1, 3, 5]  # every other place is in the second shard
    assert all(np.array_equal(all_dates(f), place(seed)) for f, seed in zip(found, seeds, strict=True))


def test_a_file_a_place(tmp_path):
    folder = tmp_path / "train" / "S2L2A"
    folder.mkdir(parents=True)
    for seed in range(2):
        zipped(folder / f"{seed:07d}.zarr.zip", place(seed))
    found = find_places(tmp_path, "train", "L2A")
    assert found == [Place(str(folder / f"{seed:07d}.zarr.zip")) for seed in range(2)]
    assert np.array_equal(all_dates(found[1]), place(1))


def test_a_file_of_many_places_with_the_offset_of_the_first_release(tmp_path):
    folder = tmp_path / "train" / "S2L2A"
    folder.mkdir(parents=True)
    many = np.stack([place(seed) for seed in range(3)])
    zipped(folder / "ssl4eos12_train_seasonal_data_000001.zarr.zip", many + 1000)
    found = find_places(tmp_path, "train", "L2A")
    assert [f.row for f in found] == [0, 1, 2]
    crops = Crops(found, config(frames=4, offset=1000), 0, training=False)
    edge = (SIDE - 64) // 2
    assert np.array_equal(crops[1].numpy(), many[1, :, :, edge:-edge, edge:-edge])


def test_nothing_there(tmp_path):
    with pytest.raises(ConfigError, match=r"train.S2L1C; set data\.root"):
        find_places(tmp_path, "train", "L1C")


def test_files_that_are_not_what_they_should_be(tmp_path):
    folder = tmp_path / "train" / "S2L2A"
    folder.mkdir(parents=True)
    path = folder / "a.zarr.zip"
    path.write_bytes(b"PK")
    with pytest.raises(RasterError, match="no Zarr v2 array 'bands'"):
        find_places(tmp_path, "train", "L2A")
    zipped(path, place(0)[0])
    with pytest.raises(RasterError, match="has the shape"):
        all_dates(Place(str(path)))
    zipped(path, place(0, dates=2))
    with pytest.raises(RasterError, match="2 dates, 4 are asked for"):
        all_dates(Place(str(path)))
    with pytest.raises(RasterError, match="12 bands, not those of L1C"):
        Crops([Place(str(path))], config(level="L1C"), 0, training=True)[0]
    with pytest.raises(RasterError, match="72 x 72 pixels are too few"):
        Crops([Place(str(path))], config(crop=128), 0, training=True)[0]
    path.unlink()
    (folder / "b.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(RasterError, match=r"b\.tar"):
        find_places(tmp_path, "train", "L2A")


def test_a_damaged_chunk(tmp_path):
    path = zipped(tmp_path / "a.zarr.zip", place(0))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(RasterError, match="is damaged"):
        all_dates(Place(str(path)))


# --- arrays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": None},
        {"compressors": numcodecs.Zstd()},
        {"compressors": numcodecs.Blosc(), "filters": [numcodecs.Delta(dtype="i2")]},
        {"order": "F"},
        {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
    ],
)
def test_any_store_of_the_second_version(tmp_path, options):
    data = np.random.default_rng(0).integers(-99, 9999, (3, 5, 7, 11)).astype("int16")
    data[1, :3, :4, :4] = 0  # a chunk of fill values is not stored
    path = zipped(tmp_path / "a.zarr.zip", data, chunks=(2, 3, 4, 4), **options)
    with path.open("rb") as file:
        array = ZippedArray(file, "bands", "a")
        assert (array.shape, array.dtype) == (data.shape, data.dtype)
        assert np.array_equal(array.read(()), data)
        assert np.array_equal(array.read((2,)), data[2])
        assert np.array_equal(array.read((1, 4)), data[1, 4])
        with pytest.raises(RasterError, match="'masks'"):
            ZippedArray(file, "masks", "a")


# --- crops --------------------------------------------------------------------------------------------------


def symmetries(data):
    return [np.rot90(d, k, axes=(-2, -1)) for k in range(4) for d in (data, data[..., ::-1])]


def test_a_crop_is_cut_from_a_date_and_turned(root):
    crops = Crops(find_places(root, "train", "L2A"), config(), 7, training=True)
    crop = crops[3].numpy()
    assert (crop.shape, crop.dtype) == ((12, 64, 64), np.int16)
    turned = {view.tobytes() for view in symmetries(crop)}
    cut = (
        date[:, top : top + 64, left : left + 64]
        for seed in range(6)
        for date in place(seed)
        for top in range(SIDE - 63)
        for left in range(SIDE - 63)
    )
    assert sum(np.ascontiguousarray(c).tobytes() in turned for c in cut) == 1


def test_an_epoch_has_every_place_once_and_the_next_another_order(root):
    found = find_places(root, "train", "L2A")
    crops = Crops(found, config(crop=SIDE, frames=DATES), 1, training=True)
    seeds = {int(place(seed).sum(dtype=int)): seed for seed in range(6)}  # whole places, turned
    order = [seeds[int(crops[n].sum())] for n in range(12)]
    assert sorted(order[:6]) == sorted(order[6:]) == list(range(6))
    assert order[:6] != order[6:]


def test_processes_share_what_one_would_draw(root):
    found = find_places(root, "train", "L2A")
    alone = training_batches(found, config(batch=4), 5, 0, 1, 0)
    pair = [training_batches(found, config(batch=2), 5, rank, 2, 0) for rank in range(2)]
    for _ in range(3):
        assert torch.equal(next(alone), torch.cat([next(batches) for batches in pair]))
    late = training_batches(found, config(batch=4), 5, 0, 1, 3)
    assert torch.equal(next(alone), next(late))


def test_reading_in_other_processes_draws_the_same(root):
    found = find_places(root, "train", "L2A")
    here, elsewhere = (training_batches(found, config(workers=n), 5, 0, 1, 2) for n in (0, 1))
    for _ in range(2):
        assert torch.equal(next(here), next(elsewhere))


def test_positions_cover_all():
    drawn = [next(iter(Positions(3, rank, 2, 4))) for rank in range(2)]
    assert drawn == [[24, 25, 26], [27, 28, 29]]


def test_validation_is_shared_out_and_stays_the_same(root):
    found = find_places(root, "val", "L2A")
    alone = torch.cat(list(validation_batches(found, config(val_samples=8), 0, 1)))
    shares = [torch.cat(list(validation_batches(found, config(val_samples=8), r, 2))) for r in range(2)]
    assert [len(share) for share in shares] == [2, 1]
    assert torch.equal(alone, torch.stack([shares[0][0], shares[1][0], shares[0][1]]))
    edge = (SIDE - 64) // 2
    centre = place(100)[..., edge:-edge, edge:-edge]
    assert any(np.array_equal(alone[0].numpy(), date) for date in centre)
    assert len(torch.cat(list(validation_batches(found, config(val_samples=2), 0, 1)))) == 2
