"""`cluster certify`: a short-lived certificate for the hub's key of one's account, from a file or from one's signer.

The signer runs here, on the person's own machine, with the public key in a file: so cron can renew a certificate.
"""

import shlex
import subprocess
import tempfile
from pathlib import Path

import click

from bot.cards import Next, Reply, fields
from bot.cluster_views import ClusterAccount
from bot.door import Door
from bot.grammar import Verb
from bot.problems import Problem, usage
from bot.words import moment

SIGNER_SECONDS = 300.0
_FILE_BYTES = 64 << 10
_SHOWN = 500


@click.command("certify", cls=Verb, in_shell_only=True, fields={"cluster": "NAME", "certificate": "FILE"})
@click.argument("name")
@click.argument("file", required=False)
@click.option(
    "--command", "signer", metavar="COMMAND",
    help="Run this here instead, with {key} for the file with the public key; it writes the certificate beside it, or "
    "prints it.",
)  # fmt: skip
@click.pass_obj
def certify(door: Door, name: str, file: str | None, signer: str | None) -> Reply:
    """Give the hub the certificate in FILE for your account on cluster NAME; `-` is standard input.

    With --command your own signer makes it first, as in --command 'ssh-keygen -s ca -I me -n LOGIN -V +12h {key}'.
    It is tried before it is saved. Given again before it ends, nothing is interrupted.
    """
    if (file is None) == (signer is None):
        raise usage(
            "Where is the certificate?",
            fix=f"cluster certify {name} FILE",
            hint="FILE, - for standard input, or --command with your own signer.",
        )
    text = _signed(door, name, signer) if signer is not None else _text(door, file or "-")
    made = door.hub.act("cluster_certify", ClusterAccount, cluster=name, certificate=text)
    ends = moment(made.certificate.ends) if made.certificate is not None else ""
    return Reply(
        sentence=f"{made.cluster} lets {made.login} in by this certificate. Jobs can go there until it ends, {ends}.",
        fields=fields(
            certificate=told(made),
            version=made.standing.version if made.standing is not None else "",
        ),
        next=(Next("send one", ("job", "submit", "SCRIPT", "--cluster", made.cluster)),),
        data=made,
    )


def ways(name: str) -> tuple[str, ...]:
    """The three ways to an account, in the order in which they are to be preferred."""
    join = f"collegium cluster join {name} LOGIN"
    return (
        f"1. {join} --agent: an agent on their own machine signs in, and nothing is stored here.",
        f"2. {join} --certificate: the site signs a key of the hub's for hours, again and again.",
        f"3. {join}: a key pair made here, whose one line they add on the cluster.",
    )


def told(mine: ClusterAccount | None) -> str:
    """A certificate in one line, for whoever shows an account."""
    if mine is None or (given := mine.certificate) is None:
        return ""
    only = f", from {', '.join(given.addresses)} only" if given.addresses else ""
    when = {"ended": "ended", "ending": "ends soon,"}.get(given.state, "good until")
    return f"{given.key_id or 'without an id'}, serial {given.serial}, {when} {moment(given.ends)}{only}"


def to_be_signed(made: ClusterAccount) -> Reply:
    """What to do after signing up for certificates."""
    return Reply(
        sentence=f"A key is made for {made.login} on {made.cluster}, good for nothing without a certificate. "
        f"Have this public half signed for {made.login} by your site, for hours and not for weeks.",
        body=made.public_key,
        next=(
            Next("give the certificate", ("cluster", "certify", made.cluster, "key-cert.pub")),
            Next("or have your own signer run", ("cluster", "certify", made.cluster, "--command", "SIGNER {key}")),
        ),
        data=made,
    )


def _signed(door: Door, name: str, signer: str) -> str:
    mine = door.hub.cluster(name).cluster.account
    if mine is None or not mine.public_key:
        raise usage(
            f"You have no account on {name} that signs in by certificates.",
            fix=f"cluster join {name} LOGIN --certificate",
        )
    try:
        words = shlex.split(signer)
    except ValueError:
        raise usage("The command has a quote that is not closed.", fix="--command 'SIGNER {key}'") from None
    if not any("{key}" in word for word in words):
        raise usage("The command does not say where the public key goes.", fix="--command 'SIGNER {key}'")
    with tempfile.TemporaryDirectory(prefix="collegium-certify-") as folder:
        place = Path(folder) / "key.pub"
        place.write_text(f"{mine.public_key}\n")
        return _run([word.replace("{key}", str(place)) for word in words], place)


def _run(words: list[str], place: Path) -> str:
    """What the signer wrote beside the key, as ssh-keygen and step do, or what it printed."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, timeout=SIGNER_SECONDS, check=False)
    except OSError as error:
        raise usage(f"{words[0]} cannot be run: {error.strerror}.") from error
    except subprocess.TimeoutExpired:
        raise Problem("signer_failed", f"{words[0]} did not end within {SIGNER_SECONDS:.0f} seconds.") from None
    if done.returncode != 0:
        raise Problem(
            "signer_failed", f"{words[0]} ended with code {done.returncode}; nothing was sent.",
            hint="What it wrote stands above.",
        )  # fmt: skip
    beside = place.with_name("key-cert.pub")
    text = beside.read_bytes()[:_FILE_BYTES] if beside.exists() else done.stdout[:_FILE_BYTES]
    if not text.strip():
        raise Problem("signer_failed", f"{words[0]} neither wrote {beside.name} beside the key nor printed anything.")
    return _decoded(text, words[0])


def _text(door: Door, file: str) -> str:
    if file == "-":
        return door.standard_input()
    try:
        with Path(file).expanduser().open("rb") as source:
            return _decoded(source.read(_FILE_BYTES), file)
    except OSError as error:
        raise usage(f"{file} cannot be read: {error.strerror}.") from error


def _decoded(text: bytes, whose: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise usage(f"What {whose[:_SHOWN]} gives is no text, so it is no certificate.") from None
