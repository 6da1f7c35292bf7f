"""Arrays and scalars that define the theory of a deep linear network, and the order parameters that solve it.

Scaled responses. Every layer is a pair of fields  h = a + gamma A g,  g = b + gamma B h.  The responses are kept divided by
gamma: `Rh` stands for (dh/db)/gamma and `Rg` for (dg/da)/gamma. Then gamma enters only squared, through this coupling, and
through the variance of the initial function 1 / (gamma^2 nu_L), so that the infinitely wide network (`initial_variance` = 0)
and the lazy limit (`coupling` = 0) are exact members of the family and not large or small numbers.

Source: arXiv 2502.02531; docs/theory/deep_linear.md, sections 0-4.
"""

from typing import NamedTuple

import numpy as np


class LinearProblem(NamedTuple):
    """Deep linear network, data and optimizer as the solvers see them. T rows in time, C outputs, L layers, M input modes.

    Attributes
    ----------
    decay : ndarray (T,)
        d(t), memory of the initial weights.
    memory : ndarray (T, T)
        kappa(t, s), strictly lower triangular.
    coupling : float
        gamma^2.
    initial_variance : float
        1 / (gamma^2 nu_L).
    width_steps : ndarray (L - 1,)
        r_l = nu_{l+1} / nu_l.
    first_over_last : float
        nu_1 / nu_L.
    eigenvalues, fractions : ndarray (M,)
        lambda_k and n_k / D0.
    target : ndarray (M, C, C)
        w*_k^2 Omega.
    noise : ndarray (C, C)
        sigma^2 Sigma.
    sample_ratio : float
        alpha; the batch over D0 when `online`; may be infinite.
    online : bool
        Fresh samples at every step.
    batch_excess : float
        1/p - 1 for random subsets of a fraction p of fixed samples; 0 for full batches.
    divergence_factor : float
        The march stops where the test loss exceeds this multiple of the initial one.
    branch : float or None
        beta, what the branches of a residual network of equal widths are multiplied with; None: a plain network.
    """

    decay: np.ndarray
    memory: np.ndarray
    coupling: float
    initial_variance: float
    width_steps: np.ndarray
    first_over_last: float
    eigenvalues: np.ndarray
    fractions: np.ndarray
    target: np.ndarray
    noise: np.ndarray
    sample_ratio: float
    online: bool
    batch_excess: float
    divergence_factor: float
    branch: float | None = None

    @property
    def rows(self):
        return len(self.decay)

    @property
    def outputs(self):
        return len(self.noise)

    @property
    def layers(self):
        return len(self.width_steps) + 1


class OrderParameters(NamedTuple):
    """Correlations C and scaled responses R of the solved theory; n = T C, indices (t, c) time-major, lower triangles valid.

    Attributes
    ----------
    Ch, Cg, Rh, Rg : ndarray (L, n, n)
        Layers: <h h>, <g g>, (dh/db)/gamma, (dg/da)/gamma.
    Cv, Cu, Rv, Ru : ndarray (n, n)
        Input modes, averaged: C_q = sum_k n_k lambda_k <v_k v_k>, C_u, R_v, Q.
    Cd, Rd : ndarray (n, n)
        Samples: correlation and response of the errors Delta.
    test_loss, train_loss : ndarray (T,)
    """

    Ch: np.ndarray
    Cg: np.ndarray
    Rh: np.ndarray
    Rg: np.ndarray
    Cv: np.ndarray
    Cu: np.ndarray
    Rv: np.ndarray
    Ru: np.ndarray
    Cd: np.ndarray
    Rd: np.ndarray
    test_loss: np.ndarray
    train_loss: np.ndarray
