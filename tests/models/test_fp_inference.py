"""The fast path of TEC-FP does what the network does, in both precisions, with any weights and sizes."""

import numpy as np
import pytest
import torch

from eocodec.models import fp_inference
from eocodec.models.fp import FpConfig, TecFp
from eocodec.models.fp_inference import Inference
from eocodec.nn.precision import inference_autocast
from eocodec.nn.spectral import RINGS, turn_back

MEANS = [1000.0 + 100 * band for band in range(12)]
STDS = [300.0 + 20 * band for band in range(12)]
SIZES = [(16, 16), (32, 48), (48, 16 * 70)]
TOLERANCE = {torch.float32: 5e-5, torch.bfloat16: 0.03}  # largest error, network units; bfloat16 has 8 bits
CONFIGS = {
    "small": FpConfig(quarter=8, eighth=16, sixteenth=24, bent=40, levels=2),
    "other depths": FpConfig(
        quarter=16, eighth=8, sixteenth=8, bent=17, levels=2, analysis_blocks=(0, 2), synthesis_blocks=(1, 0)
    ),
    "told the quality": FpConfig(quarter=16, eighth=16, sixteenth=24, bent=60, levels=2, rates=3),
}
QUALITY = 0.8


def network(config):
    """Random weights, none of them zero; random orthonormal bases; leading latents in no order."""
    torch.manual_seed(5)
    net = TecFp(config).eval()
    for parameter in net.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
        torch.nn.init.normal_(parameter, std=0.5 * fan_in**-0.5)
        parameter.requires_grad_(False)
    transform = net.block_transform
    transform.basis.copy_(torch.linalg.qr(torch.randn(RINGS, 12, 12))[0])
    transform.root_weight.copy_(torch.rand(12) + 0.5)
    lead = torch.randperm(config.latents)[: config.bent]
    for side in (net.g_a, net.g_s):
        side.lead.copy_(lead)
        side.latent_std.copy_(torch.rand(config.bent) + 0.1)
    return net.to(memory_format=torch.channels_last)


def units(dn):
    return (dn - torch.tensor(MEANS)[:, None, None]) / torch.tensor(STDS)[:, None, None]


def joined(image):
    """The strips of a reconstruction put together, network units."""
    tops, strips = zip(*image.strips(), strict=True)
    assert tops == tuple(np.cumsum([0, *(strip.shape[1] for strip in strips[:-1])]))
    return units(torch.cat(strips, 1))


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def dtype(request, monkeypatch):
    monkeypatch.setenv("EOCODEC_PRECISION", str(request.param).removeprefix("torch."))
    return request.param


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CONFIGS)
def test_analysis_is_the_network_s(name, size, dtype):
    net = network(CONFIGS[name])
    dn = torch.randn(12, *size) * 450 + 1200
    with torch.inference_mode():
        with inference_autocast(torch.device("cpu")):
            expected = net.analysis(units(dn)[None])[0].flatten(1)
        found = Inference(net, MEANS, STDS, dtype).analysis(dn.clone())
        linear = net.block_transform.analysis(units(dn)[None])[0].flatten(1)
    assert (found - expected).abs().max() < TOLERANCE[dtype]
    assert (linear - expected).abs().max() > 4 * TOLERANCE[dtype]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CONFIGS)
def test_synthesis_is_the_network_s(name, size, dtype):
    net = network(CONFIGS[name])
    rows, cols = (side // 16 for side in size)
    z = torch.randn(3072, rows * cols)
    live = torch.nonzero(torch.rand(3072) < 0.3)[:, 0]
    dead = torch.ones(3072, dtype=torch.bool)
    dead[live] = False
    z[dead] = 0
    bases = torch.linalg.qr(torch.randn(RINGS, 12, 12))[0]
    y_hat = turn_back(z.view(1, 3072, rows, cols), bases[None], net.block_transform.ring)
    with torch.inference_mode():
        with inference_autocast(torch.device("cpu")):
            expected = net.synthesis(y_hat, torch.tensor([QUALITY]))[0]
        inference = Inference(net, MEANS, STDS, dtype)
        found = joined(inference.synthesis(z[live], live, bases, rows, cols, QUALITY))
        linear = net.block_transform.synthesis(y_hat)[0]
    assert (found - expected).abs().max() < TOLERANCE[dtype]
    assert (linear - expected).abs().max() > 4 * TOLERANCE[dtype]


def test_no_live_channel_is_a_flat_image_but_for_the_biases():
    net = network(CONFIGS["small"])
    inference = Inference(net, MEANS, STDS, torch.float32)
    with torch.inference_mode():
        image = inference.synthesis(
            torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.eye(12).repeat(RINGS, 1, 1), 2, 2
        )
        expected = net.synthesis(torch.zeros(1, 3072, 2, 2))[0]
        found = joined(image)
    assert torch.allclose(found, expected, atol=1e-4)


def test_patches_cover_every_block_once():
    for rows, cols in [(1, 1), (7, 3), (2, 200), (33, 32)]:
        seen = np.zeros((rows, cols), int)
        for patch in fp_inference._patches(rows, cols, 12):
            seen[patch.blocks] += 1
            assert patch.rows * patch.cols * 3072 <= fp_inference.VALUES_PER_PATCH
        assert (seen == 1).all()


def test_only_the_compact_transform_has_a_fast_path():
    with pytest.raises(TypeError, match="compact"):
        Inference(TecFp(FpConfig(transform="gdn", N=8, M=8)), MEANS, STDS, torch.float32)
