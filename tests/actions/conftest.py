"""What several tests of actions begin with."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from hub.core.house import House
from tests.actions.mail_server import Mailbox, running


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def mailing(house: House, mailbox: Mailbox) -> Iterator[House]:
    """A hub with a mail server."""
    with running(mailbox) as port:
        house.settings = msgspec.structs.replace(house.settings, smtp_url=f"smtp://127.0.0.1:{port}")
        yield house
