"""What the synthesis is told of the quality: linear between levels, and nothing before training."""

import pytest
import torch

from eocodec.errors import ConfigError
from eocodec.models.fp import FpConfig, TecFp
from eocodec.nn.rates import Rates

SIZES = {"quarter": 8, "eighth": 8, "sixteenth": 8, "bent": 16, "levels": 2}


def test_levels_are_met_and_joined_by_lines():
    rates = Rates(3, 4, 2)
    torch.nn.init.normal_(rates.bias)
    torch.nn.init.normal_(rates.gain)
    bias, gain = rates.at(torch.tensor([0.0, 0.5, 1.0, 0.75]))
    assert torch.allclose(bias[:3], rates.bias)
    assert torch.allclose(gain[:3], 1 + rates.gain)
    assert torch.allclose(bias[3], rates.bias[1:].mean(0))


def test_untrained_rates_change_nothing_and_trained_ones_do():
    torch.manual_seed(0)
    plain = TecFp(FpConfig(**SIZES))
    torch.nn.init.normal_(plain.g_s.head.weight)
    told = TecFp(FpConfig(**SIZES, rates=4))
    missing, unknown = told.load_state_dict(plain.state_dict(), strict=False)
    assert sorted(missing) == ["g_s.rates.bias", "g_s.rates.gain"]
    assert not unknown
    y, low, high = torch.randn(1, 3072, 2, 2), torch.tensor([0.1]), torch.tensor([0.9])
    with torch.no_grad():
        assert torch.equal(told.synthesis(y, low), plain.synthesis(y))
        torch.nn.init.normal_(told.g_s.rates.gain)
        assert not torch.equal(told.synthesis(y, low), told.synthesis(y, high))
        both = told.synthesis(y.repeat(2, 1, 1, 1), torch.cat([low, high]))
        assert torch.allclose(both[1], told.synthesis(y, high)[0], atol=1e-5)


def test_a_synthesis_that_has_to_be_told_says_so():
    with pytest.raises(ConfigError, match="told the quality"):
        TecFp(FpConfig(**SIZES, rates=2)).synthesis(torch.zeros(1, 3072, 1, 1))
