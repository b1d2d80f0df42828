"""Callers at the same time share calls, and nothing else: neither results nor errors."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from eocodec.errors import ChecksumMismatch
from eocodec.interop.batching import Batcher


class Recorder:
    """Doubles numbers; the first call waits until `queued` callers are there. Negative ones are damaged."""

    def __init__(self):
        self.calls = []
        self.first_is_in = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, key, items):
        self.calls.append((key, list(items)))
        self.first_is_in.set()
        assert self.go_on.wait(10)
        if any(item < 0 for item in items):
            raise ChecksumMismatch(f"{min(items)} is damaged")
        if any(item == 13 for item in items):
            raise MemoryError
        return [2 * item for item in items]


def together(work, requests, most=100):
    """Run all (key, items) at once, the first one alone in the first call; gives results or exceptions."""
    batcher = Batcher(work, lambda: most)

    def ask(request):
        key, items = request
        try:
            return batcher.run(key, items, [1] * len(items))
        except (ChecksumMismatch, MemoryError) as error:
            return error

    with ThreadPoolExecutor(len(requests)) as pool:
        first = pool.submit(ask, requests[0])
        assert work.first_is_in.wait(10)
        others = []
        for request in requests[1:]:
            before = len(batcher._queue)
            others.append(pool.submit(ask, request))
            while len(batcher._queue) == before:
                pass
        work.go_on.set()
        found = [first.result(10), *(other.result(10) for other in others)]
    assert batcher._queue == []
    return found


def test_what_waits_goes_together_up_to_the_limit():
    work = Recorder()
    found = together(work, [("a", [k]) for k in range(8)], most=3)
    assert found == [[2 * k] for k in range(8)]
    assert sorted(len(items) for _, items in work.calls) == [1, 1, 3, 3]


def test_different_keys_do_not_mix():
    work = Recorder()
    assert together(work, [("a", [1]), ("b", [2]), ("a", [3]), ("b", [4])]) == [[2], [4], [6], [8]]
    assert all(len({item % 2 for item in items}) == 1 for _, items in work.calls)
    assert len(work.calls) == 3


def test_an_error_reaches_only_who_asked_for_it():
    found = together(Recorder(), [("a", [1]), ("a", [2, 3]), ("a", [4, -5]), ("a", [6])])
    assert found[:2] == [[2], [4, 6]]
    assert found[3] == [12]
    assert isinstance(found[2], ChecksumMismatch)
    assert "-5" in str(found[2])


def test_without_memory_everyone_tries_for_himself():
    found = together(Recorder(), [("a", [1]), ("a", [13]), ("a", [2]), ("a", [3])])
    assert isinstance(found[1], MemoryError)
    assert found[0] == [2]


def test_a_large_item_goes_alone_and_nothing_at_all_is_fine():
    calls = []
    batcher = Batcher(lambda key, items: calls.append(items) or items, lambda: 10)
    assert batcher.run(None, ["large", "small", "tiny"], [50, 5, 5]) == ["large", "small", "tiny"]
    assert calls == [["large"], ["small", "tiny"]]
    assert batcher.run(None, [], []) == []


def test_errors_do_not_stick():
    batcher = Batcher(lambda key, items: [1 // item for item in items], lambda: 10)
    with pytest.raises(ZeroDivisionError):
        batcher.run(None, [1, 0], [1, 1])
    assert batcher._queue == []
    assert batcher.run(None, [1], [1]) == [1]
