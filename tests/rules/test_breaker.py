"""A login node that fails is left alone for longer and longer, and one that is another is left alone for good."""

from __future__ import annotations

from hub.jobs.breaker import PAUSES_SECONDS, REFUSED_SECONDS, Breaker


def test_pauses_grow_up_to_the_longest_and_are_spread() -> None:
    breaker, now, pauses = Breaker(), 100.0, []
    for _ in range(8):
        breaker = breaker.failed(now, "no route", 0.5)
        pauses.append(breaker.closed_until - now)
        assert not breaker.may(breaker.closed_until - 0.001)
        assert breaker.may(breaker.closed_until)
        now = breaker.closed_until
    assert pauses == [*PAUSES_SECONDS, 300.0, 300.0]
    assert Breaker().failed(0, "", 0.0).closed_until == 4.0
    assert round(Breaker().failed(0, "", 1.0).closed_until, 6) == 6.0


def test_a_refused_key_waits_long_and_a_changed_host_key_for_ever() -> None:
    assert Breaker().refused(0, "no").closed_until == REFUSED_SECONDS
    gone = Breaker().never_again("another host")
    assert not gone.may(1e12)
    assert gone.reason == "another host"
