"""What `cluster` says of Kubernetes clusters: what is read from files here, and what is changed later."""

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from bot.cards import Field, Next, Reply, fields
from bot.cluster_views import Cluster, ClusterService
from bot.door import Door
from bot.grammar import Verb
from bot.problems import usage
from bot.words import counted, moment

F = TypeVar("F", bound=Callable[..., Any])

_AS_JSON = "kubectl config view --raw --minify --flatten -o json"
_FILE_BYTES = 1 << 20


class Kubeconfig(msgspec.Struct, frozen=True):
    """What of a kubeconfig makes a cluster known."""

    server: str = ""
    authority: str = ""
    token: str = ""
    namespace: str = ""


def who_may_use(command: F) -> F:
    """The options that say whose jobs may go to a cluster."""
    options = (
        click.option("--attest", is_flag=True, help="Attest that the site allows one account for all people."),
        click.option("--session", "sessions", metavar="OWNER/NAME", multiple=True, help="Its jobs may go there."),
        click.option("--every-session", is_flag=True, help="Jobs of every session of this hub may go there."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def credential(command: F) -> F:
    """The options that say how a cluster is spoken to; a token is never an argument, which others could read."""
    options = (
        click.option("--ca", metavar="FILE", help="Certificate of who signs for its API server; it is pinned."),
        click.option("--account-token", metavar="FILE", help="Token of the hub's account; `-` reads standard input."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def described(command: F) -> F:
    """The options that describe a namespace of a Kubernetes cluster."""
    options = (
        click.option("--kubeconfig", metavar="FILE", help=f"Address, CA and token, as JSON: {_AS_JSON}"),
        click.option("--in-cluster", is_flag=True, help="The cluster this hub runs on, as its own pod's account."),
        click.option("--namespace", metavar="NAME", help="Where jobs are made.  [default: collegium-jobs]"),
        click.option("--claim", metavar="NAME", help="The volume claim there for their files.  [default: workspace]"),
        click.option("--image", metavar="NAME@sha256:…", help="What jobs run in that name no image themselves."),
        click.option("--porter-image", metavar="NAME@sha256:…", help="What carries files; without it, --image."),
        click.option("--described", metavar="FILE", help="The rest of its description, as JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def parameters(door: Door, url: str | None, said: dict[str, Any]) -> dict[str, Any]:
    """The parameters of `cluster_add` out of what was said and what lies in the files it names."""
    known = _kubeconfig(said["kubeconfig"]) if said["kubeconfig"] else Kubeconfig()
    whole: dict[str, Any] = _json(said["described"]) if said["described"] else {}
    whole.setdefault("namespace", "collegium-jobs")
    whole.setdefault("claim", "workspace")
    named = {"namespace": said["namespace"] or known.namespace, "claim": said["claim"], "image": said["image"]}
    whole |= {name: value for name, value in named.items() if value}
    porter = said["porter_image"] or whole.get("porter_image") or whole.get("image")
    if not porter:
        raise usage("What carries files needs an image: --image, or --porter-image, each by its digest.")
    whole["porter_image"] = porter
    token = _token(door, said["account_token"]) or known.token
    return {
        "kind": "kubernetes",
        "described": whole,
        "server": url or known.server or None,
        "authority": _text(said["ca"]) if said["ca"] else known.authority or None,
        "token": token or None,
        "in_cluster": said["in_cluster"] or None,
        **allowed(said["attest"], said["sessions"], said["every_session"]),
    }


def allowed(attest: bool, sessions: tuple[str, ...], every_session: bool) -> dict[str, Any]:
    return {"attest": attest or None, "sessions": sessions or None, "every_session": every_session or None}


@click.command(
    "change",
    cls=Verb,
    in_shell_only=True,
    fields={
        "name": "NAME", "server": "--server", "authority": "--ca", "token": "--account-token", "image": "--image",
        "porter_image": "--porter-image", "attest": "--attest", "sessions": "--session",
    },
)  # fmt: skip
@click.argument("name")
@click.option("--server", metavar="URL", help="Its API server's new address.")
@credential
@click.option("--image", metavar="NAME@sha256:…", help="What jobs run in that name no image themselves.")
@click.option("--porter-image", metavar="NAME@sha256:…", help="What carries files.")
@click.option("--price", type=click.FloatRange(0), help="What a core-hour costs.")
@click.option("--gpu-price", type=click.FloatRange(0), help="What a GPU-hour costs.")
@who_may_use
@click.pass_obj
def change_cluster(
    door: Door,
    name: str,
    server: str | None,
    ca: str | None,
    account_token: str | None,
    image: str | None,
    porter_image: str | None,
    price: float | None,
    gpu_price: float | None,
    attest: bool,
    sessions: tuple[str, ...],
    every_session: bool,
) -> Reply:
    """Change what is known of the Kubernetes cluster NAME; what is not said stays. For operators.

    The sessions that are named, with --attest, take the place of those named before. After a new token, CA or
    address it is tried again (`cluster test`) before jobs go there.
    """
    made = door.hub.act(
        "cluster_change",
        Cluster,
        name=name,
        server=server,
        authority=_text(ca) if ca else None,
        token=_token(door, account_token) or None,
        image=image,
        porter_image=porter_image,
        price_per_core_hour=price,
        price_per_gpu_hour=gpu_price,
        **allowed(attest, sessions, every_session),
    )
    untried = made.service is not None and made.service.tested is None
    return Reply(
        sentence=f"Cluster {made.name} is changed." + (" Try it, so that jobs go there again." if untried else ""),
        fields=told(made),
        next=(Next("try it", ("cluster", "test", made.name)),) if untried else (),
        data=made,
    )


def told(one: Cluster) -> tuple[Field, ...]:
    """A Kubernetes cluster, fact by fact."""
    of = one.service
    if of is None:
        return ()
    stands = of.standing
    calls = sum(stands.per_minute.values()) if stands is not None else 0
    return fields(
        server=of.server or "the cluster this hub runs on",
        CA=", ".join(one.fingerprints),
        namespace=of.namespace,
        claim=of.claim,
        a_core_hour=price(one.price_per_core_hour),
        a_GPU_hour=price(one.price_per_gpu_hour),
        image=of.image,
        account=of.login,
        token=f"until {moment(of.token_until)}" if of.token_until else "",
        may_use="every session" if of.every_session else ", ".join(of.sessions) or "some sessions",
        stands=standing(of),
        asked=f"{counted(calls, 'time')} in the last minute" if calls else "",
    )


def price(of_an_hour: float | None) -> str:
    """What it costs; nothing where nobody has said."""
    return "" if of_an_hour is None else f"{of_an_hour:g}"


def standing(of: ClusterService) -> str:
    """How the hub's account stands with its cluster, in a few words."""
    if of.tested is None:
        return "not tried yet"
    stands = of.standing
    return f"not reached: {stands.said}" if stands is not None and not stands.reached else "works"


# --- files


def _kubeconfig(place: str) -> Kubeconfig:
    """The one context of a kubeconfig. Raises Problem for one that holds no token."""
    whole = _json(place)
    try:
        cluster, user = whole["clusters"][0]["cluster"], whole["users"][0]["user"]
        context = (whole.get("contexts") or [{}])[0].get("context") or {}
        pem = base64.b64decode(cluster.get("certificate-authority-data") or "", validate=True).decode()
        found = Kubeconfig(
            str(cluster.get("server") or ""), pem, str(user.get("token") or ""), str(context.get("namespace") or "")
        )
    except (KeyError, IndexError, TypeError, AttributeError, binascii.Error, UnicodeDecodeError):
        raise usage(f"{place} is no kubeconfig of one cluster.", hint=f"Write it anew: {_AS_JSON}") from None
    if not found.token and user:
        raise usage(
            f"{place} signs in by {', '.join(sorted(map(str, user)))}; the hub takes a service account's token only.",
            hint="deploy/kubernetes.md shows how one is made.",
        )
    return found


def _json(place: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(_text(place), type=dict[str, Any])
    except msgspec.MsgspecError:
        raise usage(f"{place} is no JSON.", hint=f"A kubeconfig becomes it by: {_AS_JSON}") from None
    return found


def _token(door: Door, place: str | None) -> str:
    if not place:
        return ""
    return (door.standard_input() if place == "-" else _text(place)).strip()


def _text(place: str) -> str:
    try:
        with Path(place).expanduser().open("rb") as file:
            return file.read(_FILE_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise usage(f"{place} cannot be read: {reason}.") from error
