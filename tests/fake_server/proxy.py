"""An HTTP proxy on loopback: tunnels (CONNECT) and plain requests, all to one server.

It keeps what it was asked for, so that a test can tell what went through and what it could read.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Proxy:
    """A running proxy. Whatever host a request names, it goes to the server at `port`."""

    port: int
    url: str = ""
    refusal: bytes = b""  # what to answer instead
    heads: list[bytes] = field(default_factory=list)  # of connections: request line and headers
    seen: bytearray = field(default_factory=bytearray)  # every byte from a client

    @property
    def targets(self) -> list[str]:
        """What the connections asked for, as `CONNECT host:443` or `POST http://host/path`."""
        return [b" ".join(head.split(b" ")[:2]).decode() for head in self.heads]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        self.seen += head
        if self.refusal:
            writer.write(self.refusal)
            await writer.drain()
            writer.close()
            return
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.port)
        if head.startswith(b"CONNECT "):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server_writer.write(head)
        await asyncio.gather(
            self._pipe(reader, server_writer, self.seen), self._pipe(server_reader, writer)
        )

    async def _pipe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        seen: bytearray | None = None,
    ) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                if seen is not None:
                    seen += piece
                writer.write(piece)
                await writer.drain()
        writer.close()

    async def _run(self, ready: threading.Event, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await stop.wait()
        server.close()

    @classmethod
    @contextmanager
    def running(cls, port: int) -> Iterator[Self]:
        """Serve from a thread of its own."""
        proxy = cls(port)
        loop = asyncio.new_event_loop()
        ready, stop = threading.Event(), asyncio.Event()
        thread = threading.Thread(
            target=loop.run_until_complete, args=(proxy._run(ready, stop),), daemon=True
        )
        thread.start()
        assert ready.wait(60), "the proxy did not start"
        try:
            yield proxy
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(60)
