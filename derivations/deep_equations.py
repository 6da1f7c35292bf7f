"""The equations that survive at infinite width in networks with several hidden layers, for one neuron of each, as sympy expressions.

Symbols, besides those of `equations`: h(l, k, x) pre-activation of a neuron of hidden layer l at step k, D(l, k, x) the derivative of
the logits by its activation, delta(l, k, x) by h, a(k) its readout weight (last layer); u(l, k, x) and r(l, k, x) centred Gaussian
fields with covariances C(l-1) and G(l+1), the initial weights; C and G the kernels of what goes forward and backward, C(0) = x*x';
A and B the responses d phi(h) / d r and d delta / d u. Logits over their size are f, and c(i, k) the loss derivative; kappa, lambda, beta,
gamma the constants at the reference width, in units in which all initial fields have order one.

Source: docs/theory/deep_classes.md, section 2; docs/theory/deep_parameterizations.md, section 3.
"""

from sympy import Eq, Function, Integer, Sum, Symbol

from .equations import E, F0, K, X, a, c, cov, dphi, f, i, k, mean, n, phi, x, x2

s = Symbol("s", integer=True)
h, delta, D, u, r, C, G, A, B, d = map(Function, ("h", "delta", "D", "u", "r", "C", "G", "A", "B", "d"))


def initial_function(depth):
    """Covariance of the Gaussian process F0."""
    return {"initial function": Eq(cov(F0(x), F0(x2)), Symbol("gamma") ** 2 * C(depth, x, x2))}


def kernel_regime(depth, constants, layers, persists):
    """Gradient descent with the stationary tangent kernel of `layers`, started at F0 or at zero."""
    found = {"forward kernel 0": Eq(C(0, x, x2), x * x2)}
    for layer in range(1, depth + 1):
        found[f"field {layer}"] = Eq(cov(u(layer, x), u(layer, x2)), C(layer - 1, x, x2))
        found[f"forward kernel {layer}"] = Eq(C(layer, x, x2), E(phi(u(layer, x)) * phi(u(layer, x2))))
    found[f"backward kernel {depth + 1}"] = Eq(G(depth + 1, x, x2), 1)
    for layer in range(depth, 0, -1):
        found[f"backward kernel {layer}"] = Eq(G(layer, x, x2), G(layer + 1, x, x2) * E(dphi(u(layer, x)) * dphi(u(layer, x2))))
    terms = (Symbol(f"kappa{constants[j]}") * C(int(j) - 1, x, x2) * G(int(j), x, x2) for j in layers)
    return found | {
        "kernel": Eq(K(x, x2), sum(terms)),
        "start": Eq(f(0, x), F0(x) if persists else Integer(0)),
        "step": Eq(f(k + 1, x), f(k, x) - mean(K(x, X[i]) * c(i, k))),
    }


def feature_regime(depth, constants, moves):
    """Single-site equations of layers that stay, that move, or of which one forgets its start.

    Parameters
    ----------
    depth : int
    constants : dict of {str: str}
        Subscript of the constants of each layer.
    moves : dict of {str: {-1, 0, 1}}
        Sign of the exponent of the increments of each layer. Where a layer forgets its start, only this one moves at step 0, and its
        initial weights, gone from step 1 on, act at step 0 still; the equations for k hold from step 1 on.
    """
    moves = {int(layer): sign for layer, sign in moves.items()}
    start = {layer: int(sign == 0 and 1 in moves.values()) for layer, sign in moves.items()}
    readout = depth + 1

    def total(layer, summand):
        if moves[layer] < 0:
            return Integer(0)
        return Symbol(f"lambda{constants[str(layer)]}") * Sum(mean(summand * c(i, s)), (s, start[layer], k - 1))

    found = {"forward kernel 0": Eq(C(0, k, s, x, x2), x * x2), "start": Eq(f(0, x), 0)}
    for layer in range(1, depth + 1):
        kept, first = u(layer, k, x), u(layer, 0, x)
        if layer > 1:
            found[f"response {layer - 1}"] = Eq(A(layer - 1, k, s, x, x2), E(d(phi(h(layer - 1, k, x)), r(layer - 1, s, x2))))
            kept += Sum(Sum(A(layer - 1, k, s, x, X[i]) * delta(layer, s, X[i]), (s, 0, k - 1)), (i, 1, n))
        found[f"field {layer}"] = Eq(cov(u(layer, k, x), u(layer, s, x2)), C(layer - 1, k, s, x, x2))
        if moves[layer] > 0:
            found[f"forward {layer}, step 0"] = Eq(h(layer, 0, x), first)
        update = total(layer, C(layer - 1, k, s, x, X[i]) * delta(layer, s, X[i]))
        found[f"forward {layer}"] = Eq(h(layer, k, x), (0 if moves[layer] > 0 else kept) - update)
        found[f"forward kernel {layer}"] = Eq(C(layer, k, s, x, x2), E(phi(h(layer, k, x)) * phi(h(layer, s, x2))))
    if moves[readout] > 0:
        found["readout, step 0"] = Eq(D(depth, 0, x), a(0))
    found["readout"] = Eq(a(k), (0 if moves[readout] > 0 else a(0)) - total(readout, phi(h(depth, s, X[i]))))
    found[f"backward {depth}"] = Eq(D(depth, k, x), a(k))
    for layer in range(depth, 0, -1):
        found[f"delta {layer}"] = Eq(delta(layer, k, x), dphi(h(layer, k, x)) * D(layer, k, x))
        if layer > 1:
            found[f"backward kernel {layer}"] = Eq(G(layer, k, s, x, x2), E(delta(layer, k, x) * delta(layer, s, x2)))
            found[f"backward response {layer}"] = Eq(B(layer, k, s, x, x2), E(d(delta(layer, k, x), u(layer, s, x2))))
            found[f"backward field {layer - 1}"] = Eq(cov(r(layer - 1, k, x), r(layer - 1, s, x2)), G(layer, k, s, x, x2))
            kept = Sum(Sum(B(layer, k, s, x, X[i]) * phi(h(layer - 1, s, X[i])), (s, 0, k)), (i, 1, n))
            if moves[layer] > 0:
                found[f"backward {layer - 1}, step 0"] = Eq(D(layer - 1, 0, x), r(layer - 1, 0, x))
            update = total(layer, G(layer, k, s, x, X[i]) * phi(h(layer - 1, s, X[i])))
            found[f"backward {layer - 1}"] = Eq(D(layer - 1, k, x), (0 if moves[layer] > 0 else r(layer - 1, k, x) + kept) - update)
    return found | {"logits": Eq(f(k, x), Symbol("beta") * E(a(k) * phi(h(depth, k, x))))}
