"""Work on tiles side by side: order, errors, and the numbers of threads before, during and after."""

import threading

import pytest
import torch

from eocodec.nn.threads import ahead, map_tiles


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_are_in_order_and_threads_as_before(threads):
    torch.set_num_threads(threads)
    assert map_tiles(lambda x: x * x, [3, 1, 2, 5]) == [9, 1, 4, 25]
    assert map_tiles(str, []) == []
    assert torch.get_num_threads() == threads


def test_tiles_run_side_by_side_each_on_one_thread():
    torch.set_num_threads(2)
    meeting = threading.Barrier(2, timeout=20)

    def work(_):
        meeting.wait()  # passes only if two are at work at once
        return torch.get_num_threads(), threading.current_thread() is threading.main_thread()

    assert map_tiles(work, [0, 1]) == [(1, False), (1, False)]


def test_one_tile_keeps_all_threads():
    torch.set_num_threads(2)
    assert map_tiles(lambda _: torch.get_num_threads(), [0]) == [2]


def test_a_thread_started_afterwards_has_the_same_number():
    torch.set_num_threads(2)
    map_tiles(lambda x: x, [1, 2])
    seen = []
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [2]


def test_the_first_error_comes_through():
    torch.set_num_threads(2)

    def work(x):
        raise ValueError(f"tile {x}")

    with pytest.raises(ValueError, match="tile 4"):
        map_tiles(work, [4, 5, 6])
    assert torch.get_num_threads() == 2


def test_the_next_item_is_made_while_one_is_worked_on():
    torch.set_num_threads(2)
    meeting = threading.Barrier(2, timeout=20)

    def made():
        for number in range(4):
            if number:
                meeting.wait()  # passes only while the one before is worked on
            yield number, torch.get_num_threads(), threading.current_thread() is threading.main_thread()

    with ahead(made()) as items:
        found = []
        for item in items:
            assert torch.get_num_threads() == 1
            assert map_tiles(lambda _: torch.get_num_threads(), [0, 0]) == [1, 1]
            if item[0] < 3:
                meeting.wait()
            found.append(item)
    assert found == [(number, 1, False) for number in range(4)]
    assert torch.get_num_threads() == 2


def test_ahead_of_one_thread_is_no_thread():
    torch.set_num_threads(1)
    items = iter([1, 2])
    with ahead(items) as found:
        assert found is items


def test_within_ahead_there_are_threads_for_tiles():
    torch.set_num_threads(2)
    meeting = threading.Barrier(2, timeout=20)
    with ahead([1]):
        map_tiles(lambda _: meeting.wait(), [0, 1])  # passes only if two are at work at once
        assert torch.get_num_threads() == 1


def test_an_error_in_making_comes_where_the_item_is_wanted():
    torch.set_num_threads(2)

    def made():
        yield 1
        raise ValueError("no second one")

    with pytest.raises(ValueError, match="no second one"), ahead(made()) as items:
        list(items)
    assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), ahead(iter([1, 2, 3])) as items:
        next(iter(items))
        raise KeyError
    assert torch.get_num_threads() == 2
