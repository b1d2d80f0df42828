"""From float64 to integers on which two machines agree: what a network says only counts after it was snapped.

Values are scaled so that a cell is 1 wide; the cell of v is floor(v + 1/2), its edges are at k + 1/2. Two
machines that compute v in different orders of summation differ by far less than `NOISE`, so they can only
disagree within that distance of an edge. The encoder lists every value within `EPSILON` of an edge together
with the side it took; the decoder takes those sides instead of its own. The argument, with the size of the
noise, is in docs/exactness.md; the list is section EDGES of the codestream.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.varint import decode_varints, encode_varints
from eocodec.errors import CodecError, ExactnessError, InputError, MalformedSection, Truncated

# In cells. Large against the noise (about 1e-10 where a cell is a DN, less for parameters), small enough to
# list one value in 5 million.
EPSILON = 1e-7
NOISE = EPSILON / 4  # by how much two machines may differ: the decoder refuses what contradicts it
MAX_MAGNITUDE = 2.0**31 - 1  # of a value, so that every cell fits 32 bits

_BLOCK = 1 << 16  # values worked on at a time; their temporaries stay in a cache, and calls do not add up
_MAX_POSITION = 2.0**53

Values = NDArray[np.float64]
Cells = NDArray[np.int64]


class EdgeWriter:
    """Encoder side: resolves values and remembers those near an edge. One a tile."""

    def __init__(self) -> None:
        self._count = 0  # values resolved so far
        self._positions: list[Cells] = []
        self._upper: list[NDArray[np.bool_]] = []

    def resolve(self, values: Values) -> Cells:
        """Cells of the next values.

        Parameters
        ----------
        values : any shape, float64, in units of a cell; the order in memory does not matter, C order counts

        Returns
        -------
        cells : same shape, int64, floor(values + 0.5)

        Raises
        ------
        InputError : not float64, not finite, or beyond `MAX_MAGNITUDE`
        """
        flat, cells, near = _nearest(values, EPSILON, InputError)
        if near.size:
            lower, upper = _sides(flat[near])
            cells[near] = lower + upper
            self._positions.append(near + self._count)
            self._upper.append(upper)
        self._count += flat.size
        return cells.reshape(values.shape)

    def finish(self) -> bytes:
        """Content of EDGES for all values resolved; empty if none was near an edge."""
        if not self._positions:
            return b""
        positions = np.concatenate([np.array([-1]), *self._positions])
        gaps = positions[1:] - positions[:-1] - 1
        return encode_varints(2 * gaps + np.concatenate(self._upper))


class EdgeReader:
    """Decoder side: resolves the same values in the same order as the `EdgeWriter` that made `data`.

    Raises
    ------
    Truncated, MalformedSection : `data` is not a list of edges
    """

    def __init__(self, data: bytes) -> None:
        self._count = 0
        self._taken = 0  # listed values met so far
        self._positions, self._upper = _parse(data)

    def resolve(self, values: Values) -> Cells:
        """Cells of the next values, [same shape] int64: those that the encoder took.

        Raises
        ------
        ExactnessError : a value contradicts the list, so the arithmetic here differs from the encoder's by
            more than `NOISE`; or a value is not finite or beyond `MAX_MAGNITUDE`
        InputError : not float64
        """
        flat, cells, near = _nearest(values, EPSILON - NOISE, ExactnessError)
        end = int(np.searchsorted(self._positions, self._count + flat.size))
        listed = self._positions[self._taken : end] - self._count
        if not np.isin(near, listed, assume_unique=True).all():
            raise ExactnessError("EDGES: a value not listed lies at the edge of a cell (R46)")
        if listed.size:
            lower, _ = _sides(flat[listed])
            if np.abs(flat[listed] - lower - 0.5).max() > EPSILON + NOISE:
                raise ExactnessError("EDGES: a listed value lies far from the edge of a cell (R46)")
            cells[listed] = lower + self._upper[self._taken : end]
        self._taken = end
        self._count += flat.size
        return cells.reshape(values.shape)

    def finish(self) -> None:
        """Raise `MalformedSection` if listed values are left over (R45)."""
        left = self._positions.size - self._taken
        if left:
            raise MalformedSection(f"EDGES: {left} listed values are beyond the last of {self._count} (R45)")


def _nearest(values: Values, margin: float, error: type[CodecError]) -> tuple[Values, Cells, Cells]:
    """Flat values, their nearest integers, and the positions of those within `margin` of an edge."""
    if values.dtype != np.float64:
        raise InputError(f"values: found {values.dtype}, expected float64")
    flat = np.ascontiguousarray(values).reshape(-1)
    cells = np.empty(flat.size, np.int64)
    nearest, distance = np.empty((2, min(_BLOCK, flat.size)))
    near = []
    for begin in range(0, flat.size, _BLOCK):
        block = flat[begin : begin + _BLOCK]
        r, d = nearest[: block.size], distance[: block.size]
        np.rint(block, out=r)
        if not max(r.max(), -r.min()) <= MAX_MAGNITUDE:  # NaN compares false
            raise error(f"values {begin} to {begin + block.size}: one is not finite or beyond 2^31")
        cells[begin : begin + block.size] = r
        np.subtract(block, r, out=d)  # exact
        if max(d.max(), -d.min()) >= 0.5 - margin:
            near.append(begin + np.flatnonzero(np.abs(d) >= 0.5 - margin))
    return flat, cells, np.concatenate(near) if near else np.zeros(0, np.int64)


def _sides(values: Values) -> tuple[Cells, NDArray[np.bool_]]:
    """Cell below the edge next to each value, and whether the value is on the upper side of that edge."""
    lower = np.floor(values)
    return lower.astype(np.int64), values - lower >= 0.5


def _parse(data: bytes) -> tuple[Cells, NDArray[np.bool_]]:
    """Positions of the listed values, ascending, and whether each is in the upper cell."""
    if data and data[-1] >= 0x80:
        raise Truncated("EDGES: the data end within a varint (R44)")
    codes = decode_varints(data, int(np.count_nonzero(np.frombuffer(data, np.uint8) < 0x80)))
    gaps = codes >> np.uint64(1)
    if gaps.sum(dtype=np.float64) + gaps.size > _MAX_POSITION:  # integers would wrap around
        raise MalformedSection("EDGES: a position is beyond 2^53 (R45)")
    return np.cumsum(gaps.astype(np.int64) + 1) - 1, (codes & np.uint64(1)).astype(np.bool_)
