"""A TCP proxy that delays what it passes on. Run in a container with `python -c SOURCE`.

python -c "$(cat tcp_proxy.py)" LISTEN_PORT HOST PORT DELAY_SECONDS
"""

import asyncio
import sys
from contextlib import suppress


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Pass on what arrives, each piece after a delay in seconds, until the connection ends."""
    with suppress(OSError):
        while data := await reader.read(65_536):
            await asyncio.sleep(delay)
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(listen_port: int, host: str, port: int, delay: float) -> None:
    """Accept connections until the process is stopped."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(
            pass_on(reader, upstream_writer, delay), pass_on(upstream_reader, writer, delay)
        )

    server = await asyncio.start_server(connect, "0.0.0.0", listen_port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
