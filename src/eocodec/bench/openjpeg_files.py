"""The opponent in the speed contest: a GeoTIFF to twelve .jp2 files and back, by OpenJPEG on several threads.

Runs as a program too, so that whole processes can be timed:
`python -m eocodec.bench.openjpeg_files encode IN.tif FOLDER --psnr DB` and `... decode FOLDER OUT.tif`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from eocodec.bench.base import Image
from eocodec.bench.classical import Jpeg2000
from eocodec.bench.mosaic import write_scene
from eocodec.sensors import S2_BAND_NAMES

Split = Literal["bands", "inside"]
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Parallel:
    """How the threads are used: bands side by side, or inside OpenJPEG, one band after the other."""

    threads: int
    split: Split

    def codec(self) -> Jpeg2000:
        """OpenJPEG with the threads that this way gives it."""
        return Jpeg2000(threads=self.threads if self.split == "inside" else 1)

    def map(self, work: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
        """The work on each item, in order."""
        workers = self.threads if self.split == "bands" else 1
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(work, items))


def encode_files(source: Path, folder: Path, psnr: float, parallel: Parallel) -> int:
    """Code each band of a GeoTIFF to a .jp2 file in the folder; returns the bytes written."""
    import rasterio

    folder.mkdir(parents=True, exist_ok=True)
    codec = parallel.codec()
    with rasterio.open(source) as raster:
        image = raster.read()

    def write(index: int) -> int:
        return (folder / f"{S2_BAND_NAMES[index]}.jp2").write_bytes(codec.encode_plane(image[index], psnr))

    return sum(parallel.map(write, range(len(image))))


def decode_files(folder: Path, target: Path, parallel: Parallel) -> None:
    """Decode the .jp2 files of a folder to one uncompressed GeoTIFF."""
    codec = parallel.codec()

    def read(name: str) -> Image:
        return codec.decode_plane((folder / f"{name}.jp2").read_bytes())

    write_scene(target, np.stack(parallel.map(read, S2_BAND_NAMES)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("encode", "decode"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--psnr", type=float, default=42.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--split", choices=("bands", "inside"), default="bands")
    options = parser.parse_args(arguments)
    parallel = Parallel(options.threads, options.split)
    if options.action == "encode":
        encode_files(options.source, options.target, options.psnr, parallel)
    else:
        decode_files(options.source, options.target, parallel)


if __name__ == "__main__":
    main()
