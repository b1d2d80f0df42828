"""FlexTEC's prior: what is counted, and a fit from one end to the other."""

from dataclasses import replace

import numpy as np
import pytest

from eocodec.entropy.family import SCALES
from eocodec.entropy.layer_channels import LayeredPrior
from eocodec.entropy.layered_frame import TOKENS
from eocodec.entropy.layers import PARENTS, ROWS, outcome_costs
from eocodec.errors import ConfigError
from eocodec.models import registry, weights
from eocodec.train import layered_fit, refined_fit
from eocodec.train.config import TrainConfig
from layered_support import some_layered_prior
from test_codec_series import fields


def test_statistics_become_tables():
    prior, found = some_layered_prior(), layered_fit.Statistics()
    rows = np.full(4000, 2 * SCALES + 20)
    parents = np.repeat(np.array([0, 2], np.int32), 2000)
    outcomes = np.tile(np.array([0, 0, 1, 2], np.int32), 1000)
    latents = (2 * np.abs(parents) + outcomes + 0.7).astype(np.float32)
    found.outcomes(rows, parents, latents, outcomes, None)
    found.new_scales(np.array([1, 1, 1]), np.array([-1, -1, 20]))
    made = found.into(prior)
    costs = outcome_costs(made.children)
    beyond = (500 + 0.001 * 50) / (2000 + 50)
    assert 2 ** -costs[rows[0], -1] == pytest.approx(beyond / 2, rel=0.02)  # of either sign
    assert 2 ** -costs[2 * ROWS + rows[0], -1] == pytest.approx(beyond, rel=0.02)
    assert made.shift[rows[0], 1] == pytest.approx((500 * 0.7 + 200 * 0.4) / 700, abs=0.01)
    assert made.shift[rows[0], 0] == 0
    counts = np.diff(made.new_tables.table(1).astype(np.int64))
    assert counts[0] > counts[21] > counts[10]


def test_outcomes_are_numbered_by_kind_of_parent():
    costs = layered_fit._outcome_costs(some_layered_prior())
    assert costs.costs.shape == (ROWS, layered_fit.COUNTED)
    expected = outcome_costs(some_layered_prior().children)
    for kind in range(PARENTS):
        assert np.array_equal(costs.costs[7, 3 * kind : 3 * kind + 3], expected[kind * ROWS + 7, 2:])


@pytest.fixture
def small(monkeypatch):
    """A configuration of seconds, on made-up series."""
    for module, name, value in (
        (layered_fit, "SIDE_SERIES", 1),
        (layered_fit, "STATISTICS", 2),
        (refined_fit, "SERIES", 2),
    ):
        monkeypatch.setattr(module, name, value)
    model = weights.load(registry.by_id("tec-tt"))
    rng = np.random.default_rng(0)

    class MadeUp:
        def __init__(self, model, config):
            self.inference = model.inference

        def draw(self):
            series = fields(2, 64, 64, seed=int(rng.integers(1000))).astype(np.float32)
            import torch

            return np.stack(
                [model.analysis(torch.from_numpy(date)).numpy().reshape(-1, 4, 4) for date in series]
            )

    monkeypatch.setattr(layered_fit, "RandomSeries", MadeUp)
    config = TrainConfig("flextec")
    run, series = replace(config.run, minutes=0.05), replace(config.series, image_model="tec-tt", crops=9)
    return replace(config, run=run, series=replace(series, hidden=8))


def test_a_fit_makes_a_model_that_codes(small, tmp_path):
    path = layered_fit.run(small, tmp_path, log=lambda line: None)
    model = weights.load(registry.by_id(str(path)))
    assert isinstance(model.prior, LayeredPrior)
    assert model.card.details["family"] == "flextec"
    assert model.prior.refined is not None
    from eocodec import codec
    from eocodec.options import EncodeOptions

    tile = fields(2, 48, 48)
    data = codec.encode_batch([tile], EncodeOptions(str(path), 60.0))[0]
    assert len(codec.codestream.read_parts(data)) == 2 + TOKENS - 1
    assert np.abs(codec.decode(data).astype(int) - tile).mean() < 100


def test_an_image_model_cannot_be_the_base(small):
    series = replace(small.series, image_model="tec-elic")
    with pytest.raises(ConfigError, match="series"):
        layered_fit.fit_layered(
            weights.load(registry.by_id("tec-elic")), replace(small, series=series), log=lambda line: None
        )
