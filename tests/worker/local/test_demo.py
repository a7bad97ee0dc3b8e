"""`cogenre demo` as users run it, and the accuracy of its model on its tracks."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import Engine, text

from schemas.errors import ConfigError
from tests.audio import encode, tone
from worker.local.demo import load_demo_tracks, running_worker, upload_track, wait_until_finished
from worker.queue.celery_app import celery_app
from worker.queue.enqueue import enqueue
from worker.settings import BrokerSettings

LABELS = text("""
    select t.id, coalesce(array_agg(l.genre) filter (where l.genre is not null), '{}') as genres
    from track t left join analytics.track_label l on l.track_id = t.id group by t.id
""")

OTHER_SERVERS = {
    "COGENRE_CONCURRENCY": "0",
    "AWS_PROFILE": "nosuch",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
}


@pytest.mark.heavy
def test_the_demo_labels_its_tracks_and_the_users_files_despite_settings_of_other_servers(
    tmp_path: Path,
) -> None:
    (tmp_path / f"{'long ' * 45}.flac").write_bytes(encode(tone(3), 22_050))
    (tmp_path / os.fsdecode(b"latin \xe9.wav")).write_bytes(
        encode(tone(3, hertz=330), 22_050, "wav", "pcm_s16le")
    )
    (tmp_path / "cover.jpg").write_bytes(b"\xff\xd8\xff")
    ended = subprocess.run(
        [sys.executable, "-m", "worker.cli", "demo", "--audio", str(tmp_path)],
        env={**os.environ, **OTHER_SERVERS},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == "skipped, not audio of a known format: 'cover.jpg'"
    assert lines[-1].startswith("catalogued 34 of 34 tracks in ")


def test_waiting_fails_when_the_worker_has_ended(catalog: Engine) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    with pytest.raises(ConfigError, match="the worker ended before"):
        wait_until_finished(Console(quiet=True), catalog, ended, ["never"])


def test_a_worker_with_the_demos_model_labels_the_demos_tracks_accurately(
    environment: dict[str, str], catalog: Engine, s3: Any
) -> None:
    """benchmarks/accuracy.py measures the whole test split: its example-based F1 is well above 0.7."""
    tracks = load_demo_tracks()
    with running_worker(Console()) as worker:
        enqueue(catalog, celery_app(BrokerSettings.load()), map(upload_track, tracks))
        wait_until_finished(Console(quiet=True), catalog, worker, [track.track_id for track in tracks])
    with catalog.connect() as connection:
        labels = {row.id: set(row.genres) for row in connection.execute(LABELS)}
    scores = []
    for track in tracks:
        true, found = set(track.genres or ()), labels[track.track_id]
        scores.append(2 * len(true & found) / (len(true) + len(found)))
    assert sum(scores) / len(scores) > 0.6
