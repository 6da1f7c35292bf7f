"""A seeded sample of the mutants of arguments and of problem files: results, or one line that names an argument."""

import fuzz_arguments
import fuzz_problem_files
import fuzzing
import pytest


@pytest.mark.parametrize("fuzzer", [fuzz_arguments, fuzz_problem_files], ids=lambda module: module.__name__)
def test_mutants_give_results_or_one_clear_line(fuzzer):
    assert fuzzing.findings(fuzzer.make, 200, seed=2) == []


def _make():
    return lambda rng: _CASES[int(rng.integers(len(_CASES)))]


def _foreign():
    return {}["x"]


def _nameless():
    from dmft import checks

    checks.fail("another", 1, "right")


def _hangs_up():
    import os

    os._exit(1)


_CASES = [("foreign", _foreign, {"x"}), ("nameless", _nameless, {"depth"}), ("died", _hangs_up, {"x"}), ("fine", dict, {"x"})]


def test_fuzzing_finds_what_is_wrong():
    found = dict(fuzzing.findings(_make, 30))
    assert set(found) == {"foreign", "nameless", "died"}
    assert "foreign KeyError" in found["foreign"] and "names no argument" in found["nameless"] and "died" in found["died"]
