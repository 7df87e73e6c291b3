"""What comes to one address, handed on to another as it is: bytes both ways, whatever they are."""

from __future__ import annotations

import contextlib
import socket
import threading

PIECE_BYTES = 1 << 16


class Relay:
    """Listens until it is closed; each connection has two threads, which end with it."""

    def __init__(self, here: tuple[str, int], there: tuple[str, int]) -> None:
        self._there = there
        self._listener = socket.create_server(here)
        self._open: set[socket.socket] = set()
        self.taken = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.taken += 1
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(self._there, 10) as far:
            far.settimeout(None)
            self._open |= {near, far}
            try:
                back = threading.Thread(target=_hand_on, args=(far, near), daemon=True)
                back.start()
                _hand_on(near, far)
                back.join()
            finally:
                self._open -= {near, far}


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE_BYTES):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
