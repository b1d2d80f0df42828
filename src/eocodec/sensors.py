"""Sentinel-2 band tables: order, native pixel size, wavelength, statistics used to standardise.

`S2_L2A` is surface reflectance, which every model of this package takes; `S2_L1C`, top of the atmosphere with
B10, is for published models.

Means and standard deviations are those of SSL4EO-S12 v1.1 (Wang et al. 2023, Blumenstiel et al. 2025), in
digital numbers (10 000 x reflectance, radiometric offset removed).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DN_PER_REFLECTANCE = 10_000
SATURATED_DN = 65_535  # Sentinel-2 products mark saturated pixels with it
BASELINE_0400_OFFSET = -1000  # BOA_ADD_OFFSET / RADIO_ADD_OFFSET of processing baseline 04.00 and later, DN


@dataclass(frozen=True)
class Band:
    """One spectral band: name, native pixel size [m], central wavelength [nm], mean and std [DN]."""

    name: str
    pixel_size: int
    wavelength: int
    mean: float
    std: float


S2_L2A: tuple[Band, ...] = (
    Band("B01", 60, 443, 793.243, 1160.144),
    Band("B02", 10, 492, 924.863, 1201.092),
    Band("B03", 10, 560, 1184.553, 1219.943),
    Band("B04", 10, 665, 1340.936, 1397.225),
    Band("B05", 20, 704, 1671.402, 1400.035),
    Band("B06", 20, 740, 2240.082, 1373.136),
    Band("B07", 20, 783, 2468.412, 1429.170),
    Band("B08", 10, 833, 2563.243, 1485.025),
    Band("B8A", 20, 865, 2627.704, 1447.836),
    Band("B09", 60, 945, 2711.071, 1652.703),
    Band("B11", 20, 1614, 2416.714, 1471.002),
    Band("B12", 20, 2202, 1849.625, 1365.307),
)

S2_L1C: tuple[Band, ...] = (
    Band("B01", 60, 443, 1607.345, 786.523),
    Band("B02", 10, 492, 1393.068, 849.702),
    Band("B03", 10, 560, 1320.225, 875.318),
    Band("B04", 10, 665, 1373.963, 1143.578),
    Band("B05", 20, 704, 1562.536, 1126.248),
    Band("B06", 20, 740, 2110.071, 1161.98),
    Band("B07", 20, 783, 2392.832, 1273.505),
    Band("B08", 10, 833, 2321.154, 1246.79),
    Band("B8A", 20, 865, 2583.77, 1342.755),
    Band("B09", 60, 945, 838.712, 576.795),
    Band("B10", 60, 1374, 21.753, 45.626),
    Band("B11", 20, 1614, 2205.112, 1340.347),
    Band("B12", 20, 2202, 1545.798, 1145.036),
)

LEVELS: Mapping[str, tuple[Band, ...]] = {"L2A": S2_L2A, "L1C": S2_L1C}  # processing levels
S2_BAND_NAMES: tuple[str, ...] = tuple(band.name for band in S2_L2A)


def band_index(name: str) -> int | None:
    """Position of a band in the model's order, or None; accepts 'B2', 'b02', 'B8a', 'B08_10m'."""
    stem = name.strip().upper().split("_")[0].split(" ")[0]
    if stem.startswith("B") and stem[1:].isdigit():
        stem = f"B{int(stem[1:]):02d}"
    return S2_BAND_NAMES.index(stem) if stem in S2_BAND_NAMES else None
