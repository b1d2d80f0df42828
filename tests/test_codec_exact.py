"""Rate and exactness: coded bits are what the tables promise, and every machine decodes the same symbols."""

import os
import subprocess
import sys

import numpy as np
import pytest

from codec_support import tile
from eocodec import codec
from eocodec.codestream import SectionType, read
from eocodec.coding.range_coder import SymbolDecoder
from eocodec.coding.reference import ReferenceDecoder
from eocodec.coding.tables import estimate_bits
from eocodec.entropy.prior import frames_crc


def coded(tiny_model, quality, **options):
    """(header, stream, escapes, n) of a series of two dates, with one pixel far outside the tables."""
    array = tile(40, 33, timesteps=2)
    array[1, :, 20, 20] = 60_000
    stream = read(codec.encode(array, model=tiny_model, quality=quality, **options))
    symbols, escapes = (stream.sections.get(k, b"") for k in (SectionType.SYMBOLS, SectionType.ESCAPES))
    return stream.header, symbols, escapes, 3 * 3


class Counting(SymbolDecoder):
    """Adds up what the tables say that the decoded symbols cost, side information and all."""

    bits = 0.0

    def decode(self, table_index, tables):
        symbols = super().decode(table_index, tables)
        self.bits += estimate_bits(symbols, table_index, tables)
        return symbols

    def decode_channels(self, table_index, n, tables):
        symbols = super().decode_channels(table_index, n, tables)
        self.bits += estimate_bits(symbols, np.reshape(table_index, (-1, 1)), tables)
        return symbols


@pytest.mark.parametrize("quality", [0, 37.5, 100])
def test_coded_bits_are_the_estimate(tiny_model, loaded, quality):
    header, stream, escapes, n = coded(tiny_model, quality)
    decoder = Counting(stream, escapes)
    for _ in range(header.shape[0]):
        loaded.prior.decode(decoder, n, header.quality_steps)
    decoder.finish()
    assert decoder.bits > 500
    assert decoder.bits - 64 < 8 * len(stream) <= 1.01 * decoder.bits + 64


def test_the_whole_codestream_is_little_more(tiny_model):
    data = codec.encode(tile(40, 33), model=tiny_model, quality=60)
    sections = read(data).sections
    assert len(data) - sum(map(len, sections.values())) < 50


@pytest.mark.parametrize("quality", [10, 90])
def test_the_reference_decoder_reads_a_real_codestream(tiny_model, loaded, quality):
    header, stream, escapes, n = coded(tiny_model, quality)
    assert escapes
    decoder = ReferenceDecoder(stream, escapes)
    frames = [loaded.prior.decode(decoder, n, header.quality_steps) for _ in range(header.shape[0])]
    decoder.finish()
    assert frames_crc(frames, loaded.prior.channels) == header.symbols_crc


ELSEWHERE = """
import sys
import numpy as np, torch
torch.set_num_threads(int(sys.argv[3]))
torch.backends.mkldnn.enabled = sys.argv[4] == "onednn"
from eocodec import codec
from eocodec.codestream import read
from eocodec.entropy.prior import frames_crc
from eocodec.models import registry
from eocodec.models.weights import load_fingerprint
registry.by_id(sys.argv[1])
stream = read(open(sys.argv[2], "rb").read())
model = load_fingerprint(stream.header.fingerprint)
print(frames_crc(codec.decode_frames(stream, model), model.prior.channels))
np.save(sys.argv[2] + ".npy", codec.decode(open(sys.argv[2], "rb").read()))
"""


@pytest.mark.parametrize(
    ("threads", "onednn", "environment"),
    [(2, "onednn", {}), (1, "off", {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"})],
    ids=["two threads", "oneDNN off, ATen default"],
)
def test_another_process_decodes_the_same(tiny_model, tmp_path, monkeypatch, threads, onednn, environment):
    monkeypatch.setenv("EOCODEC_PRECISION", "float32")
    data = codec.encode(tile(40, 33, timesteps=2), model=tiny_model, quality=70)
    here = codec.decode(data)
    path = tmp_path / "stream"
    path.write_bytes(data)
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, tiny_model, str(path), str(threads), onednn],
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(run.stdout) == read(data).header.symbols_crc
    assert np.load(f"{path}.npy").astype(int) == pytest.approx(here.astype(int), abs=1)
