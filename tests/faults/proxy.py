"""Owns a TCP proxy that misbehaves: a process of its own, told what to do by lines on its standard input.

``python -m tests.faults.proxy LISTEN:TARGET …`` listens on loopback ports. A line is ``PORT MODE``:
``pass``, ``delay`` (each piece 50 ms late), ``reset`` (RST to both sides, now and on each new connection), ``cut``
(both sides closed), ``hole`` (nothing passes any more, and nothing is closed).
"""

import asyncio
import socket
import struct
import sys
from dataclasses import dataclass, field

DELAY_S = 0.05
_PIECE = 65_536


@dataclass
class Line:
    """One proxied port."""

    target: int
    mode: str = "pass"
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on."""
        self.writers.add(writer)
        if self.mode in {"reset", "cut"}:
            self.end(writer)
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            self.end(writer)
            return
        self.writers.add(back)
        await asyncio.gather(self._pump(reader, back, writer), self._pump(there, writer, back))

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, other: asyncio.StreamWriter
    ) -> None:
        try:
            while piece := await reader.read(_PIECE):
                while self.mode == "hole":
                    self.changed.clear()
                    await self.changed.wait()
                if self.mode == "delay":
                    await asyncio.sleep(DELAY_S)
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            for one in (writer, other):
                self.writers.discard(one)
                one.close()

    def become(self, mode: str) -> None:
        """Misbehave from now on, or stop it."""
        self.mode = mode
        self.changed.set()
        if mode in {"reset", "cut"}:
            for writer in list(self.writers):
                self.end(writer)

    def end(self, writer: asyncio.StreamWriter) -> None:
        """End one side as the mode says."""
        self.writers.discard(writer)
        connection = writer.get_extra_info("socket")
        if self.mode == "reset" and connection is not None:
            # Closed with unsent data thrown away: the other side is told RST (socket(7), SO_LINGER).
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort() if self.mode == "reset" else writer.close()


async def main(words: list[str]) -> None:
    """Serve until standard input ends."""
    lines = {int(word.partition(":")[0]): Line(int(word.partition(":")[2])) for word in words}
    for port, line in lines.items():
        await asyncio.start_server(line.serve, "127.0.0.1", port)
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    _say("ready")
    while command := (await told.readline()).decode().split():
        lines[int(command[0])].become(command[1])
        _say("done")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
