"""The priors of the models as named arrays, for weights files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eocodec.coding.tables import CdfTables
from eocodec.entropy.axes_tables import AxesTables
from eocodec.entropy.context import ContextNet
from eocodec.entropy.context_prior import ContextPrior
from eocodec.entropy.layer_channels import LayeredPrior, RefinedPrior
from eocodec.entropy.prior import FactorizedPrior
from eocodec.entropy.sources import Sources
from eocodec.entropy.temporal_coder import TemporalPrior
from eocodec.entropy.tile_spectrum import SpectrumTables

Arrays = dict[str, NDArray[Any]]
Prior: TypeAlias = FactorizedPrior | ContextPrior | TemporalPrior | LayeredPrior
_LATER = "later."  # before names of arrays for timesteps that are predicted
_SOURCES = "later.prior.sources"
_FINER = "finer."  # before names of arrays for finer layers
_REFINED = "refined."  # and of those for timesteps whose references are known better by now
_TABLE_KEYS = ("frequency", "bins", "first")
_TABLE_SETS = ("family", "shift_table", "delta_tables", "shape_tables", "count_tables")
_INDEX_SETS = ("default_scale", "default_shape", "offset_scale", "entry_scale")


def pack_tables(tables: CdfTables) -> Arrays:
    """Three arrays that stand for a set of tables."""
    frequencies = [np.diff(tables.table(i).astype(np.int64)) - 1 for i in range(tables.count)]
    return {
        "frequency": np.concatenate(frequencies).astype(np.uint16),
        "bins": tables.sizes.astype(np.int32),
        "first": tables.first,
    }


def unpack_tables(arrays: Mapping[str, NDArray[Any]]) -> CdfTables:
    """Inverse of `pack_tables`."""
    bins = arrays["bins"].astype(np.int64)
    frequencies = np.split(arrays["frequency"].astype(np.int64) + 1, np.cumsum(bins)[:-1])
    cdf = np.concatenate([np.concatenate([[0], np.cumsum(f)]) for f in frequencies]).astype(np.uint32)
    start = np.concatenate([[0], np.cumsum(bins + 1)]).astype(np.int64)
    return CdfTables(cdf=cdf, start=start, first=arrays["first"].astype(np.int32))


def pack_prior(prior: Prior) -> Arrays:
    """Arrays named `prior.*`; those of later timesteps `later.prior.*`, of finer layers `finer.prior.*`."""
    if isinstance(prior, LayeredPrior):
        finer = _pack_sets({"children": prior.children, "new_tables": prior.new_tables})
        finer |= {**_pack_net(prior.net), "prior.shift": prior.shift.astype(np.float32)}
        if prior.refined is not None:
            refined = {**_pack_net(prior.refined.net), "prior.settled": prior.refined.settled}
            finer |= {_REFINED + name: value for name, value in refined.items()}
        return pack_prior(prior.base) | {_FINER + name: value for name, value in finer.items()}
    if isinstance(prior, TemporalPrior):
        later = _pack_context(prior.later)
        arrays = _pack_context(prior.first) | {_LATER + name: value for name, value in later.items()}
        if prior.sources != Sources.BENT:  # the first models do not say
            arrays[_SOURCES] = np.array([prior.sources], np.uint8)
        return arrays
    if isinstance(prior, ContextPrior):
        return _pack_context(prior)
    arrays = _pack_sets({name: getattr(prior, name) for name in _TABLE_SETS})
    for name in _INDEX_SETS:
        arrays[f"prior.{name}"] = getattr(prior, name).astype(np.uint8)
    return arrays


def unpack_prior(arrays: Arrays, family: str) -> Prior:
    """Inverse of `pack_prior`, of a family of models; `KeyError` where an array is missing."""
    if family == "tec-fp":
        return unpack_factorized(arrays)
    if family == "tec-elic":
        return unpack_context(arrays)
    later = unpack_context(_within(arrays, _LATER))
    series = TemporalPrior(unpack_context(arrays), later, _unpack_sources(arrays))
    return unpack_layered(series, _within(arrays, _FINER)) if family == "flextec" else series


def _unpack_sources(arrays: Arrays) -> Sources:
    number = int(arrays[_SOURCES][0]) if _SOURCES in arrays else int(Sources.BENT)
    if number not in list(Sources):
        raise KeyError(f"{_SOURCES} = {number}")
    return Sources(number)


def _within(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def unpack_layered(base: TemporalPrior, finer: Arrays) -> LayeredPrior:
    """Inverse of `pack_prior`; `KeyError` where an array is missing."""
    children, new_tables = _unpack_set(finer, "children"), _unpack_set(finer, "new_tables")
    own = _within(finer, _REFINED)
    refined = RefinedPrior(_unpack_net(own), own["prior.settled"].astype(np.float32)) if own else None
    return LayeredPrior(base, _unpack_net(finer), children, finer["prior.shift"], new_tables, refined)


def unpack_factorized(arrays: Arrays) -> FactorizedPrior:
    """Inverse of `pack_prior`; `KeyError` where an array is missing."""
    sets: dict[str, Any] = {name: _unpack_set(arrays, name) for name in _TABLE_SETS}
    for name in _INDEX_SETS:
        sets[name] = arrays[f"prior.{name}"].astype(np.int64)
    return FactorizedPrior(**sets)


def _pack_context(prior: ContextPrior) -> Arrays:
    arrays = _pack_sets(
        {
            "family": prior.family,
            "count_tables": prior.axes.count_tables,
            "delta_tables": prior.spectrum.tables,
            "split_tables": prior.split_tables,
        }
    )
    arrays |= _pack_net(prior.net)
    arrays["prior.entry_scale"] = prior.axes.entry_scale.astype(np.uint8)
    arrays["prior.default_scale"] = prior.spectrum.default_scale.astype(np.uint8)
    arrays["prior.log2_step"] = prior.log2_step
    arrays["prior.shift"] = prior.shift.astype(np.float32)
    return arrays


def unpack_context(arrays: Arrays) -> ContextPrior:
    """Inverse of `pack_prior`; `KeyError` where an array is missing."""
    family = _unpack_set(arrays, "family")
    entry_scale = arrays["prior.entry_scale"].astype(np.int64)
    default = arrays["prior.default_scale"].astype(np.int64)
    return ContextPrior(
        net=_unpack_net(arrays),
        family=family,
        axes=AxesTables(family, _unpack_set(arrays, "count_tables"), entry_scale),
        spectrum=SpectrumTables(default, _unpack_set(arrays, "delta_tables")),
        split_tables=_unpack_set(arrays, "split_tables"),
        log2_step=arrays["prior.log2_step"].astype(np.float64),
        shift=arrays["prior.shift"].astype(np.float32),
    )


def _pack_net(net: ContextNet) -> Arrays:
    arrays = {}
    for layer, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        arrays[f"prior.net.{layer}.weight"] = weight.astype(np.float32)
        arrays[f"prior.net.{layer}.bias"] = bias.astype(np.float32)
    return arrays


def _unpack_net(arrays: Mapping[str, NDArray[Any]]) -> ContextNet:
    weights = [arrays[f"prior.net.{layer}.weight"].astype(np.float64) for layer in range(3)]
    biases = [arrays[f"prior.net.{layer}.bias"].astype(np.float64) for layer in range(3)]
    return ContextNet((weights[0], weights[1], weights[2]), (biases[0], biases[1], biases[2]))


def _pack_sets(sets: Mapping[str, CdfTables]) -> Arrays:
    return {
        f"prior.{name}.{key}": value
        for name, tables in sets.items()
        for key, value in pack_tables(tables).items()
    }


def _unpack_set(arrays: Arrays, name: str) -> CdfTables:
    return unpack_tables({key: arrays[f"prior.{name}.{key}"] for key in _TABLE_KEYS})
