# SPDX-License-Identifier: Apache-2.0
"""A StatsD server: a UDP socket that keeps what it receives."""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict
from typing import Self


class UdpStatsd:
    """Receives metrics; open it to listen on ``port``."""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port = self._socket.getsockname()[1]
        self.lines: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self.lines += self._socket.recv(65536).decode().splitlines()
            except TimeoutError:
                continue

    def clear(self) -> None:
        """Forget what was received."""
        self.lines = []

    def sums(self, name: str, *, until: int = 1) -> dict[str, float]:
        """Return the total of a counter by its name with tags, see :meth:`of`."""
        return {tags: sum(values) for tags, values in self.of(name, kind="c", until=until).items()}

    def of(self, name: str, *, kind: str, until: int = 1) -> dict[str, list[float]]:
        """
        Return the values of our metric by its name with tags, once it was received.

        :param kind: ``c``, ``ms`` or ``g``
        :param until: how many values to wait for, for at most 30 s
        """
        deadline = time.monotonic() + 30
        while True:
            found: dict[str, list[float]] = defaultdict(list)
            for line in self.lines:
                full, _, rest = line.partition(":")
                value, _, its_kind = rest.partition("|")
                bare = full.removeprefix("airflow.")
                if its_kind.partition("|")[0] == kind and (
                    bare == name or bare.startswith((f"{name},", f"{name}."))
                ):
                    found[bare.removeprefix(name)].append(float(value))
            if sum(map(len, found.values())) >= until or time.monotonic() > deadline:
                return dict(found)
            time.sleep(0.05)
