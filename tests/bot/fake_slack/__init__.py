"""A Slack of our own on loopback: it refuses what Slack refuses, counts what Slack counts, signs as Slack signs.

    with FakeSlack() as slack:
        ana = slack.person("Ana")
        lab = slack.channel("lab")
        slack.deliver_to(bot_url)                       # or socket mode, as soon as the bot has connected
        slack.command(ana, "/collegium", "job list", channel=lab)
        slack.click(ana, slack.messages[-1], "cancel")

The Web API is at `slack.url`; what the bot did is in `slack.messages` and `slack.calls`; `slack.fault` queues failures.
"""

from tests.bot.fake_slack.blocks import Invalid, check_message, check_view
from tests.bot.fake_slack.server import FakeSlack
from tests.bot.fake_slack.state import Call, Delivery, Message, Rate

__all__ = ["Call", "Delivery", "FakeSlack", "Invalid", "Message", "Rate", "check_message", "check_view"]
