"""Several models in one worker, and models that change while it runs."""

import json
import math
import shutil
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine, text

from media.decode import Clip
from schemas.errors import BundleError, ConfigError
from storage.bundles import push as push_bundle
from tests.conftest import DEMO_BUNDLE
from tests.worker.jobs import count, job, push, put_audio
from tests.worker.processes import running_worker, wait_until
from worker.catalog.lifecycle import promote
from worker.catalog.models import check_served
from worker.errors import Stage, TryLater
from worker.local.stack import free_port
from worker.models.bundle_cache import fetch_bundle
from worker.models.rollout import PollingThread, Rollout, find_bundles
from worker.models.serving import MAX_FAILED_RUNS, ServedModels
from worker.observe.health import Health
from worker.settings import WorkerSettings
from worker.stages import stage_errors


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """A folder with version 1 of the demo's bundle. Version 2 is in the folder `kept-back` beside it."""
    for version in ("1", "2"):
        folder = tmp_path / ("serving" if version == "1" else "kept-back") / f"demo-{version}"
        shutil.copytree(DEMO_BUNDLE, folder)
        manifest = json.loads((folder / "bundle.json").read_text())
        (folder / "bundle.json").write_text(json.dumps(manifest | {"version": version}))
    return tmp_path / "serving"


def current_versions(catalog: Engine) -> dict[str, str]:
    """Return the version of the model whose result is current, by track."""
    with catalog.connect() as connection:
        rows = connection.execute(
            text(
                "select t.track_id, m.version from track_current t "
                "join classification c on c.id = t.classification_id join model m on m.id = c.model_id"
            )
        )
        return {row.track_id: row.version for row in rows}


def test_a_shadow_is_loaded_and_promoted_and_the_old_model_is_closed_without_a_restart(
    environment: dict[str, str], catalog: Engine, s3: Any, bundles: Path
) -> None:
    jobs = [job(f"track-{at}", put_audio(s3, f"{at}.flac", hertz=100 + 50 * at)) for at in range(12)]
    port = free_port()

    def loaded() -> set[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as metrics:
            lines = [line.decode() for line in metrics if line.startswith(b"cogenre_model_info{")]
        return {line.partition('version="')[2].partition('"')[0] for line in lines}

    with running_worker(COGENRE_BUNDLE=str(bundles), COGENRE_HTTP_PORT=str(port)) as worker:
        push(*jobs[:4])
        wait_until(lambda: len(current_versions(catalog)) == 4)
        (bundles.parent / "kept-back" / "demo-2").rename(bundles / "demo-2")
        wait_until(lambda: loaded() == {"1", "2"})
        push(*jobs[:8])  # the first four again: the shadow has not classified them
        wait_until(lambda: count(catalog, "classification") == 16)
        assert current_versions(catalog) == {f"track-{at}": "1" for at in range(8)}
        promote(catalog, "demo:2", min_coverage=1)
        push(*jobs)
        wait_until(lambda: loaded() == {"2"})
        wait_until(lambda: len(current_versions(catalog)) == 12)
        assert worker.poll() is None
    assert current_versions(catalog) == {f"track-{at}": "2" for at in range(12)}
    assert count(catalog, "ingest_failure") == 0
    # one decode for both models: the shadow's rows of the new tracks have the same times
    assert count(catalog, "(select distinct timings->>'decode' from classification) d") <= 16


def test_a_worker_whose_models_are_all_retired_raises(
    environment: dict[str, str], catalog: Engine, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGENRE_BUNDLE", str(bundles))
    models, health = ServedModels(), Health()
    Rollout(WorkerSettings.load(), catalog, models, health).update()
    assert [served.label for served in models.serving] == ["demo:1"]
    check_served(catalog, "demo:1")
    wait_until(lambda: set(health.heartbeats.threads()) == {"inference demo:1", "writer demo:1"})
    models.close()
    (bundles.parent / "kept-back" / "demo-2").rename(bundles / "demo-2")
    Rollout(WorkerSettings.load(), catalog, models, Health()).update()
    models.close()
    promote(catalog, "demo:2", min_coverage=0)  # this retires the other one
    shutil.rmtree(bundles / "demo-2")
    with pytest.raises(ConfigError, match="is retired: promote one with"):
        Rollout(WorkerSettings.load(), catalog, models, Health()).update()


def test_a_metric_shows_whether_the_worker_serves_the_current_model(
    environment: dict[str, str], catalog: Engine, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = ServedModels()

    def current_model_served(folder: Path) -> float | None:
        monkeypatch.setenv("COGENRE_BUNDLE", str(folder))
        with suppress(ConfigError):  # raised if every model is retired; the models that serve go on
            Rollout(WorkerSettings.load(), catalog, models, Health()).update()
        return REGISTRY.get_sample_value("cogenre_current_model_served")

    newer = bundles.parent / "kept-back"
    assert current_model_served(bundles) == 1
    assert current_model_served(newer) == 0
    promote(catalog, "demo:2", min_coverage=0)
    assert current_model_served(newer) == 1
    assert current_model_served(bundles) == 0
    models.close()


def test_a_bundle_that_cannot_be_loaded_does_not_hide_the_models_that_serve(
    environment: dict[str, str], catalog: Engine, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGENRE_BUNDLE", str(bundles))
    models = ServedModels()
    rollout = Rollout(WorkerSettings.load(), catalog, models, Health())
    rollout.update()
    with catalog.begin() as connection:
        connection.execute(text("update model set served_at = null"))
    with pytest.raises(ConfigError, match="no worker serves demo:1"):
        check_served(catalog, "demo:1")
    broken = bundles / "demo-2"
    (bundles.parent / "kept-back" / "demo-2").rename(broken)
    next(broken.glob("*.onnx")).write_bytes(b"")
    with pytest.raises(BundleError):
        rollout.update()
    check_served(catalog, "demo:1")
    models.close()


def test_no_error_stops_the_polling_thread(caplog: pytest.LogCaptureFixture) -> None:
    polls: list[int] = []

    def poll() -> None:
        polls.append(1)
        raise RuntimeError("unexpected")

    polling = PollingThread(poll, seconds=0.01)
    wait_until(lambda: len(polls) > 2)
    polling.close()
    assert "unexpected" in caplog.text


def test_a_broken_device_fails_no_track_and_ends_the_heartbeats(
    environment: dict[str, str], catalog: Engine, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COGENRE_BUNDLE", str(bundles))
    models, health = ServedModels(), Health()
    Rollout(WorkerSettings.load(), catalog, models, health).update()
    (served,) = models.serving
    good = Clip(np.zeros((1, served.audio.window_samples), np.float32), 1)
    refused = Clip(np.zeros((1, 7), np.float32), 1)  # a shape for which ONNX Runtime raises

    def run(clip: Clip) -> None:
        with stage_errors(Stage.INFER):
            served.predict(clip, (), math.inf).result(30)

    def sends_heartbeats() -> bool:
        health.heartbeats.unregister("inference demo:1")
        with suppress(TryLater):
            run(refused)
        return "inference demo:1" in health.heartbeats.threads()

    for _ in range(MAX_FAILED_RUNS - 1):
        with pytest.raises(TryLater):
            run(refused)
    assert sends_heartbeats()
    assert not sends_heartbeats()
    run(good)
    assert sends_heartbeats(), "the device works again"
    models.close()


def test_several_bundles_in_s3_are_served_and_the_first_is_current(
    environment: dict[str, str],
    catalog: Engine,
    s3: Any,
    bucket: str,
    tmp_path: Path,
    bundles: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = (bundles / "demo-1", tmp_path / "kept-back" / "demo-2")
    urls = [push_bundle(s3, folder, f"s3://{bucket}/{tmp_path.name}") for folder in folders]
    monkeypatch.setenv("COGENRE_BUNDLE", ", ".join(urls))
    monkeypatch.setenv("COGENRE_BUNDLE_CACHE", str(tmp_path / "cache"))
    models = ServedModels()
    Rollout(WorkerSettings.load(), catalog, models, Health()).update()
    assert [served.label for served in models.serving] == ["demo:1", "demo:2"]
    with catalog.connect() as connection:
        statuses = connection.execute(text("select version, status from model order by version")).all()
    assert [tuple(row) for row in statuses] == [("1", "current"), ("2", "shadow")]
    models.close()
    with pytest.raises(BundleError, match="this command runs one bundle, and COGENRE_BUNDLE names several"):
        fetch_bundle(WorkerSettings.load())


def test_a_folder_without_bundles_raises(tmp_path: Path, bundles: Path) -> None:
    assert find_bundles(bundles) == [bundles / "demo-1"]
    assert find_bundles(bundles / "demo-1") == [bundles / "demo-1"]
    with pytest.raises(BundleError, match="no bundle at"):
        find_bundles(tmp_path / "nowhere")
