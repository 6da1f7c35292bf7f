"""Products with the history against dense numpy, plain and with a compressed past."""

import numpy as np
import pytest

from solvers import history

ROWS, BLOCK = 77, 8
PRODUCTS = {
    "left": (history.left, lambda x, m: x @ m),
    "right": (history.right, lambda x, m: x @ m.T),
    "symmetric": (history.symmetric, lambda x, m: x @ m),
}


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


def filled(rows, outputs, beyond=0.0):
    """A history of three matrices, written without the entries right of each slab, and the dense ones: (lower, symmetric)."""
    full = matrices(rows, outputs)
    slab = np.arange(rows * outputs) // outputs
    visible = slab[:, None] >= slab
    h = history.empty(2, 1, rows, outputs)
    for target, values in zip((*h.reported, *h.internal), full):
        target[:] = np.where(visible, values, beyond)
    return h, [(np.where(visible, values, 0.0), values) for values in full]


def assert_products(h, dense, outputs, times):
    """Errors: the tolerance on every entry, and a few rounding errors of sums of |x| |M|."""
    rng = np.random.default_rng(0)
    for m, (lower, symmetric) in enumerate(dense):
        for t in times:
            p = t * outputs
            x = rng.standard_normal((outputs, len(lower)))
            for name, (product, expected) in PRODUCTS.items():
                out = np.full_like(x, np.nan)
                product(h, m, x, p, out)
                values = (symmetric if name == "symmetric" else lower)[:p, :p]
                bound = (history.TOLERANCE + 8 * np.finfo(float).eps) * np.abs(values).max() * np.abs(x[:, :p]).sum(axis=1).max()
                error = np.abs(out[:, :p] - expected(x[:, :p], values)).max()
                assert error <= bound, f"{name}, matrix {m}, t = {t}"
                assert np.all(np.isnan(out[:, p:]))


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(history, "_BLOCK", BLOCK)
    monkeypatch.setattr(history, "_SHORTEST", 0)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_plain_products_read_the_written_triangle_only(outputs):
    h, dense = filled(23, outputs, beyond=np.nan)
    assert_products(h, dense, outputs, times=range(1, 24))


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("rows", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 7 * BLOCK + 3, ROWS])
def test_products_with_a_compressed_past(rows, outputs, small_blocks):
    h, dense = filled(ROWS, outputs)
    h = history.compress(h, rows)
    assert h.compressed[0] == rows // BLOCK * BLOCK * outputs
    assert_products(h, dense, outputs, times=range(rows, ROWS + 1, 3))


def test_the_compressed_past_is_really_used(small_blocks):
    h, dense = filled(ROWS, 1)
    h = history.compress(h, ROWS)
    for values in (*h.reported, *h.internal):
        values[: h.compressed[0]] = np.nan
    assert_products(h, dense, 1, times=[ROWS])


@pytest.mark.parametrize("outputs", [1, 3])
def test_compressing_step_by_step_is_compressing_at_once(outputs, small_blocks):
    once, _ = filled(ROWS, outputs)
    stepwise, _ = filled(ROWS, outputs)
    once = history.compress(once, ROWS)
    for rows in range(ROWS + 1):
        stepwise = history.compress(stepwise, rows)
    for name in ("compressed", "diagonal", "counts", "scale"):
        np.testing.assert_array_equal(getattr(stepwise, name), getattr(once, name), err_msg=name)
    x = np.random.default_rng(1).standard_normal((outputs, ROWS * outputs))
    for m in range(3):
        for product, _ in PRODUCTS.values():
            results = np.empty((2, *x.shape))
            product(once, m, x, x.shape[1], results[0])
            product(stepwise, m, x, x.shape[1], results[1])
            np.testing.assert_array_equal(*results)


def test_smooth_kernels_compress_and_noise_does_not(small_blocks):
    """Terms per block: a few for the smooth kernel at every size, one per row for the noise; no temporary block is left over."""
    h, _ = filled(ROWS, 1)
    h = history.compress(h, 64)
    permanent, temporary = h.counts
    blocks = 8 // 2 + 8 // 4 + 8 // 8
    assert permanent[0] <= 7 * blocks
    assert permanent[1] == 4 * 8 + 2 * 16 + 32
    assert np.all(temporary == 0)


def test_temporary_blocks_reach_back_to_the_beginning(small_blocks):
    h, _ = filled(ROWS, 1)
    h = history.compress(h, 7 * BLOCK)
    expected = {(4 * BLOCK, 6 * BLOCK, 0, 4 * BLOCK), (6 * BLOCK, 7 * BLOCK, 0, 6 * BLOCK)}
    for m, count in enumerate(h.counts[1]):
        assert {tuple(term[:4]) for term in h.terms[1, m, :count]} == expected


def test_the_error_is_measured_entry_by_entry(small_blocks):
    h, dense = filled(ROWS, 1)
    h = history.compress(h, ROWS)
    for m, (lower, _) in enumerate(dense):
        for lifetime in range(2):
            factors, terms = h.factors[lifetime, m], h.terms[lifetime, m, : h.counts[lifetime, m]]
            for block in {tuple(term[:4]) for term in terms}:
                row, row_stop, column, column_stop = block
                total = sum(
                    np.outer(factors[u : u + row_stop - row], factors[v : v + column_stop - column])
                    for *_block, u, v in terms
                    if tuple(_block) == block
                )
                error = np.abs(total - lower[row:row_stop, column:column_stop]).max()
                rounding = 8 * np.finfo(float).eps
                assert error <= (history.TOLERANCE + rounding) * np.abs(lower).max()


def test_short_histories_stay_as_they_are():
    h, _ = filled(ROWS, 1)
    assert history.compress(h, ROWS).compressed[0] == 0


def test_a_zero_matrix_has_rank_zero(small_blocks):
    h = history.compress(history.empty(1, 0, 4 * BLOCK, 1), 4 * BLOCK)
    assert h.counts.sum() == 0
    out = np.full((1, 4 * BLOCK), np.nan)
    history.left(h, 0, np.ones((1, 4 * BLOCK)), 4 * BLOCK, out)
    np.testing.assert_array_equal(out, 0.0)
