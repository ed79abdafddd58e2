"""Laws of retention, whatever the clock said and whatever the policy is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gardener.backup.retention import Candidate, Policy, to_delete
from gardener.errors import ConfigError

DAY = 86_400.0
counts = st.integers(0, 5)
policies = st.builds(Policy, counts, counts, counts, counts).filter(any)
times = st.one_of(st.floats(0, 4e9), st.floats(-1e18, 1e18), st.integers(0, 40).map(lambda days: days * DAY))


@st.composite
def histories(draw: st.DrawFn) -> list[Candidate]:
    """Backups with rising numbers and times from a clock that jumps as it likes."""
    made = draw(st.lists(st.tuples(times, st.sampled_from(["", "a"]), st.booleans(), st.booleans()), max_size=30))
    return [
        Candidate(f"{number:06d}", number, at, group, good, good and proven)
        for number, (at, group, good, proven) in enumerate(made, 1)
    ]


@given(histories(), policies)
def test_the_newest_good_and_the_newest_proven_always_stay(history: list[Candidate], policy: Policy) -> None:
    gone = set(to_delete(history, policy))
    for group in ("", "a"):
        for trait in ("good", "proven"):
            having = [c for c in history if c.group == group and getattr(c, trait)]
            assert not having or having[-1].id not in gone


@given(histories(), policies)
def test_what_is_kept_is_not_deleted_the_next_time(history: list[Candidate], policy: Policy) -> None:
    gone = set(to_delete(history, policy))
    kept = [candidate for candidate in history if candidate.id not in gone]
    assert to_delete(kept, policy) == []


@given(histories(), policies)
def test_a_group_without_a_good_backup_loses_nothing(history: list[Candidate], policy: Policy) -> None:
    bad = [candidate._replace(good=False, proven=False) for candidate in history]
    assert to_delete(bad, policy) == []


@given(histories(), policies, st.floats(0, 4e9))
def test_a_new_backup_costs_no_more_than_what_it_replaces(history: list[Candidate], policy: Policy, at: float) -> None:
    """One more backup, at whatever time, and never fewer are left than the newest `last` good ones."""
    more = [*history, Candidate("999999", 999_999, at, "", True, False)]
    gone = set(to_delete(more, policy))
    good = [candidate for candidate in more if candidate.good and candidate.group == ""]
    assert not gone & {candidate.id for candidate in good[-max(1, policy.last) :]}


@pytest.mark.parametrize("policy", [Policy(0, 0, 0, 0), Policy(-1, 3, 0, 0)])
def test_a_policy_that_keeps_nothing_is_refused(policy: Policy) -> None:
    with pytest.raises(ConfigError):
        to_delete([Candidate("1", 1, 0.0, "", True, True)], policy)


def test_grandfather_father_son() -> None:
    """A backup each noon for a year: three newest, seven days, four weeks, twelve months."""
    year = [Candidate(f"{day:06d}", day, day * DAY + DAY / 2, "", True, False) for day in range(365)]
    kept = [c for c in year if c.id not in set(to_delete(year, Policy(3, 7, 4, 12)))]
    days = [c.sequence for c in kept]
    assert days[-7:] == list(range(358, 365))
    assert set(days) >= {346, 353}  # the newest of the weeks before
    assert len(days) == 7 + 2 + 11
