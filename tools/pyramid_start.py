"""Write a checkpoint for a small published temporal model to start from: its transform is a pyramid.

    python tools/pyramid_start.py CONFIG.toml FOLDER_OF_PLACES OUT.pt

At 1/2, 1/4 and 1/8 of the resolution it has the principal components of 2 x 2 pixels of the level below,
fitted to the places. Latents are those at 1/16 under a random rotation, so what a channel or a token is worth
is a matter of chance. Residual units start as the identity, attention nearly so, the dequantiser and
what stands for tokens that are not sent as zero; all else is as the model's class makes it.

A unit ends in a ReLU, so features are shifted to be positive. What the shift adds to each of 2 x 2 pixels is
taken off on the way up by channel 0, which is the same everywhere; on the way down it is empty.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eocodec.models.published import family_of
from eocodec.models.published_state import PREFIX
from eocodec.nn.attention import AttentionUnit
from eocodec.sensors import LEVELS
from eocodec.train.published_config import load_published
from eocodec.train.ssl4eo import Crops, find_places

PLACES, SIDE = 200, 192  # pixels at the centre of a place
SHIFT = 6.0  # standard deviations
OFFSET = 50.0  # of channel 0: so large that a step of training hardly moves what it carries
AJAR, SHUT = -4.0, -20.0  # logits of attention: of latents, which is trained, and of the pyramid
GAIN = 0.75  # of latents: rounding errors of 39 dB
PIXELS = slice(2, 4)  # of a 5 x 5 kernel with stride 2: those of the 2 x 2 block itself


def blocks(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N H / 2 W / 2, 4 C], channels first."""
    pixels = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2))  # [N, C, h, 2, w, 2]
    rows: Tensor = pixels.permute(0, 2, 4, 1, 3, 5).flatten(0, 2).flatten(1)
    return rows.double()


def components(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean [4 C] and principal components [count, 4 C] of 2 x 2 blocks."""
    values = blocks(x)
    vectors = torch.linalg.eigh(values.T.cov())[1]
    mean = values.mean(0)
    mean[:4] += OFFSET * (x[:, 0] == 0).all()  # on the way up, features have it
    return mean, vectors.T.flip(0)[:count]


def down_and_up(x: Tensor, down: Any, up: Any) -> None:
    """Make a pair of convolutions the transform of features `x` and its inverse."""
    mean, basis = components(x, down.weight.shape[0] - 1)
    projected = (blocks(x) - mean) @ basis.T
    shift = SHIFT * projected.std(0)
    shape = (-1, x.shape[1], 2, 2)
    down.weight[1:, :, PIXELS, PIXELS] = basis.reshape(shape).float()
    down.bias[1:] = (shift - basis @ mean).float()
    up.weight[1:, :, PIXELS, PIXELS] = basis.reshape(shape).float()
    up.weight[:1, :, PIXELS, PIXELS] = ((mean - shift @ basis) / OFFSET).reshape(shape).float()


def latents(x: Tensor, down: Any, up: Any) -> None:
    """The same for the last pair, rotated at random."""
    mean, basis = components(x, down.weight.shape[0])
    rotation = torch.linalg.qr(torch.randn(len(basis), len(basis), dtype=torch.float64))[0]
    rotated, shape = rotation @ basis, (-1, x.shape[1], 2, 2)
    down.weight[:, :, PIXELS, PIXELS] = (GAIN * rotated).reshape(shape).float()
    down.bias.copy_(-GAIN * rotated @ mean)
    up.weight[:, :, PIXELS, PIXELS] = (rotated / GAIN).reshape(shape).float()
    up.bias.copy_(mean.reshape(-1, 4).mean(1))


def start(model: Any, x: Tensor) -> None:
    """Fit the transform of a `TtPublished` to images [N, C, H, W] in network units."""
    units: list[Any] = [m for m in model.transform.modules() if isinstance(m, AttentionUnit)]
    for unit in units:
        nn.init.zeros_(unit.conv[4].weight)
        nn.init.zeros_(unit.conv[4].bias)
    analysis, synthesis = model.g_a.transforms, model.g_s.transforms
    for attention, gate in (
        (analysis[8], SHUT),
        (analysis[14], AJAR),
        (synthesis[0], AJAR),
        (synthesis[6], SHUT),
    ):
        nn.init.zeros_(attention.conv_b[3].weight)
        nn.init.constant_(attention.conv_b[3].bias, gate)
    at = 0
    for last, (down, up) in enumerate(((0, 14), (4, 10), (9, 5), (13, 1)), start=-3):
        for layer in analysis[at:down]:
            x = layer(x)
        for convolution in (analysis[down], synthesis[up]):
            nn.init.zeros_(convolution.weight)
            nn.init.zeros_(convolution.bias)
        (down_and_up if last else latents)(x, analysis[down], synthesis[up])
        at = down
    for parameter in (*model.dequantiser.process_conv[0].parameters(), model.entropy_model.mask_token):
        nn.init.zeros_(parameter)


@torch.no_grad()
def main(config_path: str, places: str, out: str) -> None:
    """Fit and write."""
    config = load_published(config_path, ["run.steps=1"])
    data, bands = replace(config.data, crop=SIDE), LEVELS[config.data.level]
    crops = Crops(find_places(Path(places), "train", data.level)[:PLACES], data, 0, training=False)
    dn = torch.cat([crops[i] for i in range(PLACES)]).float()
    mean, std = (torch.tensor([getattr(b, name) for b in bands])[:, None, None] for name in ("mean", "std"))
    torch.manual_seed(config.run.seed)
    model: Any = family_of(config.model_id).build(config.model)
    x = (dn - mean) / std
    start(model, x)
    y = model.analysis(x[:20])
    x_hat = model.synthesis(torch.round(y))
    error = ((x_hat - x[:20]) * std).square().mean()
    print(f"latents of {y.std():.2f}, {10 * torch.log10(1e8 / error):.2f} dB without what the prior knows")
    torch.save({PREFIX + key: value for key, value in model.state_dict().items()}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
