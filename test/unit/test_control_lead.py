"""How far a policy runs ahead of its learner."""

from __future__ import annotations

from vd_policy.control.lead import Lead


def test_a_lead_is_exhausted_until_the_learner_has_collected_enough() -> None:
    lead = Lead(400)
    lead.collect(0)
    lead.send(399)
    assert not lead.exhausted
    lead.send(6)
    assert lead.exhausted and lead.steps == 405
    lead.collect(200)
    assert not lead.exhausted and lead.steps == 205


def test_two_updates_on_what_was_sent_before_grant_no_more_than_they_took() -> None:
    lead = Lead(400)
    lead.collect(0)
    lead.send(400)
    lead.collect(200)
    lead.collect(400)
    lead.send(400)
    assert lead.exhausted


def test_what_was_sent_before_a_learner_came_or_restarted_does_not_count() -> None:
    lead = Lead(100)
    lead.send(5000)
    lead.collect(0)
    assert lead.steps == 0
    lead.send(90)
    lead.collect(80)
    lead.collect(0)  # another life: the ten steps on their way are lost with the first
    assert lead.steps == 0


def test_a_learner_that_died_before_it_had_collected_anything_leaves_no_lead_to_the_next() -> None:
    lead = Lead(400)
    lead.collect(0, "first")
    lead.send(400)
    assert lead.exhausted
    lead.collect(0, "second")
    assert lead.steps == 0 and not lead.exhausted


def test_a_learner_that_learns_from_more_at_once_is_not_waited_for_before_it_has_that() -> None:
    lead = Lead(400)
    lead.collect(0, "life", batch_steps=1000)
    lead.send(1999)
    assert not lead.exhausted
    lead.send(1)
    assert lead.exhausted
    never = Lead(0)
    never.collect(0, "life", batch_steps=1000)
    never.send(5000)
    assert not never.exhausted


def test_a_policy_that_joins_a_learner_at_work_starts_without_a_lead() -> None:
    lead = Lead(100)
    lead.collect(7000)
    lead.send(100)
    assert lead.exhausted


def test_without_a_limit_nobody_waits() -> None:
    lead = Lead(0)
    lead.send(10**6)
    assert not lead.exhausted
