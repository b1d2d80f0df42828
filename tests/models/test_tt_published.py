"""The published TEC-TT and FlexTEC: their parameter sets, and what their networks see."""

from pathlib import Path

import pytest
import torch
from tt_published_support import BANDS, D, M, config, make, series

from eocodec.errors import ConfigError, InputError, WeightsError
from eocodec.models.flextec_published import FlexTecPublished, tokens_sent
from eocodec.models.tt_published import TtPublished, config_of
from eocodec.models.tt_published_prior import TtPublishedConfig
from eocodec.nn.token_windows import TOKENS, merge, split

LISTED = Path(__file__).resolve().parents[3] / "shared" / "docs" / "published_keys"
KINDS = {
    "tt": (TtPublished, TtPublishedConfig(), 225_158_156),
    "tt13": (TtPublished, TtPublishedConfig(bands=13), 225_164_557),
    "flex": (FlexTecPublished, TtPublishedConfig(repacked=True), 225_159_116),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_parameter_set(kind):
    cls, sizes, parameters = KINDS[kind]
    with torch.device("meta"):
        model = cls(sizes)
    assert sum(p.numel() for p in model.parameters()) == parameters
    path = LISTED / f"{kind}.txt"
    if not path.is_file():
        pytest.skip("the lists of published names are not here")
    own = {f"model.{n}\t{tuple(t.shape)}\t{str(t.dtype)[6:]}" for n, t in model.state_dict().items()}
    assert own == set(path.read_text(encoding="utf-8").splitlines())
    assert config_of(model.state_dict()) == sizes


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def flex():
    return make(repacked=True)


@pytest.mark.parametrize("repacked", [False, True])
def test_a_state_dict_comes_back(repacked, model, flex):
    made = flex if repacked else model
    state = {f"model.{name}": tensor for name, tensor in made.state_dict().items()}
    loaded = type(made).from_state(state, heads=2)
    assert loaded.config == config(repacked) == TtPublishedConfig.from_dict(made.config.to_dict())
    x = series(2, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(x).x_hat, made(x).x_hat)


def test_states_that_are_not_these_models(model, flex):
    state = dict(model.state_dict())
    with pytest.raises(WeightsError, match=r"analysis_transform\.transforms\.0\.weight: missing"):
        TtPublished.from_state({})
    with pytest.raises(WeightsError, match=r"learned_zero\.sym is missing"):
        TtPublished.from_state({n: t for n, t in state.items() if "learned_zero" not in n}, heads=2)
    with pytest.raises(WeightsError, match=r"mask_token is unknown"):
        TtPublished.from_state(flex.state_dict(), heads=2)
    with pytest.raises(ConfigError, match="repacked"):
        FlexTecPublished.from_state(state, heads=2)
    with pytest.raises(ConfigError, match="heads"):
        TtPublished.from_state(state, heads=5)


def test_configurations():
    with pytest.raises(ConfigError, match="multiples of 64"):
        TtPublishedConfig(widths=(8, 8, 8, 32), repacked=True)
    with pytest.raises(ConfigError, match="unknown keys"):
        TtPublishedConfig.from_dict({"depth": 3})


@pytest.mark.parametrize(("rows", "cols"), [(64, 64), (33, 100)])
def test_shapes(model, rows, cols):
    h, w = -(-rows // 16), -(-cols // 16)
    with torch.no_grad():
        out = model(series(3, rows, cols))
    assert out.x_hat.shape == (1, 3, BANDS, 16 * h, 16 * w)
    assert out.y.shape == out.y_hat.shape == out.means.shape == out.scales.shape == (1, 3, M, h, w)
    assert torch.equal(out.y_hat, torch.round(out.y))
    assert (out.scales > 0).all()
    assert out.bits.shape == (1, 3)
    assert (out.bits > 1000).all()


def test_a_batch_is_its_members(model):
    x = torch.cat([series(2, 64, 80, seed) for seed in (1, 2)])
    with torch.no_grad():
        both, alone = model(x), [model(one[None]) for one in x]
    for name in ("x_hat", "means", "scales", "bits"):
        each = torch.cat([getattr(out, name) for out in alone])
        assert torch.allclose(getattr(both, name), each, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("repacked", [False, True])
def test_a_token_sees_earlier_tokens_of_its_window_and_two_frames(repacked, model, flex, monkeypatch):
    """Means that move when one latent of one frame is changed."""
    made = flex if repacked else model
    monkeypatch.setattr(made, "analysis", lambda y: y)
    y = torch.round(4 * torch.randn(1, 4, M, 8, 8, generator=torch.Generator().manual_seed(3))).double()
    changed = y.clone()
    token, window = 6, 3
    tokens = split(changed[:, 0], repacked=repacked)
    tokens[window, token, 5] += 7
    changed[:, 0] = merge(tokens, 8, 8, repacked=repacked)
    with torch.no_grad():
        moved = (made.double()(changed).means - made(y).means).abs()[0] > 1e-9
    made.float()
    of_tokens = split(moved.double(), repacked=repacked).bool().unflatten(0, (4, 4))
    assert not of_tokens[0, window, : token + 1].any()
    assert of_tokens[0, window, token + 1 :].any(-1).all()
    assert not of_tokens[0, :window].any()
    assert of_tokens[1, window].any(-1).all()
    assert of_tokens[2, window].any(-1).all()
    assert not of_tokens[3].any()


def test_gradients_reach_everything_but_bounds():
    made = make(repacked=True).requires_grad_(True)
    out = made(series(3, 64, 64), [5, 16, 2])
    (out.bits.sum() * 1e-3 + out.x_hat.square().mean()).backward()
    silent = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in silent if not name.endswith("k.bias")]  # which softmax does not see


# --- FlexTEC ------------------------------------------------------------------------------------------------


def test_tokens_that_are_not_sent(flex):
    x = series(2, 64, 64)
    with torch.no_grad():
        whole, part, none = flex(x), flex(x, [4]), flex(x, 0)
    assert torch.equal(whole.means, part.means)  # frames are predicted from all tokens
    assert (none.bits == 0).all()
    assert (part.bits < 0.5 * whole.bits).all()
    assert (part.x_hat - whole.x_hat).abs().max() > 1e-3
    assert torch.allclose(none.x_hat[0, 0], none.x_hat[0, 1])  # nothing of the frames is left


def test_what_is_sent_is_shown(flex):
    """After repacking, q tokens are the first q / 16 of the channels, everywhere."""
    y_hat = torch.randn(1, M, 8, 8)
    z_cur = torch.randn(4, TOKENS, D)
    tokens, features = flex._shown(split(y_hat, repacked=True), z_cur, 5)
    shown = merge(tokens, 8, 8, repacked=True)
    count = 5 * M // TOKENS
    assert torch.equal(shown[:, :count], y_hat[:, :count])
    assert not torch.isclose(shown[:, count:], y_hat[:, count:]).any()
    assert torch.equal(features[:, :5], z_cur[:, :5])
    assert torch.equal(features[:, 5:], flex.entropy_model.z_cur_mask_token.expand(4, 11, D))


def test_tokens_of_each_frame():
    assert tokens_sent(7, 3) == [7, 7, 7]
    assert tokens_sent([4, 0], 4) == [4, 0, 0, 0]
    for quality in (17, -1, [], [1, 2, 3, 4]):
        with pytest.raises(InputError, match="quality"):
            tokens_sent(quality, 3)
