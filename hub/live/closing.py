"""Why a socket is closed, in numbers that tell the client its next move.

4000 to 4499: come back, with a fresh ticket and the resume offsets.
4500 to 4999: do not, a person has to do something. So with 1009, by which a server's WebSocket library ends a
connection before anything of ours has seen the message that was too large for it.
"""

from enum import IntEnum


class Closing(IntEnum):
    """Close codes of the room socket."""

    TICKET_EXPIRED = 4001
    SLOW = 4008
    MOVED = 4012
    TOO_MANY = 4029
    DOOR = 4040
    UNAVAILABLE = 4053
    INVALID = 4500
    NOT_SIGNED_IN = 4501
    NOT_ALLOWED = 4503
    NOT_FOUND = 4504
    ROOM_FULL = 4505
    FLOOD = 4509
    VERSION = 4510
    TOO_LARGE = 4513
    INTERNAL = 4599


MESSAGE_TOO_BIG = 1009


def may_reconnect(code: int) -> bool:
    """Whether a client should come back by itself after this close code."""
    return code != MESSAGE_TOO_BIG and not 4500 <= code <= 4999


# What web answers as HTTP, told to a socket.
_BY_STATUS = {
    400: Closing.INVALID,
    401: Closing.NOT_SIGNED_IN,
    403: Closing.NOT_ALLOWED,
    404: Closing.NOT_FOUND,
    413: Closing.TOO_LARGE,
    429: Closing.TOO_MANY,
}


def closing_for(status: int, code: str) -> Closing:
    """The close code for a problem answered by web with this HTTP status and error code.

    An unknown, used or lapsed ticket (`secret_not_valid`) is no refusal: the client asks for another and comes back.
    """
    if code == "secret_not_valid":
        return Closing.TICKET_EXPIRED
    return _BY_STATUS.get(status, Closing.UNAVAILABLE)
