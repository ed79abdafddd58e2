"""Which backups may go: grandfather-father-son, by what is there and not by what the clock says now.

Days, weeks and months are those that have backups, counted from the newest. A clock that jumps, a machine that slept
for a month or a summer time that begins therefore takes nothing away. Days are in UTC.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gardener.errors import ConfigError


class Policy(NamedTuple):
    """How many backups to keep: the newest ones, and the newest of each day, week and month that has any."""

    last: int
    daily: int
    weekly: int
    monthly: int

    def check(self) -> Policy:
        """Raises ConfigError for a policy that keeps nothing."""
        if min(self) < 0 or not any(self):
            raise ConfigError(
                "The retention policy keeps no backup at all, so nothing is deleted under it.",
                next_step="gardener config set backup.keep_last 3",
            )
        return self


class Candidate(NamedTuple):
    """A backup to decide about. `group` is what it is a backup of; groups do not compete.

    `good`: not known to be damaged. `proven`: its content was checked and found whole.
    """

    id: str
    sequence: int
    created_at: float
    group: str
    good: bool
    proven: bool


def to_delete(candidates: Sequence[Candidate], policy: Policy) -> list[str]:
    """Ids of those that the policy does not keep, the oldest first. Raises ConfigError for an empty policy.

    In each group the newest good backup and the newest proven one always stay, and whatever is newer than they are.
    """
    policy.check()
    gone: list[Candidate] = []
    for group in {candidate.group for candidate in candidates}:
        members = sorted((c for c in candidates if c.group == group), key=lambda c: c.sequence, reverse=True)
        good = [member for member in members if member.good]
        if not good:
            continue  # nothing to fall back on: even a damaged one may hold what somebody needs
        keep = {good[0].id, *(member.id for member in [m for m in good if m.proven][:1])}
        keep |= {member.id for member in good[: policy.last]}
        for count, bucket in ((policy.daily, _day), (policy.weekly, _week), (policy.monthly, _month)):
            keep |= _newest_of_each(good, count, bucket)
        gone += [member for member in members if member.id not in keep and member.sequence < good[0].sequence]
    return [member.id for member in sorted(gone, key=lambda c: c.sequence)]


def _newest_of_each(good: Sequence[Candidate], count: int, bucket: Callable[[float], tuple[int, ...]]) -> set[str]:
    newest: dict[tuple[int, ...], str] = {}
    for member in good:
        if len(newest) == count:
            break
        newest.setdefault(bucket(member.created_at), member.id)
    return set(newest.values())


def _day(at: float) -> tuple[int, ...]:
    return tuple(_utc(at)[:3])


def _week(at: float) -> tuple[int, ...]:
    """Weeks since the first Monday of the epoch (1970-01-05); the date itself would begin a week anew each January."""
    return (int((at - 4 * 86_400) // (7 * 86_400)),)


def _month(at: float) -> tuple[int, ...]:
    return tuple(_utc(at)[:2])


def _utc(at: float) -> time.struct_time:
    try:
        return time.gmtime(at)
    except (OverflowError, ValueError, OSError):
        return time.gmtime(0)  # a manifest may say anything
