"""The digits that ship with the package: standardised, parted and flipped as documented, and every bad choice refused."""

import numpy as np
import pytest

import dmft


def test_two_classes_are_plus_and_minus_one_up_to_the_mean():
    x, y = dmft.datasets.digits(classes=(3, 8))
    assert x.shape == (357, 64) and y.shape == (357,)
    low, high = np.unique(y)
    assert high - low == pytest.approx(2.0)
    assert np.sum(y == low) == 183 and np.sum(y == high) == 174
    np.testing.assert_array_equal(dmft.datasets.digits(classes=(8, 3)).x, x)
    np.testing.assert_allclose(dmft.datasets.digits(classes=(8, 3)).y, -y)


@pytest.mark.parametrize("classes", [(3, 8), (0, 1, 2), None])
def test_inputs_and_targets_are_centred_and_inputs_have_unit_mean_square(classes):
    dataset = dmft.datasets.digits(classes)
    np.testing.assert_allclose(dataset.x.mean(axis=0), 0.0, atol=1e-13)
    np.testing.assert_allclose(dataset.y.mean(axis=0), 0.0, atol=1e-13)
    assert np.trace(dataset.x.T @ dataset.x) / dataset.x.size == pytest.approx(1.0)


def test_more_classes_are_one_hot_in_the_given_order():
    all_ten, some = dmft.datasets.digits(None), dmft.datasets.digits((7, 0, 4))
    assert all_ten.x.shape == (1797, 64) and all_ten.y.shape == (1797, 10)
    np.testing.assert_array_equal(np.argmax(all_ten.y, axis=1)[:10], range(10))
    assert some.y.shape == (len(some.x), 3)
    counts = np.bincount(np.argmax(all_ten.y, axis=1))
    np.testing.assert_array_equal(np.bincount(np.argmax(some.y, axis=1)), counts[[7, 0, 4]])


def test_the_theory_reads_its_spectrum_from_the_images():
    x, y = dmft.datasets.digits()
    data = dmft.StructuredData.from_dataset(x, y, sample_ratio=2.0)
    assert np.mean(data.eigenvalues) == pytest.approx(1.0)
    explained = np.sum(data.multiplicity * data.eigenvalues * data.target_power)
    assert explained + data.label_noise**2 == pytest.approx(np.mean(y**2))


@pytest.mark.parametrize(
    ("classes", "error"),
    [(3, TypeError), ("38", TypeError), ((3.0, 8.0), TypeError), ((True, 8), TypeError)]
    + [((), ValueError), ((3,), ValueError), ((3, 3), ValueError), ((3, 10), ValueError), ((-1, 3), ValueError)],
)
def test_bad_classes_are_refused_by_name(classes, error):
    with pytest.raises(error, match="classes must be .*digits from 0 to 9"):
        dmft.datasets.digits(classes)


def test_binary_digits_are_all_images_with_unit_norm_in_another_order():
    data, (images, y) = dmft.datasets.binary_digits(), dmft.datasets.digits()
    assert data.test_x is None and data.test_y is None
    assert sorted(data.y) == sorted(np.sign(y)) and not np.array_equal(data.y, np.sign(y))
    norms = np.linalg.norm(images, axis=1, keepdims=True)
    expected = images / norms
    overlaps = data.x @ expected.T
    np.testing.assert_allclose(overlaps.max(axis=1), 1.0)
    np.testing.assert_array_equal(np.sign(y)[overlaps.argmax(axis=1)], data.y)


def test_binary_digits_part_into_samples_and_test_points():
    data = dmft.datasets.binary_digits(classes=(8, 3), samples=30, test_samples=50, seed=1)
    assert data.x.shape == (30, 64) and data.test_x.shape == (50, 64) and data.test_y.shape == (50,)
    assert len(np.unique(data.points, axis=0)) == 80
    assert set(data.y) == set(data.test_y) == {-1.0, 1.0}
    other = dmft.datasets.binary_digits(classes=(3, 8), samples=30, test_samples=20, seed=1)
    np.testing.assert_array_equal(other.x, data.x)
    np.testing.assert_array_equal(other.y, -data.y)
    assert not np.array_equal(dmft.datasets.binary_digits(samples=30, seed=2).x, data.x)
    assert len(dmft.datasets.binary_digits(test_samples=57).x) == 300


def test_flipped_labels_are_as_many_as_stated_and_change_nothing_else():
    clean, noisy = (dmft.datasets.binary_digits(samples=40, test_samples=9, flipped=fraction) for fraction in (0.0, 0.1))
    np.testing.assert_array_equal(noisy.points, clean.points)
    np.testing.assert_array_equal(noisy.test_y, clean.test_y)
    assert np.sum(noisy.y != clean.y) == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(classes=(1, 2, 3)), ValueError, "classes must be two different digits from 0 to 9; got"),
        (dict(classes=(3, 3)), ValueError, "classes must be"),
        (dict(samples=0), ValueError, "samples must be an integer >= 1; got 0"),
        (dict(samples=300, test_samples=58), ValueError, "samples must be at most 299: .*357 images, 58 of them test points; got 300"),
        (dict(test_samples=357), ValueError, "test_samples must be less than the 357 images"),
        (dict(test_samples=2.0), TypeError, "test_samples must be an integer"),
        (dict(flipped=1.5), ValueError, "flipped must be a number from 0 to 1; got 1.5"),
        (dict(seed="x"), TypeError, "seed must be an integer"),
    ],
)
def test_bad_splits_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        dmft.datasets.binary_digits(**arguments)


def test_binary_digits_have_the_norm_that_is_asked_for():
    images = dmft.datasets.binary_digits(samples=5, norm=8.0)
    np.testing.assert_allclose(images.x, 8 * dmft.datasets.binary_digits(samples=5).x)
    with pytest.raises(ValueError, match="norm must be"):
        dmft.datasets.binary_digits(norm=0.0)


def test_one_hot_digits_have_a_column_per_class():
    data = dmft.datasets.one_hot_digits((7, 0, 4), samples=30, test_samples=12, seed=3)
    assert data.x.shape == (30, 64) and data.y.shape == (30, 3) and data.test_y.shape == (12, 3)
    np.testing.assert_allclose(np.linalg.norm(data.points, axis=1), 1.0)
    images, labels = dmft.datasets.digits((7, 0, 4))
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    nearest = (data.points @ images.T).argmax(axis=1)
    np.testing.assert_array_equal(np.concatenate((data.y, data.test_y)).argmax(axis=1), labels[nearest].argmax(axis=1))
    assert dmft.datasets.one_hot_digits().y.shape == (1797, 10) and dmft.datasets.one_hot_digits().test_x is None
    two, signs = dmft.datasets.one_hot_digits((3, 8), samples=20), dmft.datasets.binary_digits((3, 8), samples=20)
    np.testing.assert_array_equal(two.x, signs.x)
    np.testing.assert_array_equal(two.y @ [-1.0, 1.0], signs.y)


@pytest.mark.parametrize("options", [{"samples": 1800}, {"test_samples": 1797}, {"classes": (3,)}, {"samples": 0}])
def test_bad_one_hot_digits_are_refused_by_name(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        dmft.datasets.one_hot_digits(**options)
