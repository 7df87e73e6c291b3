"""Socket Mode: hello, envelopes, acknowledgements, and the disconnects that are part of every day."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.bot.fake_slack.state import State


class SocketMode:
    """The open connections of one app; each envelope goes to one of them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._open: list[WebSocket] = []
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tickets: set[str] = set()
        self.connected = threading.Event()
        self.ever_opened = 0

    @property
    def count(self) -> int:
        return len(self._open)

    async def endpoint(self, socket: WebSocket) -> None:
        ticket = socket.query_params.get("ticket", "")
        if not ticket or ticket in self._tickets:
            await socket.close(4001)
            return
        self._tickets.add(ticket)
        await socket.accept()
        self._loop = asyncio.get_running_loop()
        self._open.append(socket)
        self.ever_opened += 1
        hello = {
            "type": "hello", "num_connections": len(self._open), "connection_info": {"app_id": self._state.app},
            "debug_info": {"host": "fake", "approximate_connection_time": 18060},
        }  # fmt: skip
        await socket.send_text(json.dumps(hello))
        self.connected.set()
        try:
            while True:
                told = json.loads(await socket.receive_text())
                waiting = self._waiting.pop(told.get("envelope_id", ""), None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(told.get("payload"))
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            if socket in self._open:
                self._open.remove(socket)
            if not self._open:
                self.connected.clear()

    def send(self, kind: str, payload: dict[str, Any], retry: int, seconds: float) -> tuple[int, Any]:
        """One envelope to one connection: (200, what it was acknowledged with), or (0, None) when it was not."""
        if self._loop is None or not self._open:
            return 0, None
        return asyncio.run_coroutine_threadsafe(self._send(kind, payload, retry, seconds), self._loop).result()

    async def _send(self, kind: str, payload: dict[str, Any], retry: int, seconds: float) -> tuple[int, Any]:
        ident = f"env-{self._state.number()}"
        envelope = {
            "envelope_id": ident,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind != "events_api",
        }
        if kind == "events_api":
            envelope |= {"retry_attempt": retry, "retry_reason": "timeout" if retry else ""}
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[ident] = waiting
        try:
            await self._open[-1].send_text(json.dumps(envelope))
            return 200, await asyncio.wait_for(waiting, seconds)
        except (TimeoutError, RuntimeError, WebSocketDisconnect, IndexError):
            return 0, None
        finally:
            self._waiting.pop(ident, None)

    def refresh(self) -> None:
        """Ask the bot to connect anew, and hang up, as Slack does every few hours."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._refresh(), self._loop).result()

    async def _refresh(self) -> None:
        for socket in list(self._open):
            await socket.send_text(json.dumps({"type": "disconnect", "reason": "refresh_requested", "debug_info": {}}))
            self._open.remove(socket)
            await socket.close()
        self.connected.clear()
