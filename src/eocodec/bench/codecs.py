"""The codecs that `eocodec bench run` knows, by name and by group."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from eocodec.bench.base import LABELS, BenchCodec, LearnedCodec
from eocodec.bench.imported import ImportedCodec, lambdas_of_kinds
from eocodec.errors import InputError
from eocodec.models import registry
from eocodec.options import DEFAULT_MODEL

# Qualities of our models, for smooth curves from the lowest rate to the highest.
QUALITIES = (0, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95, 100)
OURS_BOUNDED = "eocodec-bound"


@dataclass(frozen=True)
class Entry:
    """One codec: the name in results, the words in tables, its group, and what makes it."""

    name: str
    label: str
    group: str
    make: Callable[[], BenchCodec]


def _j2k() -> BenchCodec:
    from eocodec.bench.classical import Jpeg2000

    return Jpeg2000()


def _x265(preset: str) -> BenchCodec:
    from eocodec.bench.classical import X265

    return X265(preset=preset)


def _av1(preset: int) -> BenchCodec:
    from eocodec.bench.classical import SvtAv1

    return SvtAv1(preset=preset)


def _native(inner: Callable[[], BenchCodec]) -> BenchCodec:
    from eocodec.bench.native import Native

    return Native(inner())


def _klt(name: str) -> BenchCodec:
    from eocodec.bench import klt

    return klt.KltX265() if name == "klt+x265" else klt.KltJpeg2000()


def _still(name: str) -> BenchCodec:
    from eocodec.bench import stills

    makers: dict[str, Callable[[], BenchCodec]] = {
        "jxl": stills.JpegXl,
        "webp": stills.WebP,
        "jpeg": stills.Jpeg,
        "jxl-lossless": stills.JpegXlLossless,
        "jpegls": stills.JpegLs,
        "zstd": stills.ZstdPredictor,
    }
    return makers[name]()


def _bounded(name: str) -> BenchCodec:
    from eocodec.bench import bounded

    if name == OURS_BOUNDED:
        ours = bounded.Ours(DEFAULT_MODEL)  # no quality: nothing of the model is used
        ours.name = name
        return ours
    makers: dict[str, Callable[[], BenchCodec]] = {
        "sperr": bounded.Sperr,
        "sz3": bounded.Sz3,
        "lerc+zstd": bounded.LercZstd,
    }
    return makers[name]()


CLASSICAL: tuple[Entry, ...] = (
    Entry("j2k", LABELS["j2k"], "classical", _j2k),
    Entry("jxl", "JPEG XL per band", "classical", partial(_still, "jxl")),
    Entry("webp", "WebP, 8 bit", "classical", partial(_still, "webp")),
    Entry("jpeg", "JPEG, 8 bit", "classical", partial(_still, "jpeg")),
    Entry("x265", LABELS["x265"], "classical", partial(_x265, "slow")),
    Entry("av1", LABELS["av1"], "classical", partial(_av1, 4)),
    Entry("klt+j2k", "KLT + JPEG 2000", "classical", partial(_klt, "klt+j2k")),
    Entry("klt+x265", "KLT + x265", "classical", partial(_klt, "klt+x265")),
    Entry("x265-slower", "x265 slower", "strong", partial(_x265, "slower")),
    Entry("x265-veryslow", "x265 veryslow", "strong", partial(_x265, "veryslow")),
    Entry("av1-p2", "SVT-AV1 preset 2", "strong", partial(_av1, 2)),
    Entry("av1-p1", "SVT-AV1 preset 1", "strong", partial(_av1, 1)),
    Entry("av1-p0", "SVT-AV1 preset 0", "strong", partial(_av1, 0)),
    Entry("j2k-native", "JPEG 2000, native planes", "native", partial(_native, _j2k)),
    Entry("x265-native", "x265, native planes", "native", partial(_native, partial(_x265, "slow"))),
    Entry("av1-native", "SVT-AV1, native planes", "native", partial(_native, partial(_av1, 4))),
    Entry("jxl-lossless", "JPEG XL lossless", "lossless", partial(_still, "jxl-lossless")),
    Entry("jpegls", "JPEG-LS lossless", "lossless", partial(_still, "jpegls")),
    Entry("zstd", "ZSTD + predictor", "lossless", partial(_still, "zstd")),
    Entry("sperr", "SPERR", "bounded", partial(_bounded, "sperr")),
    Entry("sz3", "SZ3", "bounded", partial(_bounded, "sz3")),
    Entry("lerc+zstd", "LERC + ZSTD", "bounded", partial(_bounded, "lerc+zstd")),
    Entry(OURS_BOUNDED, "eocodec with max_error", "bounded", partial(_bounded, OURS_BOUNDED)),
)
GROUPS = ("classical", "strong", "native", "lossless", "bounded", "ours", "published")
DEFAULT = ("classical", "lossless", "bounded", "ours")


def entries() -> tuple[Entry, ...]:
    """All codecs of this installation: the classical ones, our models, others' where installed."""
    ours = tuple(
        Entry(card.id, f"{card.id} (eocodec)", "ours", partial(LearnedCodec, card.id, QUALITIES))
        for card in registry.installed()
    )
    imported = tuple(
        Entry(kind, f"{kind} (eocodec)", "published", partial(ImportedCodec, kind, lambdas))
        for kind, lambdas in lambdas_of_kinds().items()
    )
    return (*CLASSICAL, *ours, *imported, *_published())


def _published() -> tuple[Entry, ...]:
    if importlib.util.find_spec("terracodec") is None:
        return ()
    from eocodec.bench.published import MODELS, PublishedCodec

    return tuple(
        Entry(name, f"{name} (published)", "published", partial(PublishedCodec, name)) for name in MODELS
    )


def select(words: Sequence[str]) -> tuple[Entry, ...]:
    """The codecs of names and groups ('all', 'default'), in this module's order.

    Raises
    ------
    InputError : a word is neither
    """
    known = entries()
    names = {entry.name for entry in known}
    wanted = {*words, *(DEFAULT if "default" in words else ())}
    unknown = sorted(wanted - names - {*GROUPS, "all", "default"})
    if unknown:
        raise InputError(
            f"unknown codec {', '.join(unknown)}; groups: default, all, {', '.join(GROUPS)}; "
            f"names: {', '.join(sorted(names))}"
        )
    return tuple(e for e in known if "all" in wanted or e.name in wanted or e.group in wanted)
