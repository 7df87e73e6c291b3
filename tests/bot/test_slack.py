"""Slack's door from end to end: what people do in Slack, what the hub recorded, and what they were told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.core.house import House
from hub.jobs.tables import jobs
from tests.bot.slack_world import SlackWorld, slack_world


@pytest.fixture
def world(house: House, tmp_path: Path) -> Iterator[SlackWorld]:
    with slack_world(house, tmp_path) as made:
        yield made


def test_a_command_is_recorded_before_it_is_acknowledged_and_answered_with_the_acknowledgement(
    world: SlackWorld,
) -> None:
    said = world.slack.command(world.ana, "/collegium", 'job submit "#!/bin/sh\ntrue" --name fit', channel=world.lab)
    assert said.status == 200
    assert [row.name for row in world.rows(jobs)] == ["fit"]
    [answer] = world.slack.seen_by(world.ana)
    assert answer.via == "ack" and answer.to == world.ana
    assert answer.text.startswith("job 1 “fit”")
