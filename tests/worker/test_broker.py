from pathlib import Path

import pytest

from worker import session
from worker.broker import InOrder


def test_queues_are_served_in_order_however_kombu_hands_them_over() -> None:
    cycle = InOrder()
    for handed in (["backfill", "tracks"], ["tracks", "backfill"]):
        cycle.update(handed)
        assert cycle.consume(2) == ["tracks", "backfill"]
        cycle.rotate("tracks")
        assert cycle.consume(2) == ["tracks", "backfill"]


@pytest.mark.parametrize(
    ("quota", "cpus"), [("max 100000", 8), ("150000 100000", 1), ("400000 100000", 4), ("50000 100000", 1)]
)
def test_threads_follow_the_containers_quota(
    quota: str, cpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    monkeypatch.setattr(session, "CGROUP_QUOTA", file)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert session.available_cpus() == cpus
