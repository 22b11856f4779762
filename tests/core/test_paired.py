"""Estimates over resampled people, paired differences, and p-values corrected for their number."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proof import examples
from scipy import stats

from slotid_core.evaluation import estimators
from slotid_core.evaluation.intervals import bootstrap, resamples
from slotid_core.evaluation.paired import TEST_RESAMPLES, holm, paired_difference, two_sided
from slotid_core.toy_world.judges import RANGES
from slotid_core.toy_world.person import DYNAMICS


def pairs(rng, people=12, clips=3):
    values = rng.random((people, clips, len(DYNAMICS), 2))
    values[rng.random((people, clips, len(DYNAMICS))) < 0.4] = np.nan
    return values


def by_hand(name, values):
    """Each estimator as its definition says it, of people who are written down as often as they count."""
    flat = values.reshape(-1, *values.shape[2:])
    if name == "mean":
        return np.nanmean(flat)
    found = []
    for place in range(flat.shape[1]):
        first, second = flat[np.isfinite(flat[:, place, 0]), place].T
        if name == "correlation":
            found.append(stats.pearsonr(first, second)[0])
        elif name == "dynamics_error":
            low, high = RANGES[place]
            found.append(np.abs(first - second).mean() / (high - low))
        else:
            shown, hidden = first[second == 1], first[second == 0]
            found.append(stats.mannwhitneyu(shown, hidden)[0] / (len(shown) * len(hidden)))
    return np.mean(found)


@pytest.mark.parametrize("name", ("mean", "correlation", "dynamics_error", "area_under_curve"))
def test_an_estimate_of_counts_is_that_of_people_written_down_so_often(name):
    rng = np.random.default_rng(3)
    values = pairs(rng)
    if name == "area_under_curve":
        known = np.isfinite(values[..., 0])
        values[..., 0] = values[..., 0].round(1)  # some scores are the same
        values[..., 1] = np.where(known, values[..., 1] < 0.5, np.nan)
    if name == "mean":
        values = values[:, :, 0, 0]
    counts = resamples(len(values), 20, 1)
    expected = [by_hand(name, np.repeat(values, row.astype(int), axis=0)) for row in counts]
    assert getattr(estimators, name)(values, counts) == pytest.approx(expected)


def test_what_cannot_be_estimated_is_nan():
    nothing = np.full((4, 2, 6, 2), np.nan)
    for name in ("correlation", "dynamics_error", "area_under_curve"):
        assert np.isnan(estimators.estimate(nothing, getattr(estimators, name)))
    assert np.isnan(estimators.estimate(nothing[..., 0, 0], estimators.mean))
    assert np.isnan(bootstrap(nothing, estimators.correlation)).all()
    same = np.ones((4, 2, 1, 2))
    assert np.isnan(estimators.estimate(same, estimators.correlation))
    assert paired_difference([nothing], [nothing], estimators.correlation) is None


def test_a_constant_guess_is_in_the_middle_of_each_range():
    values = pairs(np.random.default_rng(0))
    guesses = estimators.constant_guess(values)
    middles = {float(guess) for guess in guesses[:, :, 0, 0].ravel() if np.isfinite(guess)}
    assert middles == {0.0} and DYNAMICS[0] == "smile_asymmetry"  # whose range is -1 to 1
    assert np.array_equal(np.isnan(guesses[..., 0]), np.isnan(values[..., 0]))
    even = np.linspace(0, 1, 101)[:, None, None, None] * np.ones((1, 1, 6, 2))
    even[:, :, 0] = 2 * even[:, :, 0] - 1
    # The mean distance of evenly spread values from their middle is a quarter of the range.
    error = estimators.estimate(estimators.constant_guess(even), estimators.dynamics_error)
    assert error == pytest.approx(0.25, abs=0.005)


def test_correlation_is_over_what_an_action_shows():
    truth = np.random.default_rng(0).random((30, 2, len(DYNAMICS)))
    pairs = np.stack([2 * truth + 1, truth], axis=-1)
    pairs[:, 0] = np.nan  # the first scene shows nothing
    assert estimators.estimate(pairs, estimators.correlation) == pytest.approx(1.0)
    pairs[:, 1, 0, 0] *= -1
    assert estimators.estimate(pairs, estimators.correlation) == pytest.approx((len(DYNAMICS) - 2) / len(DYNAMICS))


def test_errors_of_dynamics_are_shares_of_a_factors_range():
    truth = np.random.default_rng(0).random((30, 2, len(DYNAMICS)))
    pairs = np.stack([truth, truth], axis=-1)
    assert estimators.estimate(pairs, estimators.dynamics_error) == 0
    pairs[:, :, 0, 0] += 0.5  # of the asymmetry, whose range is 2
    assert estimators.estimate(pairs, estimators.dynamics_error) == pytest.approx(0.25 / len(DYNAMICS))
    pairs[:, :, 0] = np.nan  # no action shows it
    assert estimators.estimate(pairs, estimators.dynamics_error) == 0


def test_marks_are_told_by_what_scores_above_what():
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 2, size=(200, 1, 3)).astype(float)
    scored = np.stack([seen + 0.1 * rng.normal(size=seen.shape), seen], axis=-1)
    guessed = np.stack([rng.normal(size=seen.shape), seen], axis=-1)
    assert estimators.estimate(scored, estimators.area_under_curve) == pytest.approx(1.0)
    assert estimators.estimate(guessed, estimators.area_under_curve) == pytest.approx(0.5, abs=0.07)
    assert estimators.estimate(np.stack([np.zeros_like(seen), seen], axis=-1), estimators.area_under_curve) == 0.5
    scored[:, :, 0] = np.nan  # nobody looks around
    assert estimators.estimate(scored, estimators.area_under_curve) == pytest.approx(1.0)


def test_training_seeds_are_averaged_and_their_spread_is_kept():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(40, 2))
    better = [base + 0.2, base + 0.4]
    found = paired_difference(better, [base, base], estimators.mean)
    assert found is not None and found.one_direction
    assert (found.value, *found.seeds) == pytest.approx((0.3, 0.2, 0.4))
    assert found.p == pytest.approx(2 / (TEST_RESAMPLES + 1))
    apart = paired_difference([base + 0.4, base - 0.1], [base, base], estimators.mean)
    assert apart is not None and apart.value > 0 and not apart.one_direction
    same = paired_difference([base], [base], estimators.mean)
    assert same is not None and (same.value, same.p) == (0, 1)


def test_the_p_value_is_that_of_a_t_test_where_both_hold():
    rng = np.random.default_rng(5)
    base = rng.normal(size=(200, 1))
    other = base + 0.05 + 0.4 * rng.normal(size=(200, 1))
    found = paired_difference([other], [base], estimators.mean)
    assert found is not None
    assert found.p == pytest.approx(stats.ttest_rel(other[:, 0], base[:, 0]).pvalue, rel=0.2)
    assert (found.p < 0.05) == (found.low > 0)


def test_the_p_value_of_nothing_is_below_five_percent_in_five_percent():
    rng = np.random.default_rng(0)
    p = [two_sided(rng.normal(loc=rng.normal(), size=2000)) for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


def test_holm_by_hand():
    """The example of Wikipedia's article on the method, and its p-values worked out step by step."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1, 1] and holm([0.04]) == [0.04] and holm([]) == []
    corrected = holm([0.01, float("nan")])
    assert corrected[0] == 0.02 and np.isnan(corrected[1])


def closed_testing(p):
    """Marcus, Peritz and Gabriel 1976 with Bonferroni's test of each intersection, of which Holm's is a shortcut."""
    places = range(len(p))
    sets = [s for size in range(1, len(p) + 1) for s in itertools.combinations(places, size)]
    return [max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in places]


P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=7)


@settings(max_examples=examples(60), deadline=None)
@given(P_VALUES)
def test_holm_is_closed_testing(p):
    assert holm(p) == pytest.approx(closed_testing(p))


@settings(max_examples=examples(60), deadline=None)
@given(P_VALUES, st.data())
def test_holm_corrects_upwards_keeps_the_order_and_needs_none(p, data):
    corrected = np.array(holm(p))
    assert (corrected >= np.array(p)).all() and (corrected <= np.minimum(1, len(p) * np.array(p)) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()
    order = data.draw(st.permutations(range(len(p))))
    assert holm([p[i] for i in order]) == pytest.approx([corrected[i] for i in order])


@settings(max_examples=examples(60), deadline=None)
@given(P_VALUES, st.floats(0, 1))
def test_a_result_stays_when_a_test_that_was_open_is_made(p, added):
    before, after = holm([*p, float("nan")]), holm([*p, added])
    assert all(late <= early + 1e-12 for early, late in zip(before[:-1], after[:-1], strict=True))
