"""Slow readable twin of the compiled march: the equations of docs/theory/deep_linear.md, sections 1 and 3, row by row in numpy.

Every full matrix is kept symmetric or triangular as it grows, so that each line below is one line of these equations. A residual network
is the chain of its states as it stands, with the responses of every state to the sources of every other: nothing is eliminated.
"""

import numpy as np

from .linear_problem import OrderParameters


class TwoField:
    """h = a + A g, g = b + B h with coupling c between scaled responses: H = 1 + c A Rg, G = 1 + c B Rh (section 1)."""

    def __init__(self, n, coupling):
        self.coupling = coupling
        self.H, self.Rh, self.G, self.Rg, self.Ch, self.Cg = np.zeros((6, n, n))

    def backward(self, I, P, J, B, Ca, Cb):
        """Row slab I of g, given the row B of the upper layer and the covariances of the sources."""
        c = self.coupling
        self.Rg[I, P] = B @ self.H[P, P]
        self.G[I, P] = c * B @ self.Rh[P, P]
        self.G[I, I] = np.eye(len(B))
        row = c * self.Rg[I, P] @ Ca[P, P] @ self.Rg[J, P].T + self.G[I, J] @ Cb[J, J] @ self.G[J, J].T
        self.Cg[I, J], self.Cg[J, I] = row, row.T

    def forward(self, I, P, J, A, Ca, Cb):
        """Row slab I of h, given the row A of the lower layer."""
        c = self.coupling
        self.H[I, P] = c * A @ self.Rg[J, P]
        self.H[I, I] = np.eye(len(A))
        self.Rh[I, J] = A @ self.G[J, J]
        row = self.H[I, J] @ Ca[J, J] @ self.H[J, J].T + c * self.Rh[I, J] @ Cb[J, J] @ self.Rh[J, J].T
        self.Ch[I, J], self.Ch[J, I] = row, row.T


class Residual:
    """State l of the chain h^l = h^{l-1} + a + A g^l, g^l = g^{l+1} + b + B h^l, beside `states`, the list of all (section 4).

    The responses H, Rh, G and Rg are those to the sources at state l, as they are for a `TwoField`; `dh_da` and the others hold them to
    the sources at all states, (L, n, n).
    """

    def __init__(self, states, l, L, n, coupling):
        self.states, self.l, self.coupling = states, l, coupling
        self.dh_da, self.dh_db, self.dg_db, self.dg_da = np.zeros((4, L, n, n))
        self.Rh, self.Rg = self.dh_db[l], self.dg_da[l]
        self.Ch, self.Cg, self.Ca, self.Cb = np.zeros((4, n, n))

    def backward(self, I, P, J, B, Ca, Cb):
        """Row slab I of g, given the row B of the weights above and the covariances of the sources."""
        c = self.coupling
        self.Ca, self.Cb = Ca, Cb
        self.dg_da[:, I, P] = B @ self.dh_da[:, P, P]
        self.dg_db[:, I, P] = c * B @ self.dh_db[:, P, P]
        if self.l + 1 < len(self.states):
            above = self.states[self.l + 1]
            self.dg_da[:, I, P] += above.dg_da[:, I, P]
            self.dg_db[:, I, J] += above.dg_db[:, I, J]
        self.dg_db[self.l, I, I] += np.eye(len(B))
        row = self._correlation(c, self.dg_da, 1.0, self.dg_db, I, J)
        self.Cg[I, J], self.Cg[J, I] = row, row.T

    def forward(self, I, P, J, A, Ca, Cb):
        """Row slab I of h, given the row A of the weights below."""
        c = self.coupling
        self.Ca, self.Cb = Ca, Cb
        self.dh_da[:, I, P] = c * A @ self.dg_da[:, J, P]
        self.dh_db[:, I, J] = A @ self.dg_db[:, J, J]
        if self.l > 0:
            below = self.states[self.l - 1]
            self.dh_da[:, I, J] += below.dh_da[:, I, J]
            self.dh_db[:, I, J] += below.dh_db[:, I, J]
        self.dh_da[self.l, I, I] += np.eye(len(A))
        row = self._correlation(1.0, self.dh_da, c, self.dh_db, I, J)
        self.Ch[I, J], self.Ch[J, I] = row, row.T

    def _correlation(self, weight_a, da, weight_b, db, I, J):
        """Rows I of the correlation of a field with these responses to the sources of all states."""
        return sum(
            weight_a * da[k, I, J] @ state.Ca[J, J] @ da[k, J, J].T + weight_b * db[k, I, J] @ state.Cb[J, J] @ db[k, J, J].T
            for k, state in enumerate(self.states)
        )


def march(problem):
    """Solve `LinearProblem` row by row; returns `OrderParameters`. Divergent training goes on here, into overflow."""
    T, C, L = problem.rows, problem.outputs, problem.layers
    n = T * C
    ones = np.ones((C, C))
    kappa = np.kron(problem.memory, ones)
    d = np.repeat(problem.decay, C)
    dd = np.outer(d, d)
    residual = problem.branch is not None
    up_step = problem.branch**2 if residual else 1.0
    r = np.full(L - 1, up_step) if residual else problem.width_steps
    lam, fraction = problem.eigenvalues, problem.fractions
    s0, first_over_last = problem.initial_variance, problem.first_over_last
    alpha = problem.sample_ratio
    constant = np.ones((T, T))
    noise = np.kron(constant, problem.noise)
    readout_memory = np.kron(problem.memory, np.eye(C))

    layers = []
    layers += [Residual(layers, l, L, n, problem.coupling) if residual else TwoField(n, problem.coupling) for l in range(L)]
    modes = [TwoField(n, 1.0) for _ in lam]
    Cv, Cu, Rv, Ru, Cd, Rd, Ca1 = np.zeros((7, n, n))
    excess = np.zeros((n, n))
    test_loss, train_loss = np.zeros((2, T))
    Cb = [None] * (L - 1) + [np.kron(np.outer(problem.decay, problem.decay), np.eye(C))]

    for t in range(T):
        P, I, J = slice(0, t * C), slice(t * C, (t + 1) * C), slice(0, (t + 1) * C)
        for l in reversed(range(L)):
            layer = layers[l]
            Ca = up_step * dd * layers[l - 1].Ch if l > 0 else dd * Cu
            if l == L - 1:
                B = readout_memory[I, P]
            else:
                above = layers[l + 1]
                B = r[l] * (dd[I, P] * above.Rg[I, P] + kappa[I, P] * above.Cg[I, P])
                Cb[l] = r[l] * dd * above.Cg
            layer.backward(I, P, J, B, Ca, Cb[l])

        first = layers[0]
        K = first_over_last * (dd[I, P] * first.Rg[I, P] + kappa[I, P] * first.Cg[I, P])
        for k, mode in enumerate(modes):
            target = np.kron(constant, problem.target[k]) + s0 * first_over_last * dd * first.Cg
            mode.backward(I, P, J, -K, lam[k] / alpha * Cd, target)
            Rv[I, P] += fraction[k] * lam[k] * mode.Rg[I, P]
        Cv = sum(fraction[k] * lam[k] * mode.Cg for k, mode in enumerate(modes))
        test_loss[t] = np.trace(Cv[I, I])

        Rd[I, I] = np.eye(C)
        errors = Cv + noise
        if problem.online or np.isinf(alpha):
            row = errors[I, J].copy()
            train_loss[t] = np.trace(errors[I, I])
            if problem.online:
                row[:, P] = 0.0
        else:
            Rd[I, P] = Rv[I, P] @ Rd[P, P] / alpha
            row = Rd[I, J] @ (errors + excess)[J, J] @ Rd[J, J].T
            train_loss[t] = np.trace(row[:, I])
            excess[I, I] = problem.batch_excess * row[:, I]
            row[:, I] += excess[I, I]
        Cd[I, J], Cd[J, I] = row, row.T

        for k, mode in enumerate(modes):
            target = np.kron(constant, problem.target[k]) + s0 * first_over_last * dd * first.Cg
            mode.forward(I, P, J, lam[k] * Rd[I, J], lam[k] / alpha * Cd, target)
        Cu = sum(fraction[k] * mode.Ch for k, mode in enumerate(modes))
        Ru = sum(fraction[k] * mode.Rh for k, mode in enumerate(modes))

        for l, layer in enumerate(layers):
            if l == 0:
                A = -s0 * dd[I, J] * Ru[I, J] + kappa[I, J] * Cu[I, J]
                Ca = dd * Cu
            else:
                below = layers[l - 1]
                A = up_step * (dd[I, J] * below.Rh[I, J] + kappa[I, J] * below.Ch[I, J])
                Ca = up_step * dd * below.Ch
            layer.forward(I, P, J, A, Ca, Cb[l])

    stack = lambda name: np.array([getattr(layer, name) for layer in layers])
    return OrderParameters(stack("Ch"), stack("Cg"), stack("Rh"), stack("Rg"), Cv, Cu, Rv, Ru, Cd, Rd, test_loss, train_loss)
