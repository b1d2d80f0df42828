"""The published TEC-TT and FlexTEC beside ours: same weights, same input, same numbers; and how fast.

Needs an environment with the package `terracodec` (0.3.1, with compressai 1.2.8 and numpy < 2) and what ours
needs: numpy, torch, constriction, safetensors, google-crc32c. Weights are random, with latents and heads
enlarged so that symbols are not all zero. Takes some minutes and 5 GB of memory.

    PYTHONPATH=src python tests/parity/temporal.py experiments/published/parity-tt.json --kinds tt --code 1 2
    PYTHONPATH=src python tests/parity/temporal.py experiments/published/parity-flextec.json --kinds flex
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from eocodec.bench.provenance import provenance, write_json
from eocodec.entropy.parts import PartReader, PartWriter
from eocodec.models.flextec_published import FlexTecPublished, tokens_sent
from eocodec.models.tt_published import TtPublished
from eocodec.models.tt_published_coding import TtCoder
from eocodec.nn.token_windows import TOKENS, merge

SIZE, BANDS = 256, 12  # of the published models
LATENTS = SIZE // 16
LATENT_STD = 2.5
TOLERANCE = 1e-4  # relative to the largest value
QUALITIES = (1, 4, 8, 16)


def series(timesteps):
    """[1, T, C, H, W], float32: smooth noise that changes slowly with time."""
    generator = torch.Generator().manual_seed(5)

    def smooth():
        coarse = torch.randn(1, BANDS, SIZE // 16 + 1, SIZE // 16 + 1, generator=generator)
        fine = torch.randn(1, BANDS, SIZE, SIZE, generator=generator)
        return torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic") + 0.3 * fine

    place = smooth()
    return torch.stack([place + 0.3 * smooth() for _ in range(timesteps)], 1)


def make_theirs(kind, folder):
    """A model of theirs with random weights that code something, and the path of its checkpoint."""
    from terracodec.models import build_terracodec

    torch.manual_seed(1)
    flex = {"flextec": True} if kind == "flex" else {}
    name = "flextec" if kind == "flex" else "temporaltransformer"
    model = build_terracodec(model_type=name, pretrained=False, in_channels=BANDS, image_size=SIZE, **flex)
    model.eval()
    pipeline, prior = model.model, model.model.entropy_model
    x = series(1)
    with torch.no_grad():
        last = pipeline.transform.analysis_transform.transforms[13]
        for _ in range(3):
            factor = LATENT_STD / float(pipeline.transform.encode(x).std())
            last.weight.mul_(factor)
            last.bias.mul_(factor)
        found = bottleneck_inputs(model, kind, x)
        prior.mean_head[4].weight.mul_(1.0 / float(found["means"].std()))
        prior.scale_head[4].weight.mul_(0.7 / float(found["raw_scales"].std()))
        prior.scale_head[4].bias.add_(1.8)  # about as wide as latents are about their means
    path = folder / f"{kind}.pt"
    torch.save(model.state_dict(), path)
    return model, path


def bottleneck_inputs(model, kind, x, quality=None):
    """Their forward pass: reconstruction, and what went into and out of the bottleneck, a frame a row."""
    pipeline = model.model
    seen = {"means": [], "raw_scales": [], "y_hat": []}

    def look(_, args, kwargs, output):
        for name, value in (("means", kwargs["means"]), ("raw_scales", kwargs["scales"])):
            seen[name].append(image(value, kind))
        seen["y_hat"].append(image(output[0], kind))

    handle = pipeline.entropy_model.bottleneck.register_forward_hook(look, with_kwargs=True)
    with torch.no_grad():
        x_hat, bits = model(x, quality=quality)
    handle.remove()
    found = {name: torch.cat(values) for name, values in seen.items()}
    raw = found["raw_scales"]
    found["scales"] = pipeline.entropy_model.bottleneck.verysoftplus(raw)
    return {**found, "x_hat": x_hat[0], "bits": bits}


def image(tokens, kind):
    return merge(tokens, LATENTS, LATENTS, repacked=kind == "flex")


def difference(ours, theirs):
    """Largest difference relative to the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def compare_forward(theirs, ours, kind, timesteps, quality):
    x = series(timesteps)
    found = bottleneck_inputs(theirs, kind, x, quality)
    with torch.no_grad():
        out = ours(x) if quality is None else ours(x, quality)
        y = theirs.model.transform.encode(x)
    result = {
        "timesteps": timesteps,
        "y": difference(out.y, y),
        "means": difference(out.means[0], found["means"]),
        "scales": difference(out.scales[0], found["scales"]),
        "x_hat": difference(out.x_hat[0], found["x_hat"]),
        "symbols_differ": int((out.y_hat[0] != found["y_hat"]).sum()),
        "symbols": found["y_hat"].numel(),
        "symbols_not_zero": float((found["y_hat"] != 0).float().mean()),
        "bits_ours": [round(float(b)) for b in out.bits[0]],
        "bits_theirs": [int(b) for b in found["bits"]],
    }
    if quality is not None:
        result["quality"] = quality
    parts = ("y", "means", "scales", "x_hat")
    result["agrees"] = all(result[p] <= TOLERANCE for p in parts) and result["symbols_differ"] == 0
    return result


def clocks():
    """Seconds on the wall, and of all cores."""
    return np.array([time.perf_counter(), time.process_time()])


@dataclass
class Coded:
    """A series that went through real coding: x_hat, y_hat [T, ...], bytes; clocks of both directions."""

    x_hat: torch.Tensor
    y_hat: torch.Tensor
    size: int
    encode: np.ndarray
    decode: np.ndarray


def code_theirs(model, x, quality):
    decoded = []
    handle = model.model._dequantizer.register_forward_pre_hook(
        lambda _, args, kwargs: decoded.append(kwargs["latent_q"][0].clone()), with_kwargs=True
    )
    with torch.no_grad():
        begin = clocks()
        payload = model.compress(x) if quality is None else model.compress(x, quality=quality)
        middle = clocks()
        decoded.clear()
        x_hat = model.decompress(payload)[0]
        end = clocks()
    handle.remove()
    return Coded(x_hat, torch.stack(decoded), sum(payload["bits"]) // 8, middle - begin, end - middle)


@torch.inference_mode()
def code_ours(model, coder, x, quality):
    sent = tokens_sent(TOKENS if quality is None else quality, x.shape[1])
    begin = clocks()
    parts = PartWriter()
    for _ in coder.encode_tokens([model.analysis(frame[None])[0] for frame in x[0]], parts, sent):
        pass
    middle = clocks()
    frames = list(coder.decode_tokens(PartReader(parts.parts), LATENTS, LATENTS, sent))
    x_hat = [model.synthesis(torch.from_numpy(frame.dequantised).float()[None])[0] for frame in frames]
    end = clocks()
    y_hat = torch.from_numpy(np.stack([frame.y_hat for frame in frames])).float()
    size = sum(len(p.symbols) + len(p.escapes) + len(p.edges) for p in parts.parts)
    return Coded(torch.stack(x_hat), y_hat, size, middle - begin, end - middle)


def compare_coding(theirs, ours, timesteps, quality):
    x = series(timesteps)
    other, own = code_theirs(theirs, x, quality), code_ours(ours, TtCoder(ours), x, quality)
    result = {
        "timesteps": timesteps,
        "threads": torch.get_num_threads(),
        "x_hat": difference(own.x_hat, other.x_hat),
        "symbols_differ": int((own.y_hat != other.y_hat).sum()),
        "symbols": own.y_hat.numel(),
        "bytes": {"theirs": other.size, "ours": own.size},
    }
    for direction in ("encode", "decode"):
        for number, unit in enumerate(("s", "cpu_s")):
            a, b = float(getattr(other, direction)[number]), float(getattr(own, direction)[number])
            times = {"theirs": round(a, 2), "ours": round(b, 2), "ratio": round(a / b, 2)}
            result[f"{direction}_{unit}"] = times
    return result if quality is None else {**result, "quality": quality}


def run(kind, arguments, folder):
    theirs, path = make_theirs(kind, folder)
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    ours = (FlexTecPublished if kind == "flex" else TtPublished).from_state(state)
    ours.requires_grad_(False)
    theirs.load_state_dict(state, assign=True)  # so that the weights are in memory once
    qualities = arguments.qualities if kind == "flex" else (None,)
    forward, coding = [], []
    for timesteps in arguments.timesteps:
        for quality in qualities:
            forward.append(compare_forward(theirs, ours, kind, timesteps, quality))
            print(kind, json.dumps(forward[-1]), flush=True)
    theirs.setup_model_for_compression()
    for timesteps in arguments.code:
        for quality in qualities:
            for threads in arguments.threads:
                torch.set_num_threads(threads)
                coding.append(compare_coding(theirs, ours, timesteps, quality))
                print(kind, json.dumps(coding[-1]), flush=True)
    return {"forward": forward, "coding": coding}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--kinds", nargs="+", default=["tt", "flex"], choices=["tt", "flex"])
    parser.add_argument("--timesteps", nargs="*", type=int, default=[1, 2, 4])
    parser.add_argument("--qualities", nargs="+", type=int, default=list(QUALITIES))
    parser.add_argument("--code", nargs="*", type=int, default=[1], help="timesteps of series that are coded")
    parser.add_argument("--threads", nargs="+", type=int, default=[2], help="at which coding is timed")
    arguments = parser.parse_args()
    results = {**provenance(), "terracodec": version("terracodec"), "tolerance": TOLERANCE}
    with TemporaryDirectory() as folder:
        for kind in arguments.kinds:
            torch.set_num_threads(max(arguments.threads))
            results[kind] = run(kind, arguments, Path(folder))
            results["peak_memory_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
            write_json(arguments.out, results)


if __name__ == "__main__":
    main()
