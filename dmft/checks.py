"""Checks of user input: every error names the argument, what was given and what is allowed."""

import math
from fractions import Fraction
from numbers import Integral, Rational, Real

import numpy as np


def fail(name, value, allowed, error=ValueError):
    """Raise `error` saying that argument `name` is `value` but must be `allowed`."""
    raise error(f"{name} must be {allowed}; got {value!r}")


def integer(name, value, minimum):
    """Return `value` as int; it must be an integer (bool excluded) of at least `minimum`."""
    allowed = f"an integer >= {minimum}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        fail(name, value, allowed, TypeError)
    if value < minimum:
        fail(name, value, allowed)
    return int(value)


def number(name, value, allowed, condition, infinite=False):
    """Return `value` as float; it must be a real number, finite unless `infinite`, that meets `condition`."""
    if isinstance(value, bool) or not isinstance(value, Real):
        fail(name, value, allowed, TypeError)
    value = float(value)
    if math.isnan(value) or (math.isinf(value) and not infinite) or not condition(value):
        fail(name, value, allowed)
    return value


def positive(name, value):
    """Return `value` as a finite float > 0."""
    return number(name, value, "a finite number > 0", lambda v: v > 0)


def positive_or_inf(name, value):
    """Return `value` as a float > 0, `math.inf` allowed."""
    return number(name, value, "a number > 0 or math.inf", lambda v: v > 0, infinite=True)


def nonnegative(name, value):
    """Return `value` as a finite float >= 0."""
    return number(name, value, "a finite number >= 0", lambda v: v >= 0)


def flag(name, value):
    """Return `value` as bool; only True and False are accepted."""
    if not isinstance(value, (bool, np.bool_)):
        fail(name, value, "True or False", TypeError)
    return bool(value)


def text(name, value):
    """Return `value`; it must be a string that is not empty."""
    if not isinstance(value, str):
        fail(name, value, "a string", TypeError)
    if not value:
        fail(name, value, "a string that is not empty")
    return value


def choice(name, value, valid):
    """Return `value`; it must be one of the strings `valid`."""
    if value not in valid:
        fail(name, value, "one of " + ", ".join(repr(v) for v in valid))
    return value


def options(given, valid, what):
    """Raise TypeError, listing the valid ones, if `given` holds the name of an option that `what` does not take."""
    for name in given:
        if name not in valid:
            raise TypeError(f"{name} is not an option of {what}; its options are: {', '.join(valid) or 'none'}")


def seed_sequence(name, value):
    """Return `value`, an integer >= 0, SeedSequence or Generator (which is advanced), as numpy.random.SeedSequence."""
    if isinstance(value, np.random.SeedSequence):
        return value
    if isinstance(value, np.random.Generator):
        return np.random.SeedSequence(value.integers(2**63, size=2).tolist())
    try:
        return np.random.SeedSequence(integer(name, value, 0))
    except TypeError:
        fail(name, value, "an integer >= 0, a numpy SeedSequence or a numpy Generator", TypeError)


def integer_seed(name, value):
    """Return the integer that seeds the same streams as `value`, as in `seed_sequence`: itself, or one drawn from it."""
    root = seed_sequence(name, value)
    return value if isinstance(value, Integral) else int.from_bytes(root.generate_state(4).tobytes(), "little")


def exponent(name, value):
    """Return `value` as Fraction if it is rational or a string such as "-1/2", as float if it is another finite real number."""
    allowed = 'a finite real number or a string such as "-1/2"'
    if isinstance(value, bool) or not isinstance(value, (Real, str)):
        fail(name, value, allowed, TypeError)
    try:
        if isinstance(value, Rational):
            return Fraction(int(value.numerator), int(value.denominator))
        return Fraction(value) if isinstance(value, str) else float(Fraction(float(value)))
    except (ValueError, OverflowError, ZeroDivisionError):
        fail(name, value, allowed)


def array(name, value, shape, dtype=float):
    """Return `value` as a read-only finite array. `shape` is a tuple of sizes; None or a symbol stands for any size."""
    symbolic = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"
    try:
        result = np.array(value, dtype=dtype)
    except (TypeError, ValueError):
        fail(name, value, f"a numeric array of shape {symbolic}", TypeError)
    if result.ndim != len(shape) or any(isinstance(s, int) and s != n for s, n in zip(shape, result.shape)):
        raise ValueError(f"{name} must be an array of shape {symbolic}; got shape {result.shape}")
    if result.size == 0:
        raise ValueError(f"{name} must not be empty; got shape {result.shape}")
    if not np.all(np.isfinite(result)):
        raise ValueError(f"{name} must be finite; got an array with inf or nan")
    result.setflags(write=False)
    return result


def covariance(name, value, size=None):
    """Return `value` as a symmetric positive semidefinite (C, C) array."""
    result = array(name, value, (size, size))
    if result.shape[0] != result.shape[1]:
        raise ValueError(f"{name} must be a square (C, C) matrix; got shape {result.shape}")
    scale = np.abs(result).max()
    if not np.allclose(result, result.T, rtol=0, atol=1e-12 * scale):
        raise ValueError(f"{name} must be symmetric; the largest asymmetry is {np.abs(result - result.T).max():.3g}")
    if np.linalg.eigvalsh(result)[0] < -1e-10 * scale:
        raise ValueError(f"{name} must be positive semidefinite; its smallest eigenvalue is {np.linalg.eigvalsh(result)[0]:.3g}")
    return result
