"""What every process of a dry run does, under `torchrun`: all configurations in a row, in one group.

torchrun --nproc-per-node 2 dry_run.py OUT CONFIG.toml OVERRIDES CONFIG.toml ...
"""

import os
import sys
from pathlib import Path

import torch
from torch import distributed

from eocodec.train import published


def main():
    """Run each configuration; leave what this process ended with in OUT/<name>/rank<n>.pt."""
    out, *rest = sys.argv[1:]
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    ended = []
    whole = published.Trainer.save

    def save(self):
        ended.append(self.model.state_dict())
        whole(self)

    published.Trainer.save = save
    for config, overrides in zip(rest[::2], rest[1::2], strict=True):
        folder = published.run(config, Path(out) / Path(config).stem, overrides.splitlines())
        torch.save(ended[-1], folder / f"rank{os.environ['RANK']}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
