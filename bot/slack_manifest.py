"""The manifest of the Slack app: what it asks for, and where it is reached; by HTTP, or by Socket Mode.

`deploy/slack/manifest.yaml` is this for people to read and paste; a test keeps the two the same.
"""

from typing import Any

PATH = "/slack/events"

# Each scope, and what it is for.
SCOPES = {
    "app_mentions:read": "hears who mentions it",
    "chat:write": "answers, and keeps the cards",
    "commands": "has commands",
    "files:read": "fetches files that hang on a message for it",
    "im:history": "hears direct messages",
    "im:write": "writes to somebody directly",
    "channels:history": "finds a card again after a crash",
    "groups:history": "the same in private channels it is invited to",
    "users:read": "asks whether somebody is a full member, a guest or a stranger",
    "users:read.email": "suggests the address for a new account",
}
EVENTS = ("app_mention", "message.im")
COMMAND = ("/collegium", "Jobs, notebook, artifacts and rooms", "help | job submit | note post | artifact add | ...")
SHORT_COMMANDS = (
    ("/job", "Submit a job, see how it stands", "submit | status | logs | cancel | list"),
    ("/note", "Write in the lab notebook", "post | show | sign | list"),
    ("/share", "Share a session", "create | list | revoke"),
    ("/artifact", "Files under version", "add | list | log | get"),
    ("/room", "Open a session's room", "open"),
)


def manifest(url: str, *, socket: bool = False, short_commands: bool = False) -> dict[str, Any]:
    """The manifest for a hub at `url`; with `socket` the hub calls Slack, and no address is asked for."""
    address = {} if socket else {"url": f"{url.rstrip('/')}{PATH}"}
    request_url = {} if socket else {"request_url": f"{url.rstrip('/')}{PATH}"}
    commands = (COMMAND, *(SHORT_COMMANDS if short_commands else ()))
    return {
        "display_information": {
            "name": "Collegium",
            "description": "Jobs, a signed notebook, versioned files and rooms",
            "background_color": "#1f3a5f",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": False, "messages_tab_enabled": True, "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": "Collegium", "always_online": True},
            "slash_commands": [
                {"command": name, **address, "description": says, "usage_hint": hint, "should_escape": False}
                for name, says, hint in commands
            ],
        },
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": {**request_url, "bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True, **request_url},
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket,
            "token_rotation_enabled": False,
        },
    }  # fmt: skip
