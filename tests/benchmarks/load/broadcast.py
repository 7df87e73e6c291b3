"""The peer of the `websockets` library: every message to every member by its own `broadcast()`. `broadcast.py PORT`."""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosedError

members: set[ServerConnection] = set()


async def member(connection: ServerConnection) -> None:
    members.add(connection)
    try:
        async for message in connection:
            broadcast(members, message)
    except ConnectionClosedError:
        pass  # the load leaves without a word
    finally:
        members.discard(connection)


async def main() -> None:
    async with serve(member, "127.0.0.1", int(sys.argv[1]), compression=None):
        await asyncio.get_running_loop().create_future()


uvloop.run(main())
