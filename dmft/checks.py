"""Checks of user input: every error names the argument, what was given and what is allowed.

Scales that a user states, of inputs, labels, rates and weights alike, are zero or between `SMALLEST` and `LARGEST`: products of a few
squares of them are then double-precision numbers, and nothing that is computed from them is lost or infinite at the outset.
"""

import math
import os
import re
import reprlib
from collections.abc import Mapping, Set
from fractions import Fraction
from numbers import Integral, Rational, Real

import numpy as np

SMALLEST, LARGEST = 1e-50, 1e50
#: Integers up to this fit where arrays are sized and counted.
LARGEST_INTEGER = 2**63 - 1
#: Layers and output channels of a network, far above what is solved; layers whose powers of the width are derived in reasonable time.
DEEPEST, MOST_OUTPUTS, DEEPEST_DERIVED = 1000, 10**4, 100
#: Of seeds; as far as numpy's own entropy goes, and beyond.
_LARGEST_SEED = 2**256
#: Bits of exact exponents, and decades that powers of the width may span.
_MOST_BITS, _MOST_DECADES = 4096, 300
_DECIMAL = re.compile(r"\s*[-+]?[0-9._]{0,40}(?:e[-+]?[0-9]{1,3}|/[0-9_]{1,20})?\s*", re.IGNORECASE)
#: What python or numpy counts among the integers, but means something else.
_NO_NUMBERS = (bool, np.timedelta64)
#: Most steps for which a callable is asked.
_MOST_CALLS = 10**6

_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxlong, _repr.maxstring, _repr.maxother = 3, 60, 100, 200
_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = 8


def shown(value):
    """`value` as a short line for messages, whatever it is."""
    try:
        return " ".join(_repr.repr(value).split())
    except Exception:
        return f"an instance of {type(value).__name__}"
#: Of a path and of its parts, in bytes, as file systems have it.
_LONGEST_PATH, _LONGEST_NAME = 4095, 255


def fail(name, value, allowed, error=ValueError):
    """Raise `error` saying that argument `name` is `value` but must be `allowed`."""
    raise error(f"{name} must be {allowed}; got {shown(value)}")


def integer(name, value, minimum, maximum=LARGEST_INTEGER):
    """Return `value` as int; it must be an integer (bool excluded) from `minimum` to `maximum`."""
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, Integral):
        fail(name, value, f"an integer >= {minimum}", TypeError)
    if value < minimum:
        fail(name, value, f"an integer >= {minimum}")
    if value > maximum:
        fail(name, value, f"an integer from {minimum} to {maximum}")
    return int(value)


def integer_or_inf(name, value, minimum, maximum=LARGEST_INTEGER):
    """Return `value` as int, or `math.inf` itself; it must be that or an integer from `minimum` to `maximum`."""
    if isinstance(value, float) and value == math.inf:
        return math.inf
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, Integral):
        fail(name, value, f"an integer >= {minimum} or math.inf", TypeError)
    if not minimum <= value <= maximum:
        fail(name, value, f"an integer from {minimum} to {maximum} or math.inf")
    return int(value)


def number(name, value, allowed, condition, infinite=False):
    """Return `value` as float; it must be a real number, finite unless `infinite`, that meets `condition`."""
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, Real):
        fail(name, value, allowed, TypeError)
    try:
        converted = float(value)
    except (OverflowError, ValueError):
        fail(name, value, allowed)
    if math.isnan(converted) or (math.isinf(converted) and not infinite) or not condition(converted):
        fail(name, value, allowed)
    return converted


def positive(name, value):
    """Return `value` as a finite float > 0."""
    return _in_range(name, number(name, value, "a finite number > 0", lambda v: v > 0))


def positive_or_inf(name, value):
    """Return `value` as a float > 0, `math.inf` allowed."""
    return _in_range(name, number(name, value, "a number > 0 or math.inf", lambda v: v > 0, infinite=True))


def nonnegative(name, value):
    """Return `value` as a finite float >= 0."""
    return _in_range(name, number(name, value, "a finite number >= 0", lambda v: v >= 0))


def _in_range(name, value):
    if 0 < value < SMALLEST or LARGEST < value < math.inf:
        fail(name, value, f"between {SMALLEST:g} and {LARGEST:g}, so that its squares and products are double-precision numbers")
    return value


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


def path(name, value):
    """Return `value` as text; it must be a path, str or os.PathLike, that a file can have."""
    allowed = "a path (str or os.PathLike)"
    if not isinstance(value, (str, os.PathLike)):
        fail(name, value, allowed, TypeError)
    result = os.fspath(value)
    if not isinstance(result, str):
        fail(name, value, allowed, TypeError)
    if not result or "\0" in result:
        fail(name, value, f"{allowed} without null characters, and not empty")
    if len(os.fsencode(result)) > _LONGEST_PATH or any(len(os.fsencode(part)) > _LONGEST_NAME for part in result.split("/")):
        fail(name, value, f"{allowed} of at most {_LONGEST_PATH} bytes, {_LONGEST_NAME} from one / to the next")
    return result


def choice(name, value, valid):
    """Return `value`; it must be one of the strings (or None, True, False) in `valid`."""
    if not any(value is v or (isinstance(value, str) and value == v) for v in valid):
        fail(name, value, "one of " + ", ".join(repr(v) for v in valid))
    return value


def sequence(name, value, allowed):
    """Return `value` as a tuple; it must be of finite length and ordered, and neither text nor masked."""
    ordered = hasattr(value, "__len__") and hasattr(value, "__iter__") and not isinstance(value, (str, bytes, bytearray, Mapping, Set))
    if not ordered or np.ma.is_masked(value) or (isinstance(value, np.ndarray) and value.ndim != 1):
        fail(name, value, allowed, TypeError)
    return tuple(value)


def names(name, value, valid):
    """Return `value`, one of the strings `valid` or a sequence of at least one of them, as a tuple."""
    allowed = "one or more of " + ", ".join(map(repr, valid))
    given = (value,) if isinstance(value, str) else sequence(name, value, allowed)
    if not given:
        fail(name, value, allowed)
    return tuple(choice(name, each, valid) for each in given)


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
        return np.random.SeedSequence(integer(name, value, 0, _LARGEST_SEED))
    except TypeError:
        fail(name, value, "an integer >= 0, a numpy SeedSequence or a numpy Generator", TypeError)


def integer_seed(name, value):
    """Return the integer that seeds the same streams as `value`, as in `seed_sequence`: itself, or one drawn from it."""
    root = seed_sequence(name, value)
    return value if isinstance(value, Integral) else int.from_bytes(root.generate_state(4).tobytes(), "little")


def exponent(name, value):
    """Return `value` as Fraction if it is rational or a string such as "-1/2", as float if it is another finite real number."""
    allowed = 'a finite real number or a string such as "-1/2" of at most 1000 digits'
    if isinstance(value, _NO_NUMBERS) or not isinstance(value, (Real, str)):
        fail(name, value, allowed, TypeError)
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        fail(name, value, allowed)
    try:
        if isinstance(value, Rational):
            result = Fraction(int(value.numerator), int(value.denominator))
        else:
            result = Fraction(value) if isinstance(value, str) else float(Fraction(float(value)))
    except (ValueError, OverflowError, ZeroDivisionError):
        fail(name, value, allowed)
    if isinstance(result, Fraction) and max(abs(result.numerator), result.denominator).bit_length() > _MOST_BITS:
        fail(name, value, allowed)
    return result


def width(value, exponents, reference=1):
    """Return `value` as int; it must be a width whose ratio to `reference` has finite powers with these exponents."""
    result = integer("width", value, 1, 10**150)
    steepest = max(abs(float(e)) for e in exponents)
    if abs(math.log10(result / reference)) * steepest > _MOST_DECADES:
        fail("width", value, f"so near {reference} that the power {steepest:g} of their ratio is a double-precision number")
    return result


def array(name, value, *shapes):
    """Return `value` as a read-only finite float array of one of the `shapes`: tuples of sizes; None or a symbol stands for any size.

    Whatever converts to real numbers entry by entry is taken. Masked entries, whose hidden values would count, are refused as are
    complex numbers, dates, text and truth values; largest magnitudes are as said above.
    """
    allowed = " or ".join(map(_symbolic, shapes))
    result = _real_array(name, value, f"a numeric array of shape {allowed}")
    if not any(_fits(result.shape, shape) for shape in shapes):
        raise ValueError(f"{name} must be an array of shape {allowed}; got shape {result.shape}")
    if result.size == 0:
        raise ValueError(f"{name} must not be empty; got shape {result.shape}")
    if not np.all(np.isfinite(result)):
        raise ValueError(f"{name} must be finite; got an array with inf or nan")
    largest = max(result.max(), -result.min())
    if 0 < largest < SMALLEST or largest > LARGEST:
        raise ValueError(
            f"{name} must be zero or have a largest magnitude between {SMALLEST:g} and {LARGEST:g}, so that its squares and products are "
            f"double-precision numbers; got {largest:.3g}. Rescale it"
        )
    result.setflags(write=False)
    return result


def _symbolic(shape):
    return "(" + ", ".join("any" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"


def _fits(found, shape):
    return len(found) == len(shape) and all(s == n for s, n in zip(shape, found) if isinstance(s, Integral))


def _real_array(name, value, allowed):
    """A new float array of the real numbers in `value`."""
    if _any_masked(value, 3):
        raise TypeError(f"{name} must not have masked entries: fill them or leave them out; got {type(value).__name__}")
    try:
        given = np.asarray(value)
        if given.dtype == object and not hasattr(value, "__array__"):
            if all(isinstance(v, Real) and not isinstance(v, _NO_NUMBERS) for v in given.flat):
                return given.astype(float)
    except OverflowError:
        fail(name, value, "finite in double precision")
    except Exception as error:
        raise TypeError(f"{name} must be {allowed}; got {shown(value)}") from error
    if given.dtype.kind not in "iuf":
        kind = "" if given.ndim == 0 else f"{given.dtype} entries: "
        raise TypeError(f"{name} must be {allowed}; got {kind}{shown(value)}")
    with np.errstate(over="ignore"):
        return np.array(given, dtype=float)


def _any_masked(value, levels):
    """Whether a value, or a part of nested lists, is masked; lists are searched to this depth."""
    if isinstance(value, (list, tuple)):
        return levels > 0 and any(_any_masked(part, levels - 1) for part in value)
    return isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value)


def evaluated(name, function, steps):
    """Values of a user's callable at steps 0, 1, ..., a list."""
    if steps > _MOST_CALLS:
        raise ValueError(f"{name} must be a number or an array for more than {_MOST_CALLS} steps; got a callable and steps = {steps}")
    try:
        return [function(step) for step in range(steps)]
    except Exception as error:
        raise ValueError(f"{name} must be a callable(step) that returns a number; it raised {type(error).__name__}: {error}") from error


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
