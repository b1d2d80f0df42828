import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eocodec.coding.varint import encode_varints
from eocodec.entropy.exact import EPSILON, MAX_MAGNITUDE, NOISE, EdgeReader, EdgeWriter
from eocodec.errors import ExactnessError, InputError, MalformedSection, Truncated


def near_edges(n, width, seed=0):
    """[n] values within `width` of an edge, on both sides of it, negative ones too."""
    rng = np.random.default_rng(seed)
    return rng.integers(-70_000, 70_000, n) + 0.5 + rng.uniform(-width, width, n)


def write(*arrays):
    writer = EdgeWriter()
    cells = [writer.resolve(np.asarray(array, np.float64)) for array in arrays]
    return cells, writer.finish()


def read(data, *arrays):
    reader = EdgeReader(data)
    cells = [reader.resolve(np.asarray(array, np.float64)) for array in arrays]
    reader.finish()
    return cells


def test_cells_are_those_of_floor():
    values = np.array([-1.5, -0.5, 0.5, 1.5, -1.2, 3.7, 0.0, -0.0, 65535.4999, -65535.5001])
    (cells,), data = write(values)
    assert cells.tolist() == np.floor(values + 0.5).tolist() == [-1, 0, 1, 2, -1, 4, 0, 0, 65535, -65536]
    assert cells.dtype == np.int64
    assert len(data) == 4  # the four exact halves, a byte each


def test_nothing_near_an_edge_takes_no_bytes():
    values = np.arange(-50_000, 50_000) + 0.25
    (cells,), data = write(
        values,
    )
    assert data == b""
    assert np.array_equal(read(data, values)[0], cells)


def test_no_values():
    (cells,), data = write(np.zeros((0, 3)))
    assert cells.shape == (0, 3)
    assert data == b""
    assert read(data, np.zeros((2, 0)))[0].shape == (2, 0)
    EdgeReader(b"").finish()


@pytest.mark.parametrize("width", [0.0, NOISE, EPSILON, 3 * EPSILON, 0.5])
def test_noise_below_the_assumed_changes_nothing(width):
    values = near_edges(80_000, width)
    (cells,), data = write(values)
    noise = np.random.default_rng(1).uniform(-0.999 * NOISE, 0.999 * NOISE, values.shape)
    if width < EPSILON:
        assert (np.floor(values + noise + 0.5) != cells).mean() > 0.05  # what would happen without the list
    for disturbed in (values + noise, values - noise, values + 0.999 * NOISE, values - 0.999 * NOISE):
        assert np.array_equal(read(data, disturbed)[0], cells)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e5, 1e5), max_size=40), st.lists(st.integers(-9, 9), max_size=40), st.integers(0, 99)
)
def test_any_values_in_any_portions(plain, halves, seed):
    rng = np.random.default_rng(seed)
    values = rng.permutation(np.array([*plain, *(k + 0.5 for k in halves)], np.float64))
    portions = np.array_split(values, rng.integers(1, 6))
    cells, data = write(*portions)
    noise = [rng.uniform(-0.99 * NOISE, 0.99 * NOISE, portion.shape) for portion in portions]
    decoded = read(data, *(portion + extra for portion, extra in zip(portions, noise, strict=True)))
    assert np.array_equal(np.concatenate(decoded), np.concatenate(cells))


def test_shape_and_order_in_memory():
    values = near_edges(24 * 40, EPSILON).reshape(2, 3, 4, 40)
    (cells,), data = write(values)
    assert cells.shape == values.shape
    strided = np.ascontiguousarray(values.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not strided.flags.c_contiguous
    assert np.array_equal(read(data, strided)[0], cells)


def test_size_of_the_list():
    """Two epsilon of every cell are listed; an entry takes little more than the logarithm of its gap."""
    n = 2_000_000
    rng = np.random.default_rng(2)
    values = rng.integers(-1000, 1000, n) + rng.uniform(0, 1, n)
    values[::50_000] = 7.5 + rng.uniform(-EPSILON, EPSILON, 40)
    _, data = write(values)
    assert 40 * 3 <= len(data) <= 45 * 3  # gaps of 50 000, doubled, take three bytes


def test_portions_and_blocks_do_not_matter():
    values = near_edges(150_000, 4 * EPSILON)
    whole = write(values)
    parts = write(values[:65_536], values[65_536:65_537], values[65_537:])
    assert whole[1] == parts[1]
    assert np.array_equal(whole[0][0], np.concatenate(parts[0]))


# --- the assumption fails -----------------------------------------------------------------------------------


def test_r46_an_unlisted_value_at_an_edge():
    values = np.full(1000, 3.25)
    _, data = write(values)
    values[500] = 3.5 + 0.7 * EPSILON
    with pytest.raises(ExactnessError, match="R46"):
        read(data, values)


def test_r46_a_listed_value_far_from_an_edge():
    values = np.full(1000, 3.25)
    values[500] = 3.5
    _, data = write(values)
    for off in (1.3 * EPSILON, -1.3 * EPSILON, 1e-3, 0.25, 4.0 - EPSILON * 2):
        values[500] = 3.5 + off
        with pytest.raises(ExactnessError, match="R46"):
            read(data, values)


@pytest.mark.parametrize("factor", [6, 40, 1000])
def test_noise_above_the_assumed_is_caught(factor):
    values = near_edges(2000, 2 * EPSILON)
    _, data = write(values)
    noise = np.random.default_rng(3).uniform(-factor * NOISE, factor * NOISE, values.shape)
    with pytest.raises(ExactnessError, match="R46"):
        read(data, values + noise)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, MAX_MAGNITUDE + 1, -1e300])
def test_values_that_are_no_cells(bad):
    values = np.zeros(80_000)
    values[70_000] = bad
    with pytest.raises(InputError):
        EdgeWriter().resolve(values)
    with pytest.raises(ExactnessError):
        EdgeReader(b"").resolve(values)


def test_largest_values_keep_32_bits():
    (cells,), _ = write(np.array([MAX_MAGNITUDE, -MAX_MAGNITUDE]))
    assert cells.tolist() == [2**31 - 1, -(2**31 - 1)]


def test_float32_is_refused():
    single = np.zeros(3, np.float32)
    with pytest.raises(InputError, match="float32"):
        EdgeWriter().resolve(single)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="float32"):
        EdgeReader(b"").resolve(single)  # type: ignore[arg-type]


# --- malformed lists ----------------------------------------------------------------------------------------


def test_r44_a_list_that_ends_within_a_varint():
    _, data = write(near_edges(3, EPSILON), np.zeros(9000), [0.5])
    for end in range(len(data)):
        if data[end - 1] >= 0x80 and end:
            with pytest.raises(Truncated, match="R44"):
                EdgeReader(data[:end])


def test_a_list_with_a_varint_that_is_too_long():
    with pytest.raises(MalformedSection, match="R27"):
        EdgeReader(b"\x80\x00")


def test_r45_positions_beyond_the_last_value():
    values = np.array([0.25, 0.5, 1.5])
    _, data = write(values)
    reader = EdgeReader(data)
    reader.resolve(values[:2])
    with pytest.raises(MalformedSection, match=r"1 listed values are beyond the last of 2 \(R45"):
        reader.finish()
    with pytest.raises(MalformedSection, match="R45"):
        EdgeReader(encode_varints(np.array([0]))).finish()


def test_r45_positions_that_overflow():
    with pytest.raises(MalformedSection, match="R45"):
        EdgeReader(encode_varints(np.array([2**64 - 1] * 4, dtype=np.uint64)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=12))
def test_any_bytes_are_a_list_or_an_error(data):
    values = near_edges(300, 2 * EPSILON)
    try:
        cells = read(data, values)[0]
    except (ExactnessError, MalformedSection, Truncated):
        return
    assert np.abs(cells - values).max() <= 0.5 + 2 * EPSILON
