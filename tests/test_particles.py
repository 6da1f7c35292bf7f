"""Populations of neurons: against the twin with explicit weights, an exact recursion, the kernel limit, and statistics."""

import numpy as np
import pytest
from scipy.special import expit

from solvers import reference_shallow as reference
from solvers.activations import ACTIVATIONS, Activation, leaky_relu
from solvers.gaussian import expectations
from solvers.particles import Particles, _leaky_relu, initial
from solvers.shallow import kernel_march, particle_march

LEAKY = leaky_relu(0.1)
ACTIVATION_CASES = {"leaky_relu": LEAKY, "steep": leaky_relu(2.0), **{name: ACTIVATIONS[name] for name in ("relu", "tanh", "gelu")}}
REFERENCE_WIDTH = 128


def inputs(points, dim, seed=0):
    x = np.random.default_rng(seed).normal(size=(points, dim))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def logistic(y, shift=0.0):
    return lambda step, f: -y * expit(-y * (f + shift))


def full_batch(steps, train):
    return np.full((steps, train), 1 / train)


def minibatches(steps, train, batch, seed=0):
    rng, weights = np.random.default_rng(seed), np.zeros((steps, train))
    for row in weights:
        row[rng.choice(train, batch, replace=False)] = 1 / batch
    return weights


def population(activation, neurons, x, train, seed=0, antithetic=True, **options):
    return Particles(*initial(np.random.default_rng(seed), neurons, x, antithetic), x, train, activation, **options)


def logits(march):
    return np.array([state.logits for state in march])


def mean_field(eta):
    """beta* and lambda* of a reference network with sigma* = d*^-1/2."""
    return np.sqrt(REFERENCE_WIDTH), eta / np.sqrt(REFERENCE_WIDTH)


@pytest.mark.parametrize("name", ACTIVATION_CASES)
@pytest.mark.parametrize(
    ("train", "others", "dim", "batch"), [(20, 0, 7, 20), (20, 13, 40, 20), (20, 13, 7, 6), (20, 3, 40, 6), (1, 0, 1, 1)]
)
def test_against_explicit_weights(name, train, others, dim, batch):
    activation, neurons, steps, scale, rates = ACTIVATION_CASES[name], 701, 6, 0.05, (0.7, 0.4)
    x = inputs(train + others, dim)
    y = np.sign(x[:train, 0])
    particles = population(activation, neurons, x, train, antithetic=False)
    a, w = reference.initial(np.random.default_rng(0), neurons, dim)
    weights, derivative = minibatches(steps, train, batch), logistic(y)
    for step, state in enumerate(particle_march(particles, scale, *rates, derivative, weights)):
        expected = scale * reference.logits(a, w, x, activation)
        np.testing.assert_allclose(state.logits, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
        if step < steps:
            a, w = reference.step(a, w, x[:train], activation, *rates, weights[step] * derivative(step, expected[:train]))
    np.testing.assert_allclose(particles.a, a, atol=1e-12)
    np.testing.assert_allclose(particles.h, w @ x.T, atol=1e-12)
    for kernel, expected in zip(particles.tangent_kernels(), reference.tangent_kernels(a, w, x, train, activation)):
        np.testing.assert_allclose(kernel, expected, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("name", ["leaky_relu", "tanh"])
def test_initial_draws(name):
    x = inputs(300, 3)
    for antithetic in (False, True):
        a, h = initial(np.random.default_rng(5), 1000, x, antithetic)
        b, w = reference.initial(np.random.default_rng(5), 1000, 3, antithetic)
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(h, w @ x.T, atol=1e-13)
    with pytest.raises(ValueError, match="must be even"):
        initial(np.random.default_rng(5), 7, x, antithetic=True)


@pytest.mark.parametrize("name", ACTIVATION_CASES)
@pytest.mark.parametrize("neurons", [34, 3000, 4098])
def test_antithetic_logits_vanish_exactly(name, neurons):
    particles = population(ACTIVATION_CASES[name], neurons, inputs(23, 5), 10, groups=17)
    np.testing.assert_array_equal(particles.sums(), 0.0)


@pytest.mark.parametrize("name", ["leaky_relu", "tanh"])
def test_results_do_not_depend_on_threads(name):
    x = inputs(70, 20)
    runs = []
    for threads in (1, 2, 5):
        particles = population(ACTIVATION_CASES[name], 20_000, x, 50, groups=16, threads=threads)
        runs.append(logits(particle_march(particles, 0.01, 0.1, 0.1, logistic(np.sign(x[:50, 0])), full_batch(3, 50))))
    np.testing.assert_array_equal(runs[0], runs[1])
    np.testing.assert_array_equal(runs[0], runs[2])


@pytest.mark.parametrize(("neurons", "groups"), [(64, 16), (33, 16), (5001, 7), (1, 1)])
def test_groups(neurons, groups):
    x = inputs(9, 4)
    particles = population(LEAKY, neurons, x, 9, antithetic=False, groups=groups)
    contributions = particles.a[:, None] * reference.evaluated(LEAKY, particles.h)[0]
    ends = np.cumsum(particles.sizes)
    assert ends[-1] == neurons
    assert np.all(particles.sizes[:-1] % 2 == 0)
    assert np.ptp(particles.sizes) <= 2
    expected = [contributions[end - size : end].sum(axis=0) for end, size in zip(ends, particles.sizes)]
    np.testing.assert_allclose(particles.sums(), expected, atol=1e-12 * neurons)
    with pytest.raises(ValueError, match="groups"):
        population(LEAKY, neurons, x, 9, antithetic=False, groups=neurons // 2 + 2)


def test_independent_groups_are_separate_populations():
    x, y = inputs(12, 4), np.sign(inputs(12, 4)[:, 0])
    a, h = initial(np.random.default_rng(0), 400, x, True)
    options = 0.1, 0.3, logistic(y), minibatches(5, 12, 5)
    *_, together = particle_march(Particles(a.copy(), h.copy(), x, 12, LEAKY, groups=4), 8 / 400, *options, independent=True)
    apart = [logits(particle_march(Particles(*c, x, 12, LEAKY), 8 / 100, *options))[-1] for c in zip(np.split(a, 4), np.split(h, 4))]
    np.testing.assert_allclose(together.logits, np.mean(apart, axis=0), rtol=1e-12)
    np.testing.assert_allclose(together.error, np.std(apart, axis=0, ddof=1) / 2, rtol=1e-10)


@pytest.mark.parametrize(("rate_a", "rate_w"), [(0.0, 0.3), (0.3, 0.0)])
@pytest.mark.parametrize("name", ["leaky_relu", "tanh"])
def test_frozen_layers(name, rate_a, rate_w):
    x = inputs(12, 4)
    particles = population(ACTIVATION_CASES[name], 100, x, 8)
    a, h = particles.a.copy(), particles.h.copy()
    logits(particle_march(particles, 0.1, rate_a, rate_w, logistic(np.ones(8)), full_batch(4, 8)))
    assert np.array_equal(particles.a, a) == (rate_a == 0)
    assert np.array_equal(particles.h, h) == (rate_w == 0)


def test_one_compiled_kernel_serves_every_caller():
    """Integers, read-only arrays and views of the caller make no further signatures, each of which would be compiled anew."""
    x, c = inputs(12, 4), np.ones((2, 12))[1]
    x.flags.writeable = c.flags.writeable = False
    for activation in (leaky_relu(0), leaky_relu(np.float64(0.5))):
        population(activation, 50, x, 12).step(1, 0, c)
        population(activation, 50, x[:, :1], 5).step(0, 1, np.arange(5))
    assert len(_leaky_relu.signatures) == 1


@pytest.mark.parametrize("name", ["leaky_relu", "tanh"])
def test_vanishing_derivatives_change_nothing(name):
    particles = population(ACTIVATION_CASES[name], 100, inputs(12, 4), 8, antithetic=False)
    a, h, sums = particles.a.copy(), particles.h.copy(), particles.sums()
    np.testing.assert_array_equal(particles.step(0.1, 0.1, np.zeros(8)), sums)
    np.testing.assert_array_equal(particles.a, a)
    np.testing.assert_array_equal(particles.h, h)


def test_start_from_zero_output_weights():
    """Only a moves in the first step."""
    x = inputs(8, 4)
    a, h = initial(np.random.default_rng(0), 500, x)
    particles = Particles(0 * a, h.copy(), x, 8, LEAKY)
    c = np.linspace(-1, 1, 8)
    particles.step(0.1, 0.1, c)
    np.testing.assert_array_equal(particles.h, h)
    np.testing.assert_allclose(particles.a, -0.1 * reference.evaluated(LEAKY, h)[0] @ c, atol=1e-14)


def linear_recursion(second_moments, x, scale, rate_a, rate_w, derivative, weights):
    """phi(z) = z: with s_r = (a_r, w_r), S = sum_r s_r s_r^T obeys S <- T S T^T, and f(x) = scale S_aw.x."""
    s, train, trajectory = second_moments, weights.shape[1], []
    for step, p in enumerate(weights):
        trajectory.append(scale * x @ s[0, 1:])
        direction = (p * derivative(step, trajectory[-1][:train])) @ x[:train]
        t = np.eye(len(s))
        t[0, 1:], t[1:, 0] = -rate_a * direction, -rate_w * direction
        s = t @ s @ t.T
    return np.array([*trajectory, scale * x @ s[0, 1:]])


def test_linear_units_obey_a_closed_recursion():
    x, (beta, rate), neurons, steps = inputs(30, 6), mean_field(5.0), 600, 30
    arguments = beta / neurons, rate, 0.5 * rate, logistic(np.sign(x[:20, 0])), minibatches(steps, 20, 11)
    a, w = reference.initial(np.random.default_rng(0), neurons, 6, antithetic=True)
    particles = Particles(a, w @ x.T, x, 20, ACTIVATIONS["linear"])
    states = np.column_stack([a, w])
    expected = linear_recursion(states.T @ states, x, *arguments)
    np.testing.assert_allclose(logits(particle_march(particles, *arguments)), expected, atol=1e-12)


def test_mean_field_of_linear_units_within_the_standard_error():
    x, (beta, rate), neurons, steps = inputs(30, 6), mean_field(5.0), 2**16, 30
    common = rate, rate, logistic(np.sign(x[:20, 0])), full_batch(steps, 20)
    expected = linear_recursion(np.eye(7), x, beta, *common)
    particles = population(ACTIVATIONS["linear"], neurons, x, 20, groups=32)
    states = list(particle_march(particles, beta / neurons, *common, independent=True))
    z = np.array([(state.logits - f) / state.error for state, f in zip(states[1:], expected[1:])])
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.6
    assert np.abs(z).max() < 5


@pytest.mark.parametrize("name", ["leaky_relu", "tanh"])
def test_tangent_kernels_converge_to_gaussian_expectations(name):
    x, train, neurons, repetitions = inputs(12, 5), 8, 4000, 30
    values, slopes = expectations(ACTIVATION_CASES[name], x @ x.T)
    expected = np.array([values, slopes * (x @ x.T)])[:, :, :train]
    runs = [population(ACTIVATION_CASES[name], neurons, x, train, seed).tangent_kernels() / neurons for seed in range(repetitions)]
    z = (np.mean(runs, axis=0) - expected) / (np.std(runs, axis=0, ddof=1) / np.sqrt(repetitions))
    assert np.abs(z).max() < 5.5
    assert np.sqrt(np.mean(z**2)) < 1.6


def test_tangent_kernels_predict_small_steps():
    """Logits of antithetic pairs are odd in the rates (docs/theory/shallow_limits.md, lemma 1): what the kernels miss is quadratic."""
    x, scale, y = inputs(12, 5), 0.1, np.sign(inputs(12, 5)[:8, 0])
    errors = []
    for rate in (1e-2, 1e-3):
        particles = population(ACTIVATIONS["tanh"], 200, x, 8)
        before, after = particle_march(particles, scale, rate, 2 * rate, logistic(y), full_batch(1, 8), kernels_at={0})
        change = -sum(before.kernels) @ (logistic(y)(0, before.logits[:8]) / 8)
        errors.append(np.abs(after.logits - before.logits - change).max() / np.abs(change).max())
        assert after.kernels is None
    assert errors[1] < 1e-5
    assert errors[1] == pytest.approx(errors[0] / 100, rel=0.2)


@pytest.mark.parametrize(("name", "exponent"), [("tanh", 2), ("leaky_relu", 0.5)])
def test_lazy_population_follows_the_kernel(name, exponent):
    """Scale ~ 1/e, rates ~ e: deviations from the empirical kernel fall as e^2; as e^(1/2) for masks that flip in a finite population."""
    x, neurons, steps = inputs(20, 5), 2000, 15
    y = np.sign(x[:12, 0])
    errors = []
    for lazy in (0.1, 0.01):
        particles = population(ACTIVATION_CASES[name], neurons, x, 12)
        kernel = 3.0 / neurons * np.sum(particles.tangent_kernels(), axis=0)
        arguments = logistic(y), full_batch(steps, 12)
        expected = np.array(list(kernel_march(kernel, *arguments)))
        f = logits(particle_march(particles, 3.0 / lazy / neurons, lazy, lazy, *arguments))
        errors.append(np.abs(f - expected).max() / np.abs(expected).max())
    assert errors[1] < 5e-3
    assert np.log10(errors[0] / errors[1]) == pytest.approx(exponent, abs=0.3)


def test_kernel_march_of_constant_derivatives_is_linear_in_time():
    x, weights = inputs(9, 4), minibatches(6, 5, 2)
    kernel = expectations(LEAKY, x @ x.T)[0][:, :5]
    g = np.array(list(kernel_march(kernel, lambda step, f: np.full_like(f, -0.5), weights)))
    np.testing.assert_allclose(g[1:], 0.5 * np.cumsum(weights, axis=0) @ kernel.T, atol=1e-14)
    np.testing.assert_array_equal(g[0], 0.0)


def test_particle_error_falls_as_the_square_root():
    """Against the recursion of linear units, over 24 populations of each size."""
    x, (beta, rate), steps = inputs(16, 4), mean_field(5.0), 12
    common = rate, rate, logistic(np.sign(x[:10, 0])), full_batch(steps, 10)
    expected = linear_recursion(np.eye(5), x, beta, *common)[-1]
    errors = []
    for neurons in (256, 1024, 4096):
        populations = [population(ACTIVATIONS["linear"], neurons, x, 10, seed) for seed in range(24)]
        runs = [logits(particle_march(particles, beta / neurons, *common))[-1] for particles in populations]
        errors.append(np.sqrt(np.mean((np.array(runs) - expected) ** 2)))
    slope = np.log(errors[2] / errors[0]) / np.log(16)
    assert slope == pytest.approx(-0.5, abs=0.12)


@pytest.mark.parametrize("name", ["leaky_relu", "tanh"])
def test_standard_error_is_honest(name):
    """The spread of 40 means over independent groups is the error that each of them claims."""
    x, (beta, rate), steps, neurons = inputs(24, 10), mean_field(5.0), 30, 4096
    arguments = beta / neurons, rate, rate, logistic(np.sign(x[:16, 0])), full_batch(steps, 16)
    runs = [
        list(particle_march(population(ACTIVATION_CASES[name], neurons, x, 16, seed, groups=16), *arguments, independent=True))
        for seed in range(40)
    ]
    means = np.array([[state.logits for state in run[1:]] for run in runs])
    claimed = np.sqrt(np.mean([[state.error**2 for state in run[1:]] for run in runs], axis=0))
    ratio = np.std(means, axis=0, ddof=1) / claimed
    assert np.sqrt(np.mean(ratio**2)) == pytest.approx(1, abs=0.2)


def test_wide_network_agrees_with_independent_particles():
    """Width 2^14 in the mean-field scaling against equation 5. Particles without pairs have the fluctuations of the network's neurons."""
    width, neurons, steps, networks = 2**14, 2**15, 20, 8
    x, (beta, rate) = inputs(24, 10), mean_field(5.0)
    common = rate, rate, logistic(np.sign(x[:16, 0])), full_batch(steps, 16)
    z = []
    for seed in range(networks):
        f = logits(particle_march(population(LEAKY, width, x, 16, seed, antithetic=False), beta / width, *common))
        particles = population(LEAKY, neurons, x, 16, 100 + seed, antithetic=False, groups=32)
        states = list(particle_march(particles, beta / neurons, *common, independent=True))
        error = np.sqrt(1 + neurons / width) * np.array([state.error for state in states])
        z.append((f - [state.logits for state in states]) / error)
    assert np.sqrt(np.mean(np.square(z))) == pytest.approx(1, abs=0.45)


def test_initialisation_correction():
    """Width 2^14 with the frozen initial function against equation 7: a few times closer than the limit without it."""
    width, neurons, steps = 2**14, 2**16, 20
    x, (beta, rate) = inputs(24, 10), mean_field(5.0)
    y, weights = np.sign(x[:16, 0]), full_batch(steps, 16)
    ratio = width / REFERENCE_WIDTH
    particles = population(LEAKY, neurons, x, 16, 100)
    network = population(LEAKY, width, x, 16, antithetic=False)
    start = beta / width * ratio**0.5 * network.sums()[0]
    fixed = (1 - ratio**-0.5) * start
    f = fixed + logits(particle_march(network, beta / width, rate, rate, logistic(y, fixed[:16]), weights))
    limit = start + logits(particle_march(particles, beta / neurons, rate, rate, logistic(y, start[:16]), weights))
    plain = logits(particle_march(population(LEAKY, neurons, x, 16, 100), beta / neurons, rate, rate, logistic(y), weights))
    np.testing.assert_allclose(f[0], limit[0], atol=1e-12)
    deviation, uncorrected = (np.linalg.norm((f - other)[-1]) / np.linalg.norm(f[-1]) for other in (limit, plain))
    assert deviation < 0.05
    assert uncorrected > 4 * deviation


def test_user_supplied_activation():
    def evaluate(h, phi, dphi=None, d2phi=None):
        np.sin(h, out=phi)
        if dphi is not None:
            np.cos(h, out=dphi)

    sine, x, c = Activation("sine", evaluate), inputs(9, 4), np.linspace(-1, 1, 6)
    particles = population(sine, 101, x, 6, antithetic=False)
    a, w = reference.step(*reference.initial(np.random.default_rng(0), 101, 4), x[:6], sine, 0.1, 0.2, c)
    np.testing.assert_allclose(particles.step(0.1, 0.2, c)[0], reference.logits(a, w, x, sine), atol=1e-12)
