"""Integer CDF tables as three buffers of a module, in the layout of the published checkpoints.

A checkpoint brings its tables along; taken as they are, they are the same integers on every machine, which
tables computed anew from its float parameters need not be.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eocodec.coding.tables import CdfTables
from eocodec.errors import WeightsError

BUFFERS = ("_offset", "_quantized_cdf", "_cdf_length")  # their published names


class StoredTables(nn.Module):
    """Base of modules that have tables: empty until `store_tables` or a checkpoint fills them.

    `_offset` [n] first symbols, `_quantized_cdf` [n, longest] zero padded, `_cdf_length` [n]; all int32.
    """

    _offset: Tensor
    _quantized_cdf: Tensor
    _cdf_length: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in BUFFERS:
            self.register_buffer(name, torch.zeros(0, dtype=torch.int32))

    def update_tables(self) -> None:
        """Compute the tables; needed once, for a model that has none."""
        raise NotImplementedError

    def tables(self) -> CdfTables:
        """The tables that the buffers hold.

        Raises
        ------
        WeightsError : there are none, or the buffers do not fit each other
        TableError : they are no CDF tables
        """
        first, rows, lengths = (getattr(self, name).cpu().numpy() for name in BUFFERS)
        if not first.size:
            raise WeightsError("the model has no tables yet; call update_tables() once after training")
        fits = rows.ndim == 2 and len(rows) == first.size == lengths.size
        if not fits or lengths.min() < 1 or lengths.max() > rows.shape[1]:
            raise WeightsError(
                f"tables: {first.shape} offsets, {rows.shape} entries, {lengths.shape} lengths"
            )
        cdf = np.concatenate([row[:length] for row, length in zip(rows, lengths, strict=True)])
        start = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return CdfTables(cdf.astype(np.uint32), start.astype(np.int64), first.astype(np.int32))

    def store_tables(self, tables: CdfTables) -> None:
        """Fill the buffers."""
        lengths = tables.sizes + 1
        rows = np.zeros((tables.count, int(lengths.max())), np.int32)
        for number, row in enumerate(rows):
            row[: lengths[number]] = tables.table(number)
        device = self._offset.device
        arrays = (tables.first.copy(), rows, lengths.astype(np.int32))
        for name, array in zip(BUFFERS, arrays, strict=True):
            setattr(self, name, torch.from_numpy(array).to(device))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in BUFFERS:  # as long as the fitted density made them
            if prefix + name in state_dict:
                size = state_dict[prefix + name].shape
                setattr(self, name, torch.zeros(size, dtype=torch.int32, device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
