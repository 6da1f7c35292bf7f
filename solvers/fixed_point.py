"""The linear theory as a fixed point: Gauss-Seidel sweeps of whole matrices over windows of time.

The order parameters close on themselves: those of h travel up the layers, those of g travel down, and the data turn the one into
the other. A sweep goes down the layers, through the data and up again, and solves every linear relation between two fields
exactly, by an inverse within the window; sweeps are repeated until nothing changes.

With explicit steps all maps are strictly causal, so that given the finished past row j of a window is exact after j sweeps and a
short window always converges. In a long one the iterates on the way grow like powers of the learning rate times the length and
may overflow: that is a failure of the method, `NoConvergence`, not of the training. With implicit steps (`gradient_flow`) a window is
the stages of one step, and the memory kernel has entries on and above the diagonal there.

This is the independent check of the row march: products and inverses of matrices, no recursion over rows. It is all matrix
products, hence left to BLAS; input modes go through it side by side.

Source: arXiv 2502.02531; docs/theory/deep_linear.md, sections 1 (window form), 3, 4, 5 and 8.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dtrtri

from .linear_problem import OrderParameters

AUTO_WINDOW = 16
INNER_UPDATES = 3


class Sweeps(NamedTuple):
    """One attempt at one window: its first row, its number of rows, and the residual after every sweep."""

    start: int
    rows: int
    residuals: np.ndarray


class NoConvergence(RuntimeError):
    """The sweeps over a window overflowed or did not settle; this says nothing about the training itself.

    Attributes
    ----------
    history : list of Sweeps
        Everything tried so far; the last entry is the window that failed.
    """

    def __init__(self, history):
        start, rows, residuals = history[-1]
        reason = f"a residual of {residuals[-1]:.1e}" if np.isfinite(residuals[-1]) else "an overflow"
        super().__init__(
            f"the fixed-point iteration over the {rows} rows from row {start} ended in {reason} after {len(residuals)} sweeps: "
            'take a shorter window, or window="auto"'
        )
        self.history = history


class Window(NamedTuple):
    """Rows of all matrices now iterated, n = T C: the finished past P, the window I, J = P and I; and the optimizer's rows [I, J].

    `inverse` inverts what its steps make of (..., I, I) matrices 1 - B A: unit lower triangular ones if they are explicit.
    """

    P: slice
    I: slice
    J: slice
    dd: np.ndarray
    kappa: np.ndarray
    readout_dd: np.ndarray
    readout_kappa: np.ndarray
    inverse: Callable


def open_window(problem, start, stop):
    """The window of time rows start to stop - 1."""
    C = problem.outputs
    ones, unit = np.ones((C, C)), np.eye(C)
    dd, kappa = np.outer(problem.decay[start:stop], problem.decay[:stop]), problem.memory[start:stop, :stop]
    P, I, J = slice(0, start * C), slice(start * C, stop * C), slice(0, stop * C)
    inverse = full_inverse if np.any(np.triu(kappa[:, start:])) else unit_lower_inverse
    return Window(P, I, J, np.kron(dd, ones), np.kron(kappa, ones), np.kron(dd, unit), np.kron(kappa, unit), inverse)


def unit_lower_inverse(matrices):
    """Inverses of unit lower triangular matrices (..., n, n); early rows stay exact even where later ones overflow."""
    inverses = [dtrtri(matrix.T, lower=0, unitdiag=1)[0].T for matrix in np.ascontiguousarray(matrices).reshape(-1, *matrices.shape[-2:])]
    return np.array(inverses).reshape(matrices.shape)


def full_inverse(matrices):
    """Inverses of matrices (..., n, n); of all of them NaN if one is singular."""
    try:
        return np.linalg.inv(matrices)
    except np.linalg.LinAlgError:
        return np.full_like(matrices, np.nan)


def write_symmetric(matrix, window, rows):
    """Write rows [I, J] and their mirror image."""
    matrix[window.I, window.J] = rows
    matrix[window.P, window.I] = rows[:, window.P].T


class TwoField:
    """h = a + A g, g = b + B h with coupling c between scaled responses: H = 1 + c A Rg, G = 1 + c B Rh (section 1)."""

    def __init__(self, coupling, matrices):
        self.coupling = coupling
        self.Ch, self.Cg, self.Rh, self.Rg, self.H, self.G, self.Ca, self.Cb = matrices

    def from_below(self, window, A, Ca):
        """Take the rows [I, J] of A and Ca, and what A makes of the past."""
        P, I = window.P, window.I
        self.A = A[:, I]
        self.h0 = self.coupling * A[:, P] @ self.Rg[P, P]
        self.rh0 = A[:, P] @ self.G[P, P]
        write_symmetric(self.Ca, window, Ca)

    def from_above(self, window, B, Cb):
        """Take the rows [I, J] of B and Cb, and what B makes of the past."""
        P, I = window.P, window.I
        self.B = B[:, I]
        self.rg0 = B[:, P] @ self.H[P, P]
        self.g0 = self.coupling * B[:, P] @ self.Rh[P, P]
        write_symmetric(self.Cb, window, Cb)

    def solve_g(self, window):
        """Responses G = (1 - c B A)^-1 and Rg, correlation Cg."""
        P, I, J = window[:3]
        c, A, B, G, Rg, Ca, Cb = self.coupling, self.A, self.B, self.G, self.Rg, self.Ca, self.Cb
        M = window.inverse(np.eye(len(B)) - c * B @ A)
        G[I, I], G[I, P] = M, M @ (self.g0 + c * B @ self.rh0)
        Rg[I, I], Rg[I, P] = M @ B, M @ (self.rg0 + B @ self.h0)
        write_symmetric(self.Cg, window, c * Rg[I, J] @ Ca[J, J] @ Rg[J, J].T + G[I, J] @ Cb[J, J] @ G[J, J].T)

    def solve_h(self, window):
        """Responses H = (1 - c A B)^-1 and Rh, correlation Ch."""
        P, I, J = window[:3]
        c, A, B, H, Rh, Ca, Cb = self.coupling, self.A, self.B, self.H, self.Rh, self.Ca, self.Cb
        M = window.inverse(np.eye(len(A)) - c * A @ B)
        H[I, I], H[I, P] = M, M @ (self.h0 + c * A @ self.rg0)
        Rh[I, I], Rh[I, P] = M @ A, M @ (self.rh0 + A @ self.g0)
        write_symmetric(self.Ch, window, H[I, J] @ Ca[J, J] @ H[J, J].T + c * Rh[I, J] @ Cb[J, J] @ Rh[J, J].T)


class DataBlock:
    """Input modes v_k = S_k (b_k - K a_k), u_k = a_k + lambda_k R_D v_k with S_k = (1 + lambda_k K R_D)^-1, and samples (section 3)."""

    def __init__(self, problem):
        n, C = problem.rows * problem.outputs, problem.outputs
        self.problem = problem
        self.lam, self.weights = problem.eigenvalues[:, None, None], problem.fractions * problem.eigenvalues
        self.inverse_alpha = 1.0 / problem.sample_ratio
        self.fixed_samples = not problem.online and np.isfinite(problem.sample_ratio)
        self.time = np.arange(n) // C
        self.constant = np.tile(np.eye(C), (problem.rows, 1))
        self.S = np.zeros((len(problem.eigenvalues), n, n))
        self.matrices = np.zeros((14, n, n))
        self.Cv, self.Cu, self.Rv, self.Ru, self.Cd, self.Rd = self.matrices[:6]
        self.K, self.Cn, self.KCK, self.N, self.S1, self.S2K, self.Va, self.Cv2 = self.matrices[6:]

    def solve(self, window, K, Cn, tolerance):
        """Solve the block for the rows [I, J] of K and of the covariance Cn of the initial function; quadratic in R_D, linear in C_D."""
        self.K[window.I, window.J] = K
        write_symmetric(self.Cn, window, Cn)
        for update, matrix in ((self.solve_responses, self.Rd), (self.solve_correlations, self.Cd)):
            for _ in range(INNER_UPDATES if self.inverse_alpha else 1):
                known = matrix[window.I, window.J].copy()
                update(window)
                if np.max(np.abs(matrix[window.I, window.J] - known)) <= tolerance * np.max(np.abs(known)):
                    break
        self.solve_inputs(window)

    def solve_responses(self, window):
        """S_k, then R_v = -sum_k n_k lambda_k S_k K, then R_D = (1 - R_v / alpha)^-1."""
        P, I, J = window[:3]
        K, Rd, Rv, S1 = self.K, self.Rd, self.Rv, self.S1
        unit = np.eye(I.stop - I.start)
        KR = K[I, J] @ Rd[J, J]
        M = window.inverse(unit + self.lam * KR[:, I])
        self.S[:, I, I], self.S[:, I, P] = M, (-self.lam * M) @ (KR[:, P] @ self.S[:, P, P])
        S1[I, J] = np.tensordot(self.weights, self.S[:, I, J], 1)
        Rv[I, J] = -S1[I, J] @ K[J, J]
        if self.fixed_samples:
            M = window.inverse(unit - self.inverse_alpha * Rv[I, I])
            Rd[I, I], Rd[I, P] = M, self.inverse_alpha * M @ Rv[I, P] @ Rd[P, P]
        else:
            Rd[I, I], Rd[I, P] = unit, 0.0

    def solve_correlations(self, window):
        """C_v = sum_k n_k lambda_k S_k (w_k^2 11^T + Cn + lambda_k K C_D K^T / alpha) S_k^T, then C_D = R_D N R_D^T, N = C_v + noise."""
        P, I, J = window[:3]
        problem, K, Rd, ones = self.problem, self.K, self.Rd, self.constant
        S = self.S[:, I, J]
        sources = S @ self.Cn[J, J] + (S @ ones[J]) @ problem.target @ ones[J].T
        if self.inverse_alpha:
            write_symmetric(self.KCK, window, self.inverse_alpha * K[I, J] @ self.Cd[J, J] @ K[J, J].T)
            sources += self.lam * (S @ self.KCK[J, J])
        rows = sources @ self.S[:, J, J].transpose(0, 2, 1)
        Cv = np.tensordot(self.weights, rows, 1)
        write_symmetric(self.Cv, window, Cv)
        write_symmetric(self.Cv2, window, np.tensordot(self.weights * problem.eigenvalues, rows, 1))

        N = Cv + ones[I] @ problem.noise @ ones[J].T
        write_symmetric(self.N, window, N)
        if self.fixed_samples:
            Cd = Rd[I, J] @ self.N[J, J] @ Rd[J, J].T
            if problem.batch_excess:
                E = subset_noise(Cd[:, I], Rd[I, I], problem.batch_excess, problem.outputs)
                self.N[I, I] += E
                Cd[:, I] += Rd[I, I] @ E @ Rd[I, I].T
        elif problem.online:
            Cd = np.where(self.time[I, None] == self.time[J], N, 0.0)
        else:
            Cd = N
        write_symmetric(self.Cd, window, Cd)

    def solve_inputs(self, window):
        """Q = R_D sum_k n_k lambda_k S_k and the correlation of u_k = a_k + lambda_k R_D v_k, with <v_k a_k> = -S_k K <a_k a_k>."""
        I, J = window.I, window.J
        lam, fraction, Rd, Cd, Va = self.problem.eigenvalues, self.problem.fractions, self.Rd, self.Cd, self.Va
        self.Ru[I, J] = Rd[I, J] @ self.S1[J, J]
        self.S2K[I, J] = np.tensordot(fraction * lam**2, self.S[:, I, J], 1) @ self.K[J, J]
        Va[I, J] = -self.inverse_alpha * Rd[I, J] @ self.S2K[J, J]
        aa = self.inverse_alpha * (fraction @ lam) * Cd[I, J]
        cross = Va[I, J] @ Cd[J, J] + Cd[I, J] @ Va[J, J].T
        write_symmetric(self.Cu, window, aa + cross + Rd[I, J] @ self.Cv2[J, J] @ Rd[J, J].T)


def subset_noise(Cd, Rd, excess, C):
    """E = excess * blockdiag(train), train(t) = Cd(t, t) + sum_{s<t} Rd(t, s) E(s) Rd(t, s)^T: solved for the C x C blocks of E."""
    T = len(Rd) // C
    R = Rd.reshape(T, C, T, C)
    spread = np.einsum("ts,tasc,tbsd->tabscd", np.tri(T, k=-1), R, R).reshape(T * C * C, T * C * C)
    blocks = np.einsum("tatb->tab", Cd.reshape(T, C, T, C)).ravel()
    E = unit_lower_inverse(np.eye(T * C * C) - excess * spread) @ (excess * blocks)
    return np.einsum("ts,tab->tasb", np.eye(T), E.reshape(T, C, C)).reshape(T * C, T * C)


class Theory:
    """The coupled blocks of a `LinearProblem`, n = T C, and the sweep through them (section 3).

    A residual network has two more blocks between neighboring layers: `ups` and `downs`, all below and all above (section 4).
    The iterates are what a sweep starts from: R_D, C_D, and the response and correlation of h that each block takes from below.
    """

    def __init__(self, problem):
        L, n = problem.layers, problem.rows * problem.outputs
        self.problem = problem
        self.matrices = np.zeros((8, L, n, n))
        self.layers = [TwoField(problem.coupling, self.matrices[:, l]) for l in range(L)]
        self.between = np.zeros((2, 8, 0 if problem.branch is None else L - 1, n, n))
        self.ups, self.downs = ([TwoField(problem.coupling, part[:, l]) for l in range(part.shape[1])] for part in self.between)
        self.data = DataBlock(problem)
        self.below = [(self.data.Ru, self.data.Cu)] + [(layer.Rh, layer.Ch) for layer in self.layers[:-1]]
        self.iterates = [(self.data.Rd, self.data.Cd)] + self.below + [(block.Rh, block.Ch) for block in self.ups]

    @property
    def everything(self):
        """All arrays of matrices."""
        return self.matrices, self.between, self.data.matrices, self.data.S

    def read(self, window):
        """Rows [I, J] of the iterates."""
        return np.array([[matrix[window.I, window.J] for matrix in pair] for pair in self.iterates])

    def write(self, window, values):
        """Start the next sweep from these iterates."""
        for (response, correlation), (R, C) in zip(self.iterates, values):
            response[window.I, window.J] = R
            write_symmetric(correlation, window, C)
        for l in range(len(self.layers)):
            self.climb(window, l)

    def erase(self, window):
        """Forget an attempt that failed: overflows also spoil the zeros above the diagonal, which later windows would read."""
        for matrices in self.everything:
            matrices[..., window.I, :] = 0.0
            matrices[..., window.I] = 0.0

    def clean(self, window):
        """Set entries of the window that are less than anything counts to zero: their products would underflow, which is slow."""
        for matrices in self.everything:
            for part in (matrices[..., window.I, :], matrices[..., window.P, window.I]):
                part[np.abs(part) < 1e-100] = 0.0

    def take(self, other, n):
        """Begin with the first n rows of a smaller one."""
        for new, old in zip(self.everything, other.everything):
            new[..., :n, :n] = old[..., :n, :n]

    def climb(self, window, l):
        """A^1 = -dd o Q / (gamma nu_L) + gamma kappa o C_u, A^{l+1} = dd o Rh^l + gamma kappa o Ch^l, Ca^{l+1} = dd o Ch^l.

        Residual: beta^2 times the latter is what the block `down` of layer l + 1 takes, and with R and C of `up` the layer.
        """
        R, C = (matrix[window.I, window.J] for matrix in self.below[l])
        weight = 1.0 if l > 0 else -self.problem.initial_variance
        A, Ca = weight * window.dd * R + window.kappa * C, window.dd * C
        if self.ups and l > 0:
            up, beta = self.ups[l - 1], self.problem.branch
            A, Ca = beta**2 * A, beta**2 * Ca
            self.downs[l - 1].from_below(window, A, Ca)
            A, Ca = A + up.Rh[window.I, window.J], Ca + up.Ch[window.I, window.J]
        for block in (self.layers[l], *self.ups[l : l + 1]):
            block.from_below(window, A, Ca)

    def sweep(self, window, tolerance):
        """Down the layers, through the data, up the layers."""
        B, Cb = window.readout_kappa, window.readout_dd
        for l in reversed(range(len(self.layers))):
            B, Cb = self.descend(window, l, B, Cb)
        self.data.solve(window, B, self.problem.initial_variance * Cb, tolerance)
        for l, layer in enumerate(self.layers):
            self.climb(window, l)
            for block in (layer, *self.ups[l : l + 1], *self.downs[l - 1 : l]):
                block.solve_h(window)

    def descend(self, window, l, B, Cb):
        """Solve for g^l, and return the B and Cb of the layer below, or K and C_n; the mirror image of `climb`."""
        layer, problem = self.layers[l], self.problem
        layer.from_above(window, B, Cb)
        layer.solve_g(window)
        Rg, Cg = layer.Rg[window.I, window.J], layer.Cg[window.I, window.J]
        r = problem.width_steps[l - 1] if l > 0 else problem.first_over_last
        below, cov = r * (window.dd * Rg + window.kappa * Cg), r * window.dd * Cg
        if not self.ups or l == 0:
            return below, cov
        up, down = self.ups[l - 1], self.downs[l - 1]
        below, cov = problem.branch**2 * below, problem.branch**2 * cov
        up.from_above(window, below, cov)
        down.from_above(window, B, Cb)
        up.solve_g(window)
        down.solve_g(window)
        return below + down.Rg[window.I, window.J], cov + down.Cg[window.I, window.J]

    def losses(self):
        """Test and train loss; the equal-time block of C_D is train / p for random subsets of a fraction p of the samples."""
        data, C = self.data, self.problem.outputs
        test, errors = (np.diag(matrix).reshape(-1, C).sum(axis=1) for matrix in (data.Cv, data.Cd))
        return test, errors / (1.0 + self.problem.batch_excess) if data.fixed_samples else errors


def mix(xs, changes, weights, damping):
    """Next iterate after the `xs` and what a sweep adds to each of them: a damped step, or Anderson's with more than one of them.

    Anderson: the affine combination of the known iterates with the smallest weighted change, and `damping` times that change.
    """
    x, change = xs[-1], changes[-1]
    mixed = x + damping * change
    dx, df = (values[-1] - np.array(values)[:-1] for values in (xs, changes))
    weighted = (weights * df).reshape(len(df), change.size)
    gram = weighted @ weighted.T
    if len(df) > 0 and np.all(np.isfinite(gram)):
        combination = np.linalg.lstsq(gram, weighted @ (weights * change).ravel(), rcond=None)[0]
        mixed -= np.tensordot(combination, dx + damping * df, 1)
    return mixed


def nothing(theory, window):
    """The iterates without any coupling: A = 0, Ca = 0, R_D = 1, C_D = 0."""
    x = np.zeros_like(theory.read(window))
    x[0, 0][:, window.I] = np.eye(x.shape[2])
    return x


def iterate(theory, window, x, size, tolerance, max_sweeps, damping=1.0, anderson=0, rounding=0.0):
    """Sweep from the iterates `x` until none changes by more than `tolerance` of its `size`, a function of the iterates.

    Changes below `rounding` that three sweeps have not made smaller are the last, too. Returns the residual of every sweep, and the last
    iterates.
    """
    theory.write(window, x)
    xs, changes, residuals = [], [], []
    while len(residuals) < max_sweeps:
        theory.sweep(window, tolerance)
        swept = theory.read(window)
        change = swept - x
        scale = size(swept)
        weights = 1.0 / np.where(scale > 0.0, scale, 1.0)
        residuals.append(np.max(np.abs(change) * weights))
        if not residuals[-1] > tolerance or max(residuals[-4:]) <= rounding and residuals[-1] >= min(residuals[-4:-1], default=np.inf):
            break
        if damping == 1.0 and anderson == 0:
            x = swept
        else:
            xs, changes = [*xs, x][-anderson - 1 :], [*changes, change][-anderson - 1 :]
            x = mix(xs, changes, weights, damping)
            theory.write(window, x)
    return np.array(residuals), swept


def largest(scales, x):
    """Largest entry of each iterate, and of its past."""
    return np.maximum(scales, np.max(np.abs(x), axis=(2, 3), keepdims=True))


def solve(problem, window="auto", tolerance=1e-10, max_sweeps=200, damping=1.0, anderson=0, callback=None):
    """Solve `LinearProblem` by sweeps over consecutive windows of time.

    Parameters
    ----------
    problem : LinearProblem
    window : int or "auto"
        Rows per window; T or more: one window over the whole horizon. "auto" begins with 16 rows and halves a window that fails,
        down to a single row, which is exact after one sweep: it converges wherever the row march works.
    tolerance : float
        Largest change in one sweep of the responses and correlations passed upwards and of R_D, C_D, relative to their largest entries.
    max_sweeps : int
        Per window.
    damping : float in (0, 1]
        Fraction of the change that is applied. About 1/2 carries long windows through where plain sweeps overflow, at many more sweeps.
    anderson : int
        Number of earlier iterates in Anderson acceleration; 0: none.
    callback : callable(rows), optional
        Called after every window with the number of finished rows.

    Returns
    -------
    order_parameters : OrderParameters
    history : list of Sweeps
        Residuals of every sweep, window by window; an attempt that failed is followed by shorter ones.
    finished : int
        Number of valid rows: less than T where the training itself diverged. The losses are infinite from there on, and all
        later rows of the order parameters have no meaning.

    Raises
    ------
    NoConvergence
        A window of the given length overflows or takes more than `max_sweeps`.
    """
    theory = Theory(problem)
    length = AUTO_WINDOW if window == "auto" else window
    history, scales, start, finished = [], 0.0, 0, problem.rows
    with np.errstate(all="ignore"):
        while start < finished:
            stop = min(start + length, problem.rows)
            window_rows = open_window(problem, start, stop)
            guess, size = nothing(theory, window_rows), partial(largest, scales)
            residuals, found = iterate(theory, window_rows, guess, size, tolerance, max_sweeps, damping, anderson)
            history.append(Sweeps(start, stop - start, residuals))
            if residuals[-1] <= tolerance:
                test_loss = theory.losses()[0]
                diverged = ~(test_loss[start:stop] <= problem.divergence_factor * test_loss[0])
                if np.any(diverged):
                    finished = start + int(np.argmax(diverged))
                start, scales = stop, size(found)
                if callback:
                    callback(min(stop, finished))
                continue
            theory.erase(window_rows)
            if stop - start == 1 and not np.isfinite(residuals[-1]):
                finished = start
            elif window == "auto" and length > 1:
                length = (stop - start + 1) // 2
            else:
                raise NoConvergence(history)
    data, losses = theory.data, np.array(theory.losses())
    losses[:, finished:] = np.inf
    return OrderParameters(*theory.matrices[:4], data.Cv, data.Cu, data.Rv, data.Ru, data.Cd, data.Rd, *losses), history, finished
