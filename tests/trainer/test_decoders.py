"""Decoding in processes: whatever a file does to its process costs that track alone."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from media.decode import decode_windows
from media.errors import UnsupportedAudio
from schemas.bundle import AudioInput
from tests.conftest import ROOT
from tests.trainer.conftest import write_tone
from tests.trainer.faults import bloat, crash, hang
from tests.trainer.process_group import wait_for_group
from trainer import decoders as decoding
from trainer.decoders import Decoders
from trainer.errors import UnreadableFile

AUDIO = AudioInput(sample_rate=8_000, window_seconds=1, windows=2, picking="spread")


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders() as pool:
        yield pool


@pytest.fixture
def encoded(tmp_path: Path) -> bytes:
    write_tone(tmp_path / "tone.wav", 440, 3, seed=0)
    return (tmp_path / "tone.wav").read_bytes()


def test_windows_are_those_of_the_only_decoder(decoders: Decoders, encoded: bytes) -> None:
    expected = decode_windows(encoded, AUDIO).windows
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda _: decoders.windows(encoded, AUDIO), range(8))
    assert all(np.array_equal(windows, expected) for windows in found)


def test_what_is_wrong_with_a_file_is_said(decoders: Decoders) -> None:
    with pytest.raises(UnsupportedAudio):
        decoders.windows(b"no audio at all", AUDIO)


@pytest.mark.parametrize(
    ("fault", "said"),
    [(crash, "ended the process"), (hang, "takes longer than 1 s"), (bloat, "more memory than there is")],
)
def test_a_file_costs_itself_alone(
    fault: object, said: str, decoders: Decoders, encoded: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg crashes on no file that is known here: other functions stand for it."""
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_decode", fault)
        patch.setattr(decoding, "SECONDS", 1)
        with pytest.raises(UnreadableFile, match=said):
            decoders.windows(encoded, AUDIO)
    assert len(decoders.windows(encoded, AUDIO)) == 2


RUN = """
import sys, time
from pathlib import Path
from schemas.bundle import AudioInput
from trainer.decoders import Decoders

if __name__ == "__main__":
    audio = AudioInput(sample_rate=8_000, window_seconds=1, windows=2, picking="spread")
    Decoders().windows(Path(sys.argv[1]).read_bytes(), audio)
    print("decoded", flush=True)
    time.sleep(60)
"""


@pytest.mark.usefixtures("encoded")
def test_processes_end_with_a_killed_run(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN)
    run = subprocess.Popen(
        [sys.executable, script, tmp_path / "tone.wav"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"decoded\n"
    run.kill()
    run.wait()
    wait_for_group(run.pid)
