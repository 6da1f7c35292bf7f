"""Products with the history against dense numpy, plain and with a compressed past."""

import numpy as np
import pytest

from solvers import history, low_rank_history
from solvers.compiled import bare

ROWS, BLOCK = 77, 8
PRODUCTS = {
    "left": (history.LEFT, lambda x, m: x @ m),
    "right": (history.RIGHT, lambda x, m: x @ m.T),
    "symmetric": (history.SYMMETRIC, lambda x, m: x @ m),
}


@bare
def add_product(h, kind, m, x, p, out, coefficients):
    history.product(h, kind, m, x, p, out, coefficients)


def product(h, kind, m, x, p):
    """x[:, :p] times the leading part of matrix number m, x (outputs, n)."""
    rows = np.zeros((3, h.outputs, h.size))
    rows[0, :, :p] = x[:, :p]
    add_product(h, kind, m, rows[0], p, rows[1], rows[2])
    return rows[1, :, :p]


def matrices(rows, outputs):
    """A smooth kernel with a cusp, a random matrix, and one of rank one in some blocks only; all symmetric."""
    n = rows * outputs
    t = np.repeat(np.arange(rows), outputs) / rows
    lag = np.abs(np.subtract.outer(t, t))
    rng = np.random.default_rng(outputs)
    noise = rng.standard_normal((n, n))
    smooth = np.exp(-3 * lag) * (1 + np.cos(5 * np.add.outer(t, t))) + np.tile(rng.uniform(0, 1, (outputs, outputs)), (rows, rows))
    mixed = np.where(np.add.outer(t, t) < 0.5, noise, 1e-3)
    return [(m + m.T) / 2 for m in (smooth, noise, mixed)]


def filled(rows, outputs):
    """A history of three matrices, written without the entries right of each slab, and the dense ones: (lower, symmetric)."""
    full = matrices(rows, outputs)
    n, slab = rows * outputs, np.arange(rows * outputs) // outputs
    visible = slab[:, None] >= slab
    h = history.empty(2, 1, rows, outputs)
    for target, values in zip(history.matrices(h), full):
        target[:n, :n] = np.where(visible, values, 0.0)
    return h, [(np.where(visible, values, 0.0), values) for values in full]


def compress(h, rows):
    return low_rank_history.compress(h, range(3), rows)


def assert_products(h, dense, outputs, times):
    """Errors: the tolerance on every entry, and a few rounding errors of sums of |x| |M|."""
    rng = np.random.default_rng(0)
    for m, (lower, symmetric) in enumerate(dense):
        for t in times:
            p = t * outputs
            x = rng.standard_normal((outputs, len(lower)))
            for name, (kind, expected) in PRODUCTS.items():
                values = (symmetric if name == "symmetric" else lower)[:p, :p]
                bound = (low_rank_history.TOLERANCE + 8 * np.finfo(float).eps) * np.abs(values).max() * np.abs(x[:, :p]).sum(axis=1).max()
                error = np.abs(product(h, kind, m, x, p) - expected(x[:, :p], values)).max()
                assert error <= bound, f"{name}, matrix {m}, t = {t}"


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(low_rank_history, "_BLOCK", BLOCK)
    monkeypatch.setattr(low_rank_history, "_SHORTEST", 0)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_plain_products(outputs):
    h, dense = filled(23, outputs)
    assert_products(h, dense, outputs, times=range(1, 24))


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("rows", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 7 * BLOCK + 3, ROWS])
def test_products_with_a_compressed_past(rows, outputs, small_blocks):
    h, dense = filled(ROWS, outputs)
    h = compress(h, rows)
    assert h.finished == rows // BLOCK * BLOCK * outputs
    assert_products(h, dense, outputs, times=range(rows, ROWS + 1, 3))


def blocks(h, m):
    """Row, rows, column, width, rank and place of the blocks of matrix number m."""
    return h.blocks[h.starts[m] : h.starts[m + 1]].tolist()


def test_the_compressed_past_is_really_used(small_blocks):
    """Nothing is read from a matrix below `finished` but its large dense blocks."""
    h, dense = filled(ROWS, 1)
    h = compress(h, ROWS)
    for m, values in enumerate(history.matrices(h)):
        read = np.zeros(values.shape, bool)
        for row, rows, column, width, rank, _ in blocks(h, m):
            read[row : row + rows, column : column + width] = rank == history.IN_PLACE
        values[: h.finished][~read[: h.finished]] = np.nan
    assert_products(h, dense, 1, times=[ROWS])


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_blocks_cover_the_past_once(outputs, small_blocks):
    for rows in range(0, ROWS, BLOCK):
        h = compress(filled(ROWS, outputs)[0], rows)
        for m in range(3):
            covered = np.zeros((h.size, h.size), int)
            for row, height, column, width, *_ in blocks(h, m):
                covered[row : row + height, column : column + width] += 1
            slab = np.arange(h.size) // (BLOCK * outputs)
            expected = (slab[:, None] >= slab) & (np.arange(h.size) < h.finished)[:, None]
            np.testing.assert_array_equal(covered, expected)


@pytest.mark.parametrize("outputs", [1, 3])
def test_compressing_step_by_step_is_compressing_at_once(outputs, small_blocks):
    once, _ = filled(ROWS, outputs)
    stepwise, _ = filled(ROWS, outputs)
    once = compress(once, ROWS)
    for rows in range(ROWS + 1):
        stepwise = compress(stepwise, rows)
    for name in ("finished", "starts", "scale"):
        np.testing.assert_array_equal(getattr(stepwise, name), getattr(once, name), err_msg=name)
    x = np.random.default_rng(1).standard_normal((outputs, ROWS * outputs))
    for m in range(3):
        for kind, _ in PRODUCTS.values():
            np.testing.assert_array_equal(*(product(h, kind, m, x, x.shape[1]) for h in (once, stepwise)))


def test_smooth_kernels_compress_and_noise_does_not(small_blocks):
    """Blocks of low rank are smaller than dense ones; those of the noise are all dense, and the large ones read where they are."""
    h, _ = filled(128, 1)
    h = compress(h, 128)
    smooth, noise = blocks(h, 0), blocks(h, 1)
    assert {rank for *_, rank, _ in noise} <= {history.COPIED, history.IN_PLACE}
    large = [(rows, width, rank) for row, rows, column, width, rank, _ in smooth if column < row and rows >= 4 * BLOCK]
    assert len(large) == 3 and all(0 <= rank * (rows + width) < 0.6 * rows * width for rows, width, rank in large)


def test_ranks_beyond_the_largest_stay_dense(small_blocks, monkeypatch):
    monkeypatch.setattr(low_rank_history, "_LARGEST_RANK", 0)
    monkeypatch.setattr(low_rank_history, "_COPIED", 4 * BLOCK)
    h, dense = filled(ROWS, 1)
    h = compress(h, ROWS)
    assert {block[4] for block in blocks(h, 0)} == {history.COPIED, history.IN_PLACE}
    assert_products(h, dense, 1, times=[ROWS - 1, ROWS])


def test_temporary_blocks_reach_back_to_the_beginning(small_blocks):
    h, _ = filled(ROWS, 1)
    h = compress(h, 7 * BLOCK)
    for m in range(3):
        back = {tuple(block[:4]) for block in blocks(h, m) if block[2] == 0 and block[0] >= 4 * BLOCK}
        assert back == {(4 * BLOCK, 2 * BLOCK, 0, 4 * BLOCK), (6 * BLOCK, BLOCK, 0, 6 * BLOCK)}


def test_the_error_is_measured_entry_by_entry(small_blocks):
    h, dense = filled(ROWS, 1)
    h = compress(h, ROWS)
    for m, (lower, _) in enumerate(dense):
        for row, rows, column, width, rank, place in blocks(h, m):
            if rank > 0:
                factors = h.factors[place : place + rank * (rows + width)]
                u, v = factors[: rank * rows].reshape(rank, rows), factors[rank * rows :].reshape(rank, width)
                error = np.abs(u.T @ v - lower[row : row + rows, column : column + width]).max()
                rounding = 8 * np.finfo(float).eps
                assert error <= (low_rank_history.TOLERANCE + rounding) * np.abs(lower).max()


def test_short_histories_stay_as_they_are():
    h, _ = filled(ROWS, 1)
    assert compress(h, ROWS).finished == 0


def test_a_zero_matrix_has_rank_zero(small_blocks):
    h = low_rank_history.compress(history.empty(1, 0, 4 * BLOCK, 1), [0], 4 * BLOCK)
    assert {rank for row, _, column, _, rank, _ in blocks(h, 0) if row - column >= 2 * BLOCK} == {0}
    np.testing.assert_array_equal(product(h, history.LEFT, 0, np.ones((1, 4 * BLOCK)), 4 * BLOCK), 0.0)
