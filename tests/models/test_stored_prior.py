"""Priors of series as arrays: which sources predictions have is kept, and said only where it has to be."""

import numpy as np
import pytest

from eocodec.entropy.sources import Sources
from eocodec.entropy.temporal_coder import TemporalPrior
from eocodec.models.stored_prior import pack_prior, unpack_prior
from temporal_support import some_temporal

NAME = "later.prior.sources"


@pytest.fixture(scope="module")
def coder():
    return some_temporal()


@pytest.mark.parametrize("sources", [Sources.BENT, Sources.SLOPES])
def test_sources_come_back(coder, sources):
    arrays = pack_prior(TemporalPrior(coder.first.prior, coder.later.prior, sources))
    back = unpack_prior(arrays, "tec-tt")
    assert back.sources is sources
    assert pack_prior(back).keys() == arrays.keys()


def test_models_of_the_first_sources_are_stored_as_ever(coder):
    assert NAME not in pack_prior(TemporalPrior(coder.first.prior, coder.later.prior))


def test_sources_that_do_not_exist_are_refused(coder):
    arrays = pack_prior(TemporalPrior(coder.first.prior, coder.later.prior))
    with pytest.raises(KeyError, match=NAME):
        unpack_prior({**arrays, NAME: np.array([7], np.uint8)}, "tec-tt")
