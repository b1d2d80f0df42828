"""Cells of pixels that share a value: one of each is coded, the others are copies of it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eocodec.residual.scan import Pass
from eocodec.types import BoolArray

Ints = NDArray[np.int64]


class Cells:
    """Pixels of a band that share a value.

    Parameters
    ----------
    joined : [2, H, W], pixels that are those to their left, and above, where both of them are `coded` [H, W]
    """

    def __init__(self, joined: BoolArray, coded: BoolArray) -> None:
        self.coded = coded
        left, up = np.zeros_like(joined)
        left[:, 1:] = joined[0, :, 1:] & coded[:, 1:] & coded[:, :-1]
        up[1:] = joined[1, 1:] & coded[1:] & coded[:-1]
        cols = coded.shape[1]
        place: Ints = np.arange(coded.size).reshape(coded.shape)
        roots = _followed(np.where(left, place - 1, np.where(up, place - cols, place)).reshape(-1))
        both = np.flatnonzero(left & up)  # joined to two cells: the later of their roots follows the earlier
        one, other = roots[both], roots[both - cols]
        parents = roots.copy()
        np.minimum.at(parents, np.maximum(one, other), np.minimum(one, other))
        self.roots = _followed(parents)

    @cached_property
    def _listed(self) -> tuple[Ints, Ints, Ints]:
        """Pixels sorted by cell, and by its root where those of a cell begin and how many they are."""
        counts = np.bincount(self.roots, minlength=self.roots.size)
        return np.argsort(self.roots, kind="stable"), np.cumsum(counts) - counts, counts

    def members(self, pixels: Ints) -> tuple[Ints, Ints]:
        """All pixels of the cells that `pixels` [n] are in, cell by cell, and how many of each [n]."""
        order, starts, counts = self._listed
        roots = self.roots[pixels]
        sizes = counts[roots]
        before = np.cumsum(sizes) - sizes
        return order[np.repeat(starts[roots] - before, sizes) + np.arange(sizes.sum())], sizes


def _followed(parents: Ints) -> Ints:
    """The root of each pixel: parents of parents, up to one that is its own."""
    while True:
        above = parents[parents]
        if np.array_equal(above, parents):
            return parents
        parents = above


class Copies:
    """A band while it is coded: which of its pixels are known already, as copies of others.

    Parameters
    ----------
    coded : [H, W], pixels that count; cells : None where each pixel stands for itself
    """

    def __init__(self, coded: BoolArray, cells: Cells | None) -> None:
        self._coded, self._cells = coded, cells
        self._known = np.zeros(coded.shape, bool)
        self._place: Ints = np.arange(coded.size).reshape(coded.shape)

    def coded(self, scan: Pass) -> BoolArray:
        """Pixels of a pass that are coded, [rows, cols]: of each cell that is not known, the first one."""
        coded = np.asarray(scan.take(self._coded))
        if self._cells is None:
            return coded
        coded &= ~scan.take(self._known)
        roots = self._cells.roots[scan.take(self._place)[coded]]
        first = np.zeros(roots.size, bool)
        first[np.unique(roots, return_index=True)[1]] = True
        coded[coded] = first
        return coded

    def put(self, scan: Pass, coded: BoolArray, *planes: tuple[Ints, Ints]) -> None:
        """Set the pixels of a pass, and those that are copies of its coded ones.

        planes : a plane [H, W] and what the pass has for it [rows, cols]
        """
        if self._cells is None:
            for plane, found in planes:
                scan.put(plane, found)
            return
        known = scan.take(self._known)
        members, sizes = self._cells.members(scan.take(self._place)[coded])
        for plane, found in planes:
            scan.put(plane, np.where(known, scan.take(plane), found))
            plane.put(members, np.repeat(found[coded], sizes))
        self._known.put(members, True)
