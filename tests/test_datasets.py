"""The digits that ship with the package: standardised as documented, and every bad choice of classes refused."""

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
