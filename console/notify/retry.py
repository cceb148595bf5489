"""When to try again: exponential back-off with jitter, without a limit on tries; the deadline alone ends it."""

from __future__ import annotations

import random
from datetime import timedelta

FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 300.0  # a mail server that comes back after an hour gets its mail within five minutes
LONGEST_WISH_S = 3600.0  # a Retry-After beyond this is not obeyed: these are emergencies


def next_wait(attempts: int, retry_after_s: float | None, random_source: random.Random) -> timedelta:
    """Time to the next attempt after `attempts` (>= 1) failed ones.

    Half of the exponential wait is fixed and half is random, so that a thousand messages refused together do not come
    back together. The far side's wish is a lower bound.
    """
    ceiling = min(FIRST_WAIT_S * 2.0 ** min(attempts - 1, 16), LONGEST_WAIT_S)
    wait = ceiling / 2 + random_source.uniform(0, ceiling / 2)
    if retry_after_s is not None:
        wait = max(wait, min(max(retry_after_s, 0.0), LONGEST_WISH_S))
    return timedelta(seconds=wait)
