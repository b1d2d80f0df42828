"""Options that say how to encode, which `encode` and `encode-many` share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import click

from eocodec.cli.common import BandListType, BboxType, NumberType
from eocodec.errors import InputError
from eocodec.interop.files import RateTarget
from eocodec.interop.rio import ReadOptions
from eocodec.interop.store import DEFAULT_TILE
from eocodec.options import MAX_TOKENS, EncodeOptions

NO_LAYERS = ("none",)
Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Encoding:
    """How to encode: the values of `encoding_options`, as `encode_file` takes them."""

    options: EncodeOptions
    target: RateTarget | None
    tile: int
    bands: tuple[str, ...] | None
    read: ReadOptions


OPTIONS = (
    click.option("--model", default="tec-elic", show_default=True, help="Model id, see `eocodec models`."),
    click.option(
        "--quality", type=click.FloatRange(0, 100), help="0 to 100, larger is better.  [default: 50]"
    ),
    click.option("--psnr", type=float, help="Search the quality that reaches this PSNR [dB, peak 10000]."),
    click.option(
        "--ratio", type=float, help="Search the quality that makes the file this many times smaller."
    ),
    click.option("--bpppc", type=float, help="Search the quality that takes these bits per pixel and band."),
    click.option(
        "--max-error", type=click.IntRange(0), help="Largest error of any valid pixel; 0 is lossless."
    ),
    click.option(
        "--tokens", type=click.IntRange(1, MAX_TOKENS), help="Tokens to keep; model flextec.  [default: all]"
    ),
    click.option(
        "--tile", type=int, default=DEFAULT_TILE, show_default=True, help="Pixels a side of a tile."
    ),
    click.option(
        "--scale", type=float, help="Digital numbers per unit of float input: 10000 for reflectance."
    ),
    click.option(
        "--offset",
        type=float,
        default=0.0,
        help="Radiometric offset to add, DN: -1000 for baseline 04.00 on.  [default: as the product says]",
    ),
    click.option("--nodata", type=NumberType(), help="Value of invalid pixels, if the files do not say it."),
    click.option(
        "--bands",
        type=BandListType(),
        help="Band names of a stack in the file's order: B01,B02,...; of other inputs, the bands to take.",
    ),
    click.option("--bbox", type=BboxType(), help="Area to take, in the input's system or in degrees."),
    click.option(
        "--layers", type=BandListType(), help="Layers to keep beside the bands, or none.  [default: all]"
    ),
    click.option("--variable", help="Variable of a cube."),
)


def encoding_options(command: Command) -> Command:
    """Add OPTIONS; the command gets an `Encoding` of what they say."""

    @functools.wraps(command)
    def gathered(
        *,
        model: str,
        quality: float | None,
        psnr: float | None,
        ratio: float | None,
        bpppc: float | None,
        max_error: int | None,
        tokens: int | None,
        tile: int,
        scale: float | None,
        offset: float,
        nodata: int | float | None,
        bands: tuple[str, ...] | None,
        bbox: tuple[float, float, float, float] | None,
        layers: tuple[str, ...] | None,
        variable: str | None,
        **others: Any,
    ) -> Any:
        target = _target(quality, psnr, ratio, bpppc)
        if target is not None and max_error is not None:
            raise InputError("--max-error goes with --quality or alone, not with --psnr, --ratio and --bpppc")
        options = EncodeOptions(model, quality, nodata, scale, offset, max_error, tokens)
        read = ReadOptions(bbox, () if layers == NO_LAYERS else layers, variable=variable)
        return command(encoding=Encoding(options, target, tile, bands, read), **others)

    decorated: Any = gathered
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return cast("Command", decorated)


def _target(
    quality: float | None, psnr: float | None, ratio: float | None, bpppc: float | None
) -> RateTarget | None:
    asked = [value for value in (quality, psnr, ratio, bpppc) if value is not None]
    if len(asked) > 1:
        raise InputError("--quality, --psnr, --ratio and --bpppc exclude each other; give one of them")
    return RateTarget(psnr, ratio, bpppc) if asked and quality is None else None
