"""Imported published models behind the interface of the benchmark: those of one kind are one codec."""

from __future__ import annotations

from collections import defaultdict

from eocodec.bench.base import Image, LearnedCodec
from eocodec.models import registry


def lambdas_of_kinds() -> dict[str, tuple[float, ...]]:
    """Kinds of models of one rate that were imported, such as 'published/tec-fp', and their lambdas."""
    found: dict[str, set[float]] = defaultdict(set)
    for card in registry.imported():
        kind, _, lmbda = card.id.partition("@")
        number = lmbda.replace(".", "", 1).isdecimal()
        if card.id.startswith(registry.PUBLISHED_PREFIX) and card.quality is not None and number:
            found[kind].add(float(lmbda))
    return {kind: tuple(sorted(lambdas)) for kind, lambdas in found.items()}


class ImportedCodec(LearnedCodec):
    """One kind; the setting is the lambda of a model's training, the nearest one that was imported.

    Parameters
    ----------
    kind, lambdas : as `lambdas_of_kinds` gives them
    """

    def __init__(self, kind: str, lambdas: tuple[float, ...]) -> None:
        super().__init__(kind, lambdas)

    def encode(self, series: Image, setting: float) -> bytes:
        """One codestream, the whole of it."""
        nearest = min(self.settings, key=lambda lmbda: abs(lmbda - setting))
        return self._encode(series, model=f"{self.model}@{nearest:g}")
