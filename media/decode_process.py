"""`python -m media.decode_process PARENT SOCKET MEMORY`: decodes tracks, one after the other, in a sandbox.

PARENT is the worker's process id, SOCKET the file descriptor of the inherited socket, MEMORY the limit in
bytes. The worker's side is media/decoders.py. Messages are frames of media/channel.py, most of them JSON (`►`
= to this process):

```
◄ "ready"                                              the process has started
► {"audio": AudioInput, "size": bytes of the file}     a track
► the first bytes of the file
◄ "ready"                                              decoding starts
◄ ["read", offset, length]   ► those bytes             any number of times
◄ ["clip", windows, seconds]   ◄ the windows' samples, float32
  or ["media error", class, message]
  or ["out of memory"], after which the process ends
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
from media.source import MAX_READ_BYTES, MAX_WHOLE_READ_BYTES
from schemas.bundle import AudioInput

READY = b"ready"
MAX_CONTROL_BYTES = 64 << 10


@dataclass(frozen=True)
class _RemoteSource:
    """The track's file. Its first bytes are in `head`; other parts are requested from the worker."""

    channel: Channel
    size: int
    head: bytes

    def read_at(self, offset: int, length: int) -> bytes:
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        self.channel.send(json.dumps(["read", offset, length]).encode())
        return bytes(self.channel.receive(MAX_READ_BYTES))


def main() -> None:
    parent, descriptor, memory_bytes = map(int, sys.argv[1:])
    sandbox.end_with_parent(parent, signal.SIGKILL)
    # A signal to the process group ends the worker, which first finishes its tracks and needs this process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=descriptor))
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
    """Decode a short file, so that all code is loaded before the sandbox, in which no file can be opened."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(os.urandom(2 * 2 * 8000))
    decode_windows(
        file.getvalue(), AudioInput(sample_rate=16_000, window_seconds=1, windows=1, picking="spread")
    )


def _decode(channel: Channel) -> None:
    """Receive a track, decode it and send the result."""
    request = json.loads(channel.receive(MAX_CONTROL_BYTES))
    source = _RemoteSource(channel, request["size"], bytes(channel.receive(MAX_WHOLE_READ_BYTES)))
    channel.send(READY)  # from here on, a failure of this process is attributed to the track
    try:
        clip = decode_windows(source, AudioInput.model_validate(request["audio"]))
    except MediaError as error:
        channel.send(json.dumps(["media error", type(error).__name__, str(error)]).encode())
        return
    header = json.dumps(["clip", len(clip.windows), clip.seconds]).encode()
    channel.send(header, clip.windows.data.cast("B"))


if __name__ == "__main__":
    main()
