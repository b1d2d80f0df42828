"""Damaged codestreams end in a named error, never in an array."""

import dataclasses

import numpy as np
import pytest

from codec_support import tile
from eocodec import codec
from eocodec.codestream import Header, Section, SectionType, read, write
from eocodec.codestream.header import DTYPE_CODES
from eocodec.codestream.units_section import Units, pack_units
from eocodec.coding.crc import symbols_crc
from eocodec.errors import (
    ChecksumMismatch,
    CodestreamError,
    LimitExceeded,
    MalformedHeader,
    MalformedSection,
    ModelNotFound,
    TrailingBytes,
)

PATTERNS = (0x01, 0x80, 0xFF, 0x5A)


@pytest.fixture(scope="module")
def data(tiny_model):
    """A codestream with every section, nodata and escapes: two dates of 18 x 20 pixels."""
    array = tile(18, 20, seed=7, timesteps=2).astype("float32")
    array[:, :, 3:7, 5:9] = -9999
    array[0, 4, 10:12, 10:12] = 65535
    array[1, :, 15, 15] = 2**23
    coded = codec.encode(array, model=tiny_model, quality=5, nodata=-9999, offset=-1.0)
    sections = {kind.name for kind in read(coded).sections}
    assert sections == {"MASK", "SYMBOLS", "ESCAPES", "UNITS", "SATURATED"}
    return coded


def test_a_flip_of_any_byte(data):
    assert codec.decode(data).shape == (2, 12, 18, 20)
    for position in range(len(data)):
        for pattern in PATTERNS:
            damaged = data[:position] + bytes([data[position] ^ pattern]) + data[position + 1 :]
            with pytest.raises((CodestreamError, ModelNotFound)) as caught:
                codec.decode(damaged)
            assert type(caught.value) is not CodestreamError


def test_truncation_at_any_length(data):
    for length in range(len(data)):
        with pytest.raises(CodestreamError) as caught:
            codec.decode(data[:length])
        assert type(caught.value) is not CodestreamError


def test_bytes_lost_doubled_or_added(data):
    for position in range(0, len(data), 7):
        for damaged in (data[:position] + data[position + 1 :], data[: position + 1] + data[position:]):
            with pytest.raises(CodestreamError):
                codec.decode(damaged)
    with pytest.raises(TrailingBytes):
        codec.decode(data + b"\0")


def forged(data, **sections):
    """The codestream with other contents of some sections, all checksums but that of symbols made to fit."""
    stream = read(data)
    contents = {kind.name: content for kind, content in stream.sections.items()} | sections
    return write(stream.header, [Section(SectionType[name], content) for name, content in contents.items()])


def test_symbols_have_a_checksum_of_their_own(data):
    """What gets past the CRC of the payload meets the decoder itself, which finds it out."""
    symbols = read(data).sections[SectionType.SYMBOLS]
    image, kinds, harmless = codec.decode(data), set(), set()
    for position in np.linspace(0, len(symbols) - 1, 40).astype(int):
        for pattern in PATTERNS[::2]:
            changed = bytearray(symbols)
            changed[position] ^= pattern
            try:
                assert np.array_equal(codec.decode(forged(data, SYMBOLS=bytes(changed))), image)
                harmless.add(position)
            except CodestreamError as error:
                kinds.add(type(error).__name__)
    assert "ChecksumMismatch" in kinds
    assert harmless <= {len(symbols) - 1}  # several values of the last byte end the same stream


def test_noise_in_place_of_symbols(data):
    rng = np.random.default_rng(0)
    for size in (0, 1, 8, 50, 400):
        noise = rng.bytes(size) + b"\1"
        with pytest.raises(CodestreamError):
            codec.decode(forged(data, SYMBOLS=noise))
        with pytest.raises(CodestreamError):
            codec.decode(forged(data, ESCAPES=noise))
        with pytest.raises(CodestreamError):
            codec.decode(forged(data, SYMBOLS=noise, ESCAPES=noise))


@pytest.mark.parametrize("name", ["MASK", "SATURATED", "UNITS"])
def test_noise_in_other_sections(data, name):
    """Masks and units have no second checksum: a named error, or what the forger wrote, in its shape."""
    rng = np.random.default_rng(1)
    refused = 0
    for size in (1, 2, 3, 17, 40, 41):
        try:
            decoded = codec.decode(forged(data, **{name: rng.bytes(size)}))
            assert (decoded.shape, decoded.dtype) == ((2, 12, 18, 20), np.float32)
        except CodestreamError:
            refused += 1
    assert refused >= 4


@pytest.mark.parametrize(
    "change", [{"quality_steps": 9000}, {"shape": (1, 12, 18, 20)}, {"shape": (2, 12, 33, 20)}]
)
def test_a_header_that_does_not_fit_the_symbols(data, change):
    stream = read(data)
    sections = [Section(kind, content) for kind, content in stream.sections.items() if kind in (0x88, 0x89)]
    with pytest.raises(CodestreamError):
        codec.decode(write(dataclasses.replace(stream.header, **change), sections))


@pytest.mark.parametrize("bands", [1, 11, 13])
def test_r36_bands_are_those_of_the_model(data, bands):
    stream = read(data)
    header = dataclasses.replace(stream.header, shape=(2, bands, 18, 20))
    with pytest.raises(MalformedHeader, match="R36"):
        codec.decode(write(header, [Section(SectionType.SYMBOLS, stream.sections[SectionType.SYMBOLS])]))


def test_r45_edges_of_a_model_that_resolves_nothing(data):
    stream = read(data)
    sections = {**stream.sections, SectionType.EDGES: b"\x04"}
    with pytest.raises(MalformedSection, match="R45"):
        codec.decode(write(stream.header, [Section(kind, sections[kind]) for kind in sorted(sections)]))


@pytest.mark.parametrize("dtype", sorted(DTYPE_CODES))
def test_any_dtype_over_any_symbols(data, dtype):
    """Symbols do not know the dtype; a header that claims another one is a tile of that dtype."""
    stream = read(data)
    header = dataclasses.replace(stream.header, dtype=dtype, nodata=None)
    contents = {kind: stream.sections[kind] for kind in (SectionType.SYMBOLS, SectionType.ESCAPES)}
    contents[SectionType.UNITS] = pack_units(Units(1e-12))
    decoded = codec.decode(write(header, [Section(*item) for item in contents.items()]))
    assert (decoded.dtype.name, decoded.shape) == (dtype, (2, 12, 18, 20))


def test_nothing_at_all_is_not_a_tile(loaded):
    header = Header(loaded.card.fingerprint, (1, 12, 16, 16), "uint16", 5000, symbols_crc(np.zeros(0, "i4")))
    with pytest.raises(ChecksumMismatch):
        codec.decode(write(header, []))


def test_a_few_bytes_cannot_ask_for_billions_of_symbols(loaded):
    header = Header(loaded.card.fingerprint, (1, 12, 1, 2**25), "uint16", 5000)
    with pytest.raises(LimitExceeded, match="R31"):
        codec.decode(write(header, [Section(SectionType.SYMBOLS, b"x")]))


def test_a_model_that_is_not_installed(data):
    header = dataclasses.replace(read(data).header, fingerprint=b"notthere")
    sections = [Section(kind, content) for kind, content in read(data).sections.items()]
    with pytest.raises(ModelNotFound, match=b"notthere".hex()):
        codec.decode(write(header, sections))
