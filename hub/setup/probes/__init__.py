"""How each step is tested. A test that proves (sends a mail, posts a hello) runs when somebody asked for it; without
proof it leaves no trace, so that `collegium doctor` can run it at any time.
"""

from __future__ import annotations

from collections.abc import Callable

from hub.core.house import House
from hub.core.settings import Settings
from hub.setup.probes import backup, clusters, mail, owner, public_url, slack
from hub.setup.rules import Check, StepName

# (house, settings as they are stored now, who asked for proof; None: leave no trace)
Test = Callable[[House, Settings, str | None], list[Check]]
TESTS: dict[StepName, Test] = {
    "public_url": public_url.test,
    "owner": owner.test,
    "slack": slack.test,
    "mail": mail.test,
    "backup": backup.test,
    "clusters": clusters.test,
}
