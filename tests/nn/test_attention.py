import torch

from eocodec.nn.attention import Attention, AttentionUnit, Bottleneck


def zeroed(module):
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    return module


def test_only_the_unit_of_attention_ends_in_an_activation():
    x = torch.randn(2, 8, 5, 6)
    with torch.no_grad():
        assert torch.equal(zeroed(Bottleneck(8))(x), x)
        assert torch.equal(zeroed(AttentionUnit(8))(x), x.relu())


def test_attention_adds_gated_features():
    x = torch.randn(2, 8, 5, 6)
    attention = zeroed(Attention(8))
    with torch.no_grad():
        assert torch.equal(attention(x), x + x.relu() * 0.5)
        attention.conv_b[3].bias.fill_(-100)  # the gate shuts
        assert torch.allclose(attention(x), x)


def test_names_of_the_published_parameters():
    names = set(Attention(4).state_dict())
    assert len(names) == 38
    assert {"conv_a.2.conv.4.weight", "conv_b.0.conv.0.bias", "conv_b.3.weight"} <= names
    assert set(Bottleneck(4).state_dict()) == {f"conv{i}.{p}" for i in (1, 2, 3) for p in ("weight", "bias")}
