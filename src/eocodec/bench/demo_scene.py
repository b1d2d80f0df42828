"""A made-up Sentinel-2-like scene: no imagery in the package, yet something to try the codec on.

Everything is drawn from one seed: fractal terrain, a meandering river, parcels of crops, forest on the
slopes, a town, clouds with their shadows, sensor noise, and a swath edge beyond which there is no data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eocodec.bench.base import Image
from eocodec.errors import InputError
from eocodec.sensors import S2_L2A
from eocodec.types import BoolArray

DEMO_CRS = "EPSG:32633"
DEMO_TRANSFORM = (
    10.0,
    0.0,
    600_000.0,
    0.0,
    -10.0,
    5_300_040.0,
)  # affine: pixel size and upper left corner [m]
PIXEL_SIZE = 10
MIN_SIDE = 32

Plane = NDArray[np.float32]

# Surface reflectance [DN] in band order B01 .. B12, typical of a central European summer.
SPECTRA: dict[str, tuple[int, ...]] = {
    "water": (420, 400, 460, 270, 240, 180, 170, 150, 140, 130, 70, 50),
    "forest": (200, 220, 390, 230, 620, 1780, 2250, 2330, 2520, 2560, 1080, 480),
    "crop": (280, 320, 640, 330, 1020, 3150, 4050, 4250, 4420, 4380, 1850, 850),
    "meadow": (330, 390, 720, 560, 1180, 2350, 2750, 2900, 3080, 3150, 2150, 1150),
    "cereal": (560, 720, 1080, 1350, 1720, 2150, 2420, 2650, 2820, 2950, 3350, 2250),
    "soil": (620, 780, 1080, 1420, 1650, 1780, 1880, 2020, 2130, 2220, 2850, 2420),
    "roof": (1050, 1250, 1450, 1680, 1780, 1880, 1960, 2080, 2120, 2150, 2350, 2180),
    "asphalt": (720, 790, 860, 930, 1000, 1080, 1130, 1180, 1210, 1230, 1380, 1290),
    "cloud": (7900, 7700, 7500, 7550, 7650, 7750, 7850, 7950, 7950, 7300, 4700, 3600),
}
PARCEL_KINDS = ("crop", "crop", "meadow", "cereal", "soil", "crop", "cereal", "meadow")


@dataclass(frozen=True)
class _Canvas:
    """Size of the scene, its random numbers, and the pixel coordinates."""

    rows: int
    cols: int
    rng: np.random.Generator

    @property
    def row(self) -> Plane:
        return np.arange(self.rows, dtype=np.float32)[:, None]

    @property
    def col(self) -> Plane:
        return np.arange(self.cols, dtype=np.float32)[None, :]

    def fractal(self, slope: float, longest: float) -> Plane:
        """Noise with amplitude spectrum 1/f^slope, flat beyond `longest` pixels; mean 0, std 1."""
        frequency_row = np.fft.fftfreq(self.rows)[:, None]
        frequency_col = np.fft.rfftfreq(self.cols)[None, :]
        frequency = np.maximum(np.hypot(frequency_row, frequency_col), 1.0 / longest)
        spectrum = np.fft.rfft2(self.rng.standard_normal((self.rows, self.cols))) / frequency**slope
        spectrum[0, 0] = 0.0
        noise = np.fft.irfft2(spectrum, s=(self.rows, self.cols))
        unit: Plane = (noise / noise.std()).astype(np.float32)
        return unit


def demo_scene(rows: int = 1024, cols: int = 1024, seed: int = 0, *, nodata: int = 0) -> Image:
    """A plausible 12-band scene that nobody photographed.

    Parameters
    ----------
    rows, cols : size in pixels of 10 m, at least 32 each
    seed : everything follows from it (equal seeds, equal scenes on one machine)
    nodata : value of all bands beyond the swath edge, at the lower right; no valid pixel has it

    Returns
    -------
    scene : int16 [12, rows, cols], DN (10 000 x reflectance), bands in the order of `sensors.S2_L2A`; 20 m
        and 60 m bands are made at their own resolution and brought to 10 m bilinearly, as users do

    Raises
    ------
    InputError : a side below 32, or a nodata value that int16 DN cannot have
    """
    if min(rows, cols) < MIN_SIDE:
        raise InputError(f"scene of {rows} x {cols}: sides must be at least {MIN_SIDE}")
    if not -32768 <= nodata <= 0:
        raise InputError(f"nodata {nodata}: expected -32768 to 0, which no valid pixel has")
    canvas = _Canvas(rows, cols, np.random.default_rng(seed))
    terrain = canvas.fractal(1.7, 600.0)
    surface = _surface(canvas, terrain)
    cloud = _clouds(canvas)
    light = _hillshade(terrain) * (1.0 - 0.6 * _shadow(cloud))
    bright = np.asarray(SPECTRA["cloud"], np.float32)
    puff = np.clip(0.72 + 0.14 * canvas.fractal(1.5, 80.0), 0.35, 1.25)
    scene = np.empty((len(S2_L2A), rows, cols), dtype=np.int16)
    for index, band in enumerate(S2_L2A):
        plane = surface[index] * light
        plane = plane * (1.0 - cloud) + bright[index] * puff * cloud
        scene[index] = _observe(plane, band.pixel_size // PIXEL_SIZE, canvas.rng)
    scene[:, _beyond_swath(canvas)] = nodata
    return scene


def _surface(canvas: _Canvas, terrain: Plane) -> Plane:
    """Reflectance of the ground without light and clouds, [12, rows, cols], DN."""
    ground = _parcels(canvas)
    river = _river(canvas)
    forest = (terrain + 0.35 * canvas.fractal(1.2, 60.0) > 0.75) & (river > 6.0)
    _paint(ground, forest, "forest", 1.0 + 0.10 * canvas.fractal(0.7, 12.0))
    _town(canvas, ground, river)
    width = 5.0 + 2.0 * np.sin(canvas.row / 97.0)
    _paint(ground, (river < width + 2.5), "forest", np.full(river.shape, 1.15, np.float32))
    _paint(ground, river < width, "water", 1.0 + 0.05 * canvas.fractal(1.0, 200.0))
    return ground


def _paint(ground: Plane, where: BoolArray, kind: str, brightness: Plane) -> None:
    spectrum = np.asarray(SPECTRA[kind], np.float32)
    ground[:, where] = spectrum[:, None] * brightness[where]


def _parcels(canvas: _Canvas) -> Plane:
    """Fields: cells of a jittered, turned and warped grid, a crop and a vigour each, hedges between."""
    angle = canvas.rng.uniform(0.2, 0.6)
    warp_row, warp_col = (14.0 * canvas.fractal(2.2, 400.0) for _ in range(2))
    u = np.cos(angle) * (canvas.col + warp_col) + np.sin(angle) * (canvas.row + warp_row)
    v = -np.sin(angle) * (canvas.col + warp_col) + np.cos(angle) * (canvas.row + warp_row)
    cell, nearest, second = _cells(canvas, u / 52.0, v / 24.0)
    kinds = canvas.rng.integers(0, len(PARCEL_KINDS), cell.max() + 1)
    vigour = canvas.rng.uniform(0.0, 0.45, kinds.size).astype(np.float32)
    table = np.asarray([SPECTRA[kind] for kind in PARCEL_KINDS], np.float32)
    soil = np.asarray(SPECTRA["soil"], np.float32)
    spectra = table[kinds] * (1 - vigour[:, None]) + soil * vigour[:, None]
    spectra *= canvas.rng.uniform(0.85, 1.15, (kinds.size, 1)).astype(np.float32)
    rows_of_plants = 1.0 + 0.02 * np.sin(u * canvas.rng.uniform(0.9, 1.3))
    growth = 1.0 + 0.035 * canvas.fractal(1.1, 40.0)
    ground: Plane = np.moveaxis(spectra[cell], -1, 0) * (rows_of_plants * growth)
    _paint(ground, second - nearest < 0.035, "forest", np.full(cell.shape, 1.2, np.float32))
    return ground


def _cells(canvas: _Canvas, u: Plane, v: Plane) -> tuple[NDArray[np.int64], Plane, Plane]:
    """Voronoi cells, maximum norm, of one random point a unit square: (cell, nearest, second distance)."""
    base_u, base_v = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    low_u, low_v = base_u.min() - 1, base_v.min() - 1
    shape = (base_u.max() - low_u + 2, base_v.max() - low_v + 2)
    jitter = canvas.rng.uniform(0.2, 0.8, (2, *shape)).astype(np.float32)
    nearest = np.full(u.shape, np.inf, np.float32)
    second = nearest.copy()
    cell = np.zeros(u.shape, np.int64)
    for step_u in (-1, 0, 1):
        for step_v in (-1, 0, 1):
            i, j = base_u + step_u - low_u, base_v + step_v - low_v
            offset_u = base_u + step_u + jitter[0, i, j] - u
            offset_v = base_v + step_v + jitter[1, i, j] - v
            distance = np.maximum(np.abs(offset_u), np.abs(offset_v)).astype(np.float32)
            closer = distance < nearest
            second = np.where(closer, nearest, np.minimum(second, distance))
            cell = np.where(closer, i * shape[1] + j, cell)
            nearest = np.where(closer, distance, nearest)
    return cell, nearest, second


def _river(canvas: _Canvas) -> Plane:
    """Distance [pixels] to a river that meanders from the upper to the lower edge."""
    row = canvas.row
    phase = canvas.rng.uniform(0.0, 2 * np.pi, 3)
    course = canvas.cols * (0.32 + 0.18 * row / canvas.rows)
    for amplitude, length, shift in zip((60.0, 26.0, 8.0), (610.0, 190.0, 67.0), phase, strict=True):
        course = course + amplitude * np.sin(2 * np.pi * row / length + shift)
    slope = np.gradient(course[:, 0])[:, None]
    distance: Plane = (np.abs(canvas.col - course) / np.sqrt(1.0 + slope**2)).astype(np.float32)
    return distance


def _town(canvas: _Canvas, ground: Plane, river: Plane) -> None:
    """Blocks of roofs, streets and gardens on one bank, thinning outwards."""
    rows, cols = canvas.rows, canvas.cols
    away = np.hypot((canvas.row - 0.42 * rows) / (0.16 * rows), (canvas.col - 0.66 * cols) / (0.17 * cols))
    inside = (away + 0.28 * canvas.fractal(1.5, 120.0) < 1.0) & (river > 10.0)
    house, nearest, second = _cells(canvas, canvas.col / 4.5 + canvas.row / 40.0, canvas.row / 4.0)
    tint = canvas.rng.uniform(0.55, 1.75, house.max() + 1).astype(np.float32)
    garden = canvas.rng.uniform(size=house.max() + 1) < 0.38
    _paint(ground, inside, "roof", tint[house])
    _paint(ground, inside & garden[house], "meadow", 0.9 + 0.2 * nearest)
    block, block_nearest, block_second = _cells(canvas, canvas.col / 24.0, canvas.row / 21.0)
    street = (second - nearest < 0.10) & (block % 3 != 0) | (block_second - block_nearest < 0.07)
    _paint(ground, inside & street, "asphalt", np.full(house.shape, 1.0, np.float32))


def _clouds(canvas: _Canvas) -> Plane:
    """Opacity of fair-weather clouds, 0 to 1, soft at the edges, over about a twentieth of the scene."""
    density = 0.9 * canvas.fractal(2.3, 260.0) + 0.16 * canvas.fractal(1.6, 40.0)
    threshold = np.quantile(density, 0.93)
    ramp = np.clip((density - threshold) / 0.55, 0.0, 1.0)
    opacity: Plane = (ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32)
    return opacity


def _shadow(cloud: Plane) -> Plane:
    """Where the clouds' shadows fall: shifted away from a sun in the south-east."""
    down, left = 34, 26
    shadow = np.zeros_like(cloud)
    shadow[:-down, :-left] = cloud[down:, left:] if min(cloud.shape) > down else 0.0
    return shadow


def _hillshade(terrain: Plane) -> Plane:
    """Relative illumination of the slopes by the same sun, 0.75 to 1.25."""
    slope_row, slope_col = np.gradient(terrain, axis=0), np.gradient(terrain, axis=1)
    shade: Plane = np.clip(1.0 - 1.6 * (slope_col + slope_row), 0.75, 1.25).astype(np.float32)
    return shade


def _observe(plane: Plane, factor: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """What the instrument makes of a band: pixel size, blur and noise; DN on the 10 m grid, at least 1."""
    rows, cols = plane.shape
    seen = np.pad(plane, ((1, 1 + -rows % factor), (1, 1 + -cols % factor)), mode="edge")
    for axis in (0, 1):  # optics: a binomial kernel, near the modulation of 0.25 at Nyquist that MSI has
        after, before = np.roll(seen, -1, axis), np.roll(seen, 1, axis)
        seen = 0.5 * seen + 0.25 * (after + before)
    seen = seen[1:-1, 1:-1]
    seen = seen.reshape(seen.shape[0] // factor, factor, seen.shape[1] // factor, factor).mean((1, 3))
    noise_std = np.sqrt(
        9.0 + 0.08 * np.clip(seen, 0.0, None)
    )  # DN: a floor, and photon noise (SNR 150 at 2000)
    seen = seen + noise_std * rng.standard_normal(seen.shape).astype(np.float32)
    for axis in (0, 1):
        seen = _stretch(seen, factor, axis)
    return np.clip(np.rint(seen[:rows, :cols]), 1, 32_767).astype(np.int16)


def _stretch(plane: Plane, factor: int, axis: int) -> Plane:
    """Linear interpolation along one axis to `factor` times the samples, pixel areas aligned."""
    if factor == 1:
        return plane
    size = plane.shape[axis]
    position = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
    low = np.minimum(position.astype(np.int64), size - 2) if size > 1 else np.zeros(factor, np.int64)
    weight = np.expand_dims((position - low).astype(np.float32), 1 - axis)
    high = np.minimum(low + 1, size - 1)
    stretched: Plane = np.take(plane, low, axis) * (1 - weight) + np.take(plane, high, axis) * weight
    return stretched


def _beyond_swath(canvas: _Canvas) -> BoolArray:
    """The lower right corner, cut off by an inclined line as at the edge of an orbit's swath."""
    outside: BoolArray = canvas.col + 0.24 * (canvas.row - canvas.rows) > 0.88 * canvas.cols
    return outside
