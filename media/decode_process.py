"""`python -m media.decode_process PARENT SOCKET MEMORY`: decodes tracks, one after the other, in a sandbox.

The other side is media/decoders.py. Over the socket, a frame each (`►` = to this process):

```
◄ "ready"
► {"audio": AudioInput, "size": bytes of the file}     ► the first bytes of the file     ◄ "ready"
◄ ["read", offset, length]   ► those bytes             as often as it takes
◄ ["clip", windows, seconds]   ◄ the windows' samples  or ["media error", class, message]
                                                       or ["out of memory"], and the process ends
```
"""

import io
import json
import os
import signal
import socket
import sys
import wave
from dataclasses import dataclass

from media import sandbox
from media.channel import Channel
from media.decode import decode_windows
from media.errors import MediaError
from media.source import MOST_BYTES, WHOLE_BYTES
from schemas.bundle import AudioInput

READY = b"ready"
MAX_CONTROL_BYTES = 64 << 10


@dataclass(frozen=True)
class _RemoteSource:
    """The file, asked for piece by piece; its head has come with the order."""

    channel: Channel
    size: int
    head: bytes

    def read_at(self, offset: int, length: int) -> bytes:
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        self.channel.send(json.dumps(["read", offset, length]).encode())
        return bytes(self.channel.receive(MOST_BYTES))


def main() -> None:
    parent, end, memory_bytes = map(int, sys.argv[1:])
    sandbox.end_with_parent(parent, signal.SIGKILL)
    # Sent to the whole group, they are meant for the worker, which finishes its tracks.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=end))
    _warm_up()
    sandbox.enter(memory_bytes)
    try:
        channel.send(READY)
        while True:
            _decode(channel)
    except MemoryError:
        channel.send(json.dumps(["out of memory"]).encode())
    finally:
        sandbox.stop_watching()


def _warm_up() -> None:
    """Decode something, so that all code is loaded: later no file can be opened."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(os.urandom(2 * 2 * 8000))
    decode_windows(
        file.getvalue(), AudioInput(sample_rate=16_000, window_seconds=1, windows=1, picking="spread")
    )


def _decode(channel: Channel) -> None:
    order = json.loads(channel.receive(MAX_CONTROL_BYTES))
    source = _RemoteSource(channel, order["size"], bytes(channel.receive(WHOLE_BYTES)))
    channel.send(READY)  # from here on, what happens to this process is the track's doing
    try:
        clip = decode_windows(source, AudioInput.model_validate(order["audio"]))
    except MediaError as error:
        channel.send(json.dumps(["media error", type(error).__name__, str(error)]).encode())
        return
    header = json.dumps(["clip", len(clip.windows), clip.seconds]).encode()
    channel.send(header, clip.windows.data.cast("B"))


if __name__ == "__main__":
    main()
