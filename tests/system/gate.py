"""A small TCP gate between the gateway and a server, and the faults it can make.

    with Gate(("127.0.0.1", 5432)) as gate:      # or a Unix socket's path
        gate.port                                # 127.0.0.1:port leads to the server
        gate.cut()                               # ends every connection now (RST)
        gate.silence()                           # nothing passes, nothing ends: half-open
        gate.delay(0.05); gate.slice(1); gate.limit(100_000); gate.refuse(); gate.heal()
        gate.on_bytes = lambda link, to_server, data: ...   # sees, and may judge, every piece

By hand: `python3 tests/system/gate.py 127.0.0.1:5432` and then the words above, one a line.
"""

import asyncio
import contextlib
import socket
import struct
import threading

PIECE = 64 * 1024
PASS, CUT, SWALLOW = "pass", "cut", "swallow"


class Link:
    """One connection through the gate: bytes so far, and its two sockets."""

    def __init__(self, gate, client, server):
        self.gate, self.writers = gate, (client, server)
        self.to_server = self.to_client = 0
        self.tasks = []
        self.ended = False

    def cut(self, reset: bool = True) -> None:
        """Ends both sides; the gate's thread only."""
        if self.ended:
            return
        self.ended = True
        self.gate.links.discard(self)
        self.gate.cuts += 1
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            if reset and sock is not None and sock.family != socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        for task in self.tasks:
            task.cancel()


class Gate:
    """REQUIRES: close(), or use as a context manager. Its loop runs in a thread of its own; what
    is set takes effect with the next piece of bytes."""

    def __init__(self, target, host: str = "127.0.0.1", port: int = 0):
        self.target = target
        self.host, self.port = host, port
        self.links: set[Link] = set()
        self.accepted = self.cuts = 0
        self.on_bytes = None  # (link, to_server, data) -> None or one of PASS, CUT, SWALLOW
        self._reset()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._server = None
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        started = threading.Event()
        self._loop.call_soon(started.set)
        self._thread.start()
        started.wait()
        self._in_loop(self._listen())

    # -- faults

    def cut(self, reset: bool = True) -> int:
        """Ends every connection; how many there were."""
        async def now():
            links = list(self.links)
            for link in links:
                link.cut(reset)
            return len(links)
        return self._in_loop(now())

    def silence(self) -> None:
        """Connections stay, new ones are taken, and no byte passes either way."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def delay(self, seconds: float) -> None:
        """Every piece waits so long, each way."""
        self._delay = seconds

    def slice(self, size: int) -> None:
        """Pieces of at most so many bytes."""
        self._slice = size

    def limit(self, bytes_per_second: float) -> None:
        self._limit = bytes_per_second

    def refuse(self) -> None:
        """New connections are refused; those that are there stay."""
        self._in_loop(self._stop_listening())

    def heal(self) -> None:
        """As at the start; connections that are silent go on."""
        self._reset()
        self.on_bytes = None
        self._loop.call_soon_threadsafe(self._open.set)
        self._in_loop(self._listen())

    def lead_to(self, target) -> None:
        """Where new connections go from now on."""
        self.target = target

    def close(self) -> None:
        async def end():
            await self._stop_listening()
            for link in list(self.links):
                link.cut()
            await asyncio.sleep(0)
        self._in_loop(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    # -- the gate's thread

    def _reset(self) -> None:
        self._delay, self._slice, self._limit = 0.0, 0, 0.0

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._open.set()
        self._loop.run_forever()

    def _in_loop(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, self.host, self.port,
                                                      limit=PIECE)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _accept(self, reader, writer) -> None:
        self.accepted += 1
        try:
            if isinstance(self.target, (str, bytes)) or hasattr(self.target, "__fspath__"):
                there = await asyncio.open_unix_connection(str(self.target), limit=PIECE)
            else:
                there = await asyncio.open_connection(*self.target, limit=PIECE)
        except OSError:
            writer.transport.abort()
            return
        link = Link(self, writer, there[1])
        self.links.add(link)
        for end in link.writers:
            sock = end.get_extra_info("socket")
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.tasks = [asyncio.create_task(self._pump(link, reader, there[1], True)),
                      asyncio.create_task(self._pump(link, there[0], writer, False))]
        await asyncio.gather(*link.tasks, return_exceptions=True)
        link.ended = True
        self.links.discard(link)
        for end in link.writers:
            end.close()

    async def _pump(self, link: Link, reader, writer, to_server: bool) -> None:
        try:
            while data := await reader.read(self._slice or PIECE):
                await self._open.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                if self._limit:
                    await asyncio.sleep(len(data) / self._limit)
                if to_server:
                    link.to_server += len(data)
                else:
                    link.to_client += len(data)
                verdict = self.on_bytes(link, to_server, data) if self.on_bytes else None
                if verdict == CUT:
                    link.cut()
                    return
                if verdict == SWALLOW:
                    continue
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        except (OSError, RuntimeError):
            link.cut(reset=False)


def main() -> None:
    import sys
    host, _, port = sys.argv[1].rpartition(":")
    with Gate((host, int(port)) if host else sys.argv[1]) as gate:
        print(f"127.0.0.1:{gate.port} leads to {sys.argv[1]}", flush=True)
        for line in sys.stdin:
            word, *rest = line.split() or [""]
            if word in ("cut", "silence", "delay", "slice", "limit", "refuse", "heal"):
                getattr(gate, word)(*(float(x) if "." in x else int(x) for x in rest))
            print(f"{len(gate.links)} open, {gate.accepted} so far, {gate.cuts} cut", flush=True)


if __name__ == "__main__":
    main()
