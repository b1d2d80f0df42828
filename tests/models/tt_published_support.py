"""Small models of the published temporal kinds, with latents and scales as trained ones have them."""

import torch

from eocodec.models.flextec_published import FlexTecPublished
from eocodec.models.tt_published import TtPublished
from eocodec.models.tt_published_prior import TtPublishedConfig

BANDS, M, D = 3, 64, 32


def config(repacked=False):
    return TtPublishedConfig(BANDS, (8, 8, 16, M), D, 2, separate=2, joint=1, decoder=2, repacked=repacked)


def make(repacked=False):
    """A model that codes something and makes use of what it sees."""
    torch.manual_seed(0)
    return enlarge((FlexTecPublished if repacked else TtPublished)(config(repacked)))


def enlarge(model):
    """`model` with latents of some steps, and parameters that depend on what is seen; in eval mode."""
    prior = model.entropy_model
    with torch.no_grad():
        model.g_a.transforms[13].weight *= 12
        prior.mean_head[4].weight *= 12
        prior.scale_head[4].weight *= 25
        prior.encoder_embedding.weight *= 6
        prior.decoder_embedding.weight *= 6
        model._temporal_pad_token_maker.weight.uniform_(-2, 2)
    return model.requires_grad_(False).eval()


def series(timesteps, rows, cols, seed=0):
    """x [1, T, C, H, W] that changes slowly."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.randn(1, 1, BANDS, rows, cols, generator=generator)
    return place + 0.3 * torch.randn(1, timesteps, BANDS, rows, cols, generator=generator)


def latents(model, timesteps, rows, cols, seed=0):
    """[T, M, rows, cols]"""
    with torch.no_grad():
        return model.analysis(series(timesteps, 16 * rows, 16 * cols, seed)[0])
