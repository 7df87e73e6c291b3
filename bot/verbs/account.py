"""`account`: what operators do to accounts. Each change of rights asks for a one-time code, as signing does.

Codes are never written in a chat, so what needs one is done in a shell or on the pages.
"""

from typing import Any

import click

from bot.cards import Next, Reply
from bot.door import Door
from bot.grammar import Noun
from bot.hub_views import Account

code_option = click.option("-c", "--code", help="One-time code of /me/signing, or of `collegium step-up`.")


@click.group("account", cls=Noun)
def account() -> None:
    """People's accounts in this hub, for operators."""


@account.command("create")
@click.argument("name")
@click.option("--handle", help="What they are called in commands; made from NAME when left out.")
@click.option("--email", help="Where invitations may find them once they proved it to be theirs.")
@click.pass_obj
def create_account(door: Door, name: str, handle: str | None, email: str | None) -> Reply:
    """Make an account for NAME; they come in by a sign-in link."""
    made = door.hub.act("account_create", Account, idempotency_key=door.key(), name=name, handle=handle, email=email)
    return _done(made, f"{made.handle} has an account.", Next("let them in", ("link", made.handle)))


@account.command("role", in_shell_only=True)
@click.argument("person")
@click.argument("role", type=click.Choice(("operator", "member", "guest")))
@code_option
@click.pass_obj
def set_role(door: Door, person: str, role: str, code: str | None) -> Reply:
    """Make PERSON an operator, a member or a guest of this hub; their sign-ins end."""
    changed = _change(door, "account_role", person, code, hub_role=role)
    return _done(changed, f"{changed.handle} is {changed.hub_role} of this hub now.")


@account.command("disable", in_shell_only=True)
@click.argument("person")
@code_option
@click.pass_obj
def disable(door: Door, person: str, code: str | None) -> Reply:
    """Disable PERSON's account: nothing of theirs works, nothing of theirs is lost."""
    changed = _change(door, "account_disable", person, code)
    return _done(
        changed, f"{changed.handle}'s account is disabled.", Next("undo it", ("account", "enable", changed.handle))
    )


@account.command("enable")
@click.argument("person")
@click.pass_obj
def enable(door: Door, person: str) -> Reply:
    """Enable PERSON's account again."""
    changed = _change(door, "account_enable", person, None)
    return _done(changed, f"{changed.handle}'s account works again.")


@account.command("reset", in_shell_only=True)
@click.argument("person")
@code_option
@click.pass_obj
def reset(door: Door, person: str, code: str | None) -> Reply:
    """Take PERSON's password, authenticator app and passkeys away, when they are lost."""
    changed = _change(door, "account_reset", person, code)
    return _done(
        changed, f"{changed.handle} has nothing to sign in with now.", Next("let them in", ("link", changed.handle))
    )


def _change(door: Door, action: str, person: str, code: str | None, **more: Any) -> Account:
    return door.hub.act(action, Account, idempotency_key=door.key(), person=person, code=code, **more)


def _done(changed: Account, sentence: str, *after: Next) -> Reply:
    return Reply(sentence=sentence, ident="The account is changed.", next=after, data=changed)
