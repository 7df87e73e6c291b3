"""`completion`: the script that teaches bash, zsh or fish our commands and the hub's names. In the shell only."""

import click

from bot import completion as completing
from bot.cards import Reply
from bot.grammar import Verb

_HOW = {
    "bash": '# In ~/.bashrc: eval "$(collegium completion bash)"',
    "zsh": '# In ~/.zshrc, after compinit: eval "$(collegium completion zsh)"',
    "fish": "# Once: collegium completion fish > ~/.config/fish/completions/collegium.fish",
}


@click.command("completion", cls=Verb, in_shell_only=True)
@click.argument("shell", type=click.Choice(completing.SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> Reply:
    """Print what makes your shell complete commands, sessions, jobs, entries and files.

    bash, in ~/.bashrc: eval "$(collegium completion bash)". zsh, in ~/.zshrc: eval "$(collegium completion zsh)".
    fish, once: collegium completion fish > ~/.config/fish/completions/collegium.fish
    """
    script = completing.source(shell, ctx.find_root().command)
    return Reply(body=f"{_HOW[shell]}\n{script}", data={"shell": shell, "script": script})
