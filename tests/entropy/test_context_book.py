"""The stream of TEC-ELIC, decoded a second time: word for word after the specification, and slowly."""

import numpy as np
import pytest
import torch

from context_support import (
    RING,
    SIZES,
    Book,
    block_dct,
    dct_matrix,
    shape_of,
    some_coder,
    some_latents,
)
from eocodec.coding.crc import symbols_crc
from eocodec.coding.range_coder import SymbolDecoder, SymbolEncoder
from eocodec.coding.reference import ReferenceDecoder
from eocodec.entropy.axes import bases
from eocodec.entropy.exact import EdgeReader, EdgeWriter
from eocodec.models.stored_prior import pack_prior

COMPONENTS = 3


@pytest.fixture(scope="module")
def coder():
    """A coder of 3 components that nothing was fitted to."""
    torch.set_num_threads(1)
    return some_coder(COMPONENTS)


def code(coder, y, quality_steps):
    """Frame, and contents of SYMBOLS and ESCAPES; nothing near an edge."""
    encoder, edges = SymbolEncoder(), EdgeWriter()
    frame = coder.encode(y, encoder, edges, quality_steps, 0.5)
    assert not edges.finish()
    return frame, *encoder.finish()


class ByTheBook:
    """A decoder of one timestep out of docs/codestream.md alone, from stored arrays."""

    def __init__(self, stream, escapes, arrays):
        self.decoder, self.arrays = ReferenceDecoder(stream, escapes), arrays
        self.levels = len(arrays["prior.log2_step"])
        names = ("family", "count_tables", "split_tables", "delta_tables")
        self.tables = {name: self.unpack(name) for name in names}
        self.crc = []

    def unpack(self, name):
        frequency, bins, first = (
            self.arrays[f"prior.{name}.{part}"] for part in ("frequency", "bins", "first")
        )
        ends = np.cumsum(bins)
        parts = [frequency[end - size : end].astype(int) + 1 for size, end in zip(bins, ends, strict=True)]
        return [([0, *np.cumsum(p).tolist()], int(low)) for p, low in zip(parts, first, strict=True)]

    def group(self, name, rows):
        """Symbols with tables, in the grouping order."""
        found = [0] * len(rows)
        for place in sorted(range(len(rows)), key=lambda i: (rows[i], i)):
            found[place] = self.decoder._decode_one(*self.tables[name][rows[place]])
        return found

    def at(self, name, quality):
        """at(a) of the specification."""
        a, p = self.arrays[f"prior.{name}"].astype(int), quality * (self.levels - 1)
        i, r = p // 10000, p % 10000
        return (a[i] * (10000 - r) + a[min(i + 1, self.levels - 1)] * r + 5000) // 10000

    def frame(self, rows, cols, quality):
        """(counts, entries), blocks by size, and values {(size, number, component): N x N array}."""
        components = self.arrays["prior.default_scale"].shape[2]
        axes = self.axes(components)
        blocks = self.partition(rows, cols, quality)
        scale = self.spectrum(components, quality)
        book = Book(rows, cols, blocks, scale, quality)
        values = {
            (size, n, c): np.zeros((size, size))
            for size in blocks
            for n in range(len(blocks[size]))
            for c in range(components)
        }
        for pairs, half in book.passes():
            self.one_pass(book, pairs, half, values)
        return axes, blocks, values

    def axes(self, components):
        counts = self.group("count_tables", list(range(7)))
        scales = self.arrays["prior.entry_scale"].astype(int)
        stated = [
            (ring, e) for ring, a in enumerate(counts) for e in range(a * (components - 1) - a * (a - 1) // 2)
        ]
        entries = np.zeros(scales.shape, int)
        found = self.group("family", [51 * 3 + int(scales[where]) for where in stated])
        for where, value in zip(stated, found, strict=True):
            entries[where] = value
        self.crc += [*counts, *entries.ravel().tolist()]
        return counts, entries

    def partition(self, rows, cols, quality):
        level = (2 * quality * (self.levels - 1) + 10000) // 20000
        places = [(4 * i, 4 * j) for i in range(rows // 4) for j in range(cols // 4)]
        flags = self.group("split_tables", [2 * level] * len(places))
        self.crc += flags
        large = [place for place, flag in zip(places, flags, strict=True) if flag]
        taken = {(r + i, c + j) for r, c in large for i in range(4) for j in range(4)}
        places = [(2 * i, 2 * j) for i in range(rows // 2) for j in range(cols // 2)]
        free = [place for place in places if place not in taken]
        flags = dict(zip(free, self.group("split_tables", [2 * level + 1] * len(free)), strict=True))
        self.crc += [flags.get(place, 0) for place in places]
        medium = [place for place in free if flags[place]]
        taken |= {(r + i, c + j) for r, c in medium for i in range(2) for j in range(2)}
        small = [(r, c) for r in range(rows) for c in range(cols) if (r, c) not in taken]
        return {size: found for size, found in zip(SIZES, (small, medium, large), strict=True) if found}

    def spectrum(self, components, quality):
        default = self.at("default_scale", quality)
        carry, live, scale = [0] * components, [0] * components, []
        for band in range(25):
            expected = [min(max(int(default[band][c]) + carry[c], 0), 50) for c in range(components)]
            delta = self.group("delta_tables", [9 * live[c] + expected[c] // 6 for c in range(components)])
            scale.append([-1 if d == -14 else e + d for e, d in zip(expected, delta, strict=True)])
            for c, s in enumerate(scale[-1]):
                live[c] = int(s >= 0)
                carry[c] = s - int(default[band][c]) if s >= 0 else carry[c]
        self.crc += [s for row in scale for s in row]
        return scale

    def network(self, x):
        for layer in (0, 1, 2):
            weight, bias = (self.arrays[f"prior.net.{layer}.{k}"].astype(float) for k in ("weight", "bias"))
            x = weight @ x + bias
            x = np.maximum(x, 0.1 * x) if layer < 2 else x
        return x

    def one_pass(self, book, pairs, half, values):
        places, tables, coded = [], [], []
        for size in book.blocks:
            units = book.units(size, pairs, half)
            for b, c, o in units:
                rows = []
                for n in range(len(book.blocks[size])):
                    p, q = self.network(np.array(book.features((size, n), b, c, half, o)))
                    shape, index = np.floor(5 * q + 0.5), np.floor(book.scale[b][c] + 3 * p + 0.5)
                    rows.append(51 * int(np.clip(shape, 0, 5)) + int(np.clip(index, 0, 50)))
                for u, v in shape_of(size).places[b, half, o]:
                    tables += rows
                    places += [(size, n, c, u, v) for n in range(len(rows))]
            coded.append((size, units))
        symbols = self.group("family", tables)
        self.crc += symbols
        for (size, n, c, u, v), t, k in zip(places, tables, symbols, strict=True):
            if k:
                shift = np.float32(self.arrays["prior.shift"][t, min(abs(k), 3) - 1])
                values[size, n, c][u, v] = np.float32(k + np.sign(k) * float(shift))
        begin = 0
        for size, units in coded:
            n = len(book.blocks[size])
            end = begin + n * sum(len(shape_of(size).places[b, half, o]) for b, _, o in units)
            book.learn(size, units, half, np.reshape(symbols[begin:end], (-1, n)))
            begin = end


def latents_by_the_book(axes, blocks, values, step, basis, rows, cols):
    """y_hat [256 C, rows, cols] of decoded values."""
    components = basis.shape[1]
    own = bases(np.array(axes[0]), np.array(axes[1]), components)
    image = np.zeros((components, 16 * rows, 16 * cols))
    for size, corners in blocks.items():
        radius = 16 / size * np.hypot(*np.mgrid[0:size, 0:size])
        ring = sum((radius >= edge).astype(int) for edge in (0.5, 1.5, 3, 5, 8, 12))
        for n, (row, col) in enumerate(corners):
            z = np.stack([values[size, n, c] for c in range(components)])
            turned = np.einsum("uvck,kuv->cuv", (basis.astype(float) @ own)[ring], step * z)
            d = dct_matrix(size)
            image[:, 16 * row : 16 * row + size, 16 * col : 16 * col + size] = d.T @ turned @ d
    u = block_dct(image, 16).reshape(256, components, -1)
    return np.matmul(basis.astype(float).transpose(0, 2, 1)[RING], u).reshape(-1, rows, cols)


@pytest.mark.parametrize(("rows", "cols", "quality_steps"), [(1, 2, 2600), (5, 6, 4321), (4, 9, 9000)])
def test_the_specification_decodes_a_stream(coder, rows, cols, quality_steps):
    y = some_latents(rows, cols, COMPONENTS, seed=3)
    frame, stream, escapes = code(coder, y, quality_steps)
    book = ByTheBook(stream, escapes, pack_prior(coder.prior))
    axes, blocks, values = book.frame(rows, cols, quality_steps)
    book.decoder.finish()
    assert symbols_crc(np.array(book.crc, np.int32)) == coder.crc([frame])
    step = coder.prior.step(quality_steps)
    wanted = latents_by_the_book(axes, blocks, values, step, coder.basis, rows, cols)
    back = coder.decode(SymbolDecoder(stream, escapes), EdgeReader(b""), rows, cols, quality_steps)
    found = coder.latents(back, quality_steps, np.float64).dense(RING).reshape(wanted.shape)
    assert np.abs(found - wanted).max() < 1e-10 * np.abs(wanted).max()


def test_a_tile_of_the_book_has_blocks_of_every_size(coder):
    frame, *_ = code(coder, some_latents(4, 9, COMPONENTS, seed=3), 9000)
    assert all(len(frame.partition.corners(size)) for size in SIZES)
