"""Small models in the layout of the published ones, with latents of a few steps, and their checkpoints."""

from __future__ import annotations

import torch

from eocodec.models.elic_published import ElicPublishedConfig, TecElicPublished
from eocodec.models.fp import FpConfig, TecFp
from eocodec.models.tt_published import TtPublished
from eocodec.models.tt_published_prior import TtPublishedConfig

FP_SIZES = {"N": 12, "M": 10}
ELIC_SIZES = {"N": 16, "M": 132}
LATENT_STD = 2.5


def boost(layer, y):
    """Rescale the last layer of an analysis whose output is y, or all of it would be rounded to zero."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter *= LATENT_STD / float(y.std())


def small_fp(seed=0, bands=12, tables=True):
    """A TEC-FP with medians that are no whole numbers."""
    torch.manual_seed(seed)
    model = TecFp(FpConfig(transform="gdn", bands=bands, **FP_SIZES)).eval()
    with torch.no_grad():
        boost(model.g_a[6], model.g_a(torch.randn(1, bands, 64, 64)))
        model.entropy_bottleneck.quantiles[:, 0, 1].uniform_(-0.4, 0.4)
    if tables:
        model.entropy_bottleneck.update_tables()
    return model


def small_elic(seed=0, bands=12, tables=True):
    """A TEC-ELIC whose scales are about those of its latents."""
    torch.manual_seed(seed)
    model = TecElicPublished(ElicPublishedConfig(bands=bands, **ELIC_SIZES)).eval()
    codec = model.latent_codec
    with torch.no_grad():
        boost(model.g_a[13], model.g_a(torch.randn(1, bands, 64, 64)))
        boost(codec.hyper.h_a[4], codec.hyper.h_a(model.g_a(torch.randn(1, bands, 64, 64))))
        for k, channels in enumerate(model.config.groups):
            last = codec.y.group(k).entropy_parameters[4]
            last.weight *= 12
            last.bias[channels:] += 2.5
    if tables:
        model.update_tables()
    return model


def small_tt(seed=0, bands=12):
    """A TEC-TT whose predictions depend on what it sees."""
    torch.manual_seed(seed)
    config = TtPublishedConfig(bands, (8, 8, 16, 64), 32, 16, separate=1, joint=1, decoder=1)
    model = TtPublished(config).eval()
    with torch.no_grad():
        boost(model.g_a.transforms[13], model.analysis(torch.randn(1, bands, 64, 64)))
        model.entropy_model.mean_head[4].weight *= 12
        model.entropy_model.scale_head[4].bias += 1.8
        model.entropy_model.encoder_embedding.weight *= 6
        model.entropy_model.decoder_embedding.weight *= 6
    return model


def checkpoint(model, prefix="model."):
    """Its state as the published files of image models hold it."""
    return {f"{prefix}{name}": value for name, value in model.state_dict().items()}
