"""Keeps the models that a worker serves up to date: every bundle that it finds, unless its model is retired.

`COGENRE_BUNDLE` is a bundle, a folder of bundles, or a list of s3:// URLs. A thread polls these and the
catalog, so that an added bundle and a promoted or retired model take effect without a restart.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from schemas.bundle import MANIFEST_FILE, artefact_sha256, read_bundle
from schemas.errors import BundleError, ConfigError
from worker.catalog.models import RegisteredModel, record_served, register_model
from worker.catalog.tracks import TrackCatalog
from worker.models.bundle_cache import fetch_bundles
from worker.models.model import Model
from worker.models.serving import ServedModel, ServedModels, ServingLimits
from worker.observe.health import Health
from worker.observe.metrics import CURRENT_MODEL_SERVED, MODEL_INFO
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)

POLL_SECONDS = 10.0
"""Seconds between two polls of the folder and the catalog."""

CURRENT = "current"
RETIRED = "retired"


class Rollout:
    """Loads and closes models, so that the served ones match the folder and the catalog."""

    def __init__(
        self, settings: WorkerSettings, engine: Engine, models: ServedModels, health: Health
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._models = models
        self._health = health
        self._limits = ServingLimits(
            settings.batch_rows, settings.batch_tokens, settings.concurrency, settings.transient_seconds
        )
        self._loaded: dict[str, ServedModel] = {}
        """Loaded models by bundle SHA-256. Kept if another bundle fails to load, so that the next poll does
        not load them again."""

    def update(self) -> None:
        """Load new bundles, close retired models, and record the served ones in the catalog.

        Raises ConfigError, BundleError if a bundle cannot be loaded or every model is retired.
        """
        try:
            self._update()
        finally:
            # Even if a new bundle cannot be loaded, because the models that were loaded before continue to
            # serve.
            if self._models.serving:
                record_served(self._engine, self._loaded)

    def _update(self) -> None:
        to_serve: dict[str, ServedModel] = {}
        statuses = set[str]()
        for folder in find_bundles(*fetch_bundles(self._settings)):
            sha256 = artefact_sha256(folder)
            manifest = (
                read_bundle(folder) if sha256 not in self._loaded else self._loaded[sha256].model.manifest
            )
            registered = register_model(self._engine, manifest, sha256)
            statuses.add(registered.status)
            if registered.status != RETIRED:
                if sha256 not in self._loaded:
                    self._loaded[sha256] = self._load(folder, registered)
                to_serve[sha256] = self._loaded[sha256]
        CURRENT_MODEL_SERVED.set(CURRENT in statuses)
        if not to_serve:
            raise ConfigError(
                f"every model of {self._settings.bundle} is retired: promote one with `cogenre models "
                "promote`, or set COGENRE_BUNDLE to another bundle"
            )
        if tuple(to_serve.values()) != self._models.serving:
            retired = [self._loaded[sha256] for sha256 in self._loaded.keys() - to_serve.keys()]
            self._loaded = to_serve
            self._update_metrics()
            self._models.replace(to_serve.values())
            for served in retired:
                for thread in _thread_names(served.label):
                    self._health.heartbeats.unregister(thread)
                log.info("model %s is retired: unloaded", served.label)

    def _load(self, folder: Path, registered: RegisteredModel) -> ServedModel:
        model = Model(self._settings.model_copy(update={"bundle": folder}))
        catalog = TrackCatalog(self._engine, registered, model.provider, model.precision)
        send = self._health.heartbeats.send_heartbeat
        heartbeats = (partial(send, thread) for thread in _thread_names(model.manifest.label))
        served = ServedModel(model, catalog, self._limits, *heartbeats)
        log.info("model %s is loaded and warm on %s", served.label, model.provider)
        return served

    def _update_metrics(self) -> None:
        MODEL_INFO.clear()
        for served in self._loaded.values():
            MODEL_INFO.labels(
                model=served.model.manifest.name,
                version=served.model.manifest.version,
                precision=served.model.precision,
                provider=served.model.provider,
                requested_provider=self._settings.provider,
            ).set(1)


def _thread_names(label: str) -> tuple[str, str]:
    """Return the names under which the two threads of a model send heartbeats."""
    return f"inference {label}", f"writer {label}"


def find_bundles(*folders: Path) -> list[Path]:
    """Return the folders that are bundles, and the bundles inside the other folders.

    Raises BundleError if a folder is not a bundle and contains none.
    """
    return [bundle for folder in folders for bundle in _bundles_at(folder)]


def _bundles_at(folder: Path) -> list[Path]:
    if (folder / MANIFEST_FILE).is_file():
        return [folder]
    inside = sorted(path.parent for path in folder.glob(f"*/{MANIFEST_FILE}"))
    if not inside:
        raise BundleError(
            f"no bundle at {folder}: there is no {MANIFEST_FILE} in it or in a folder directly below it"
        )
    return inside


class PollingThread:
    """A thread that calls `poll` every `seconds`. After an error the models stay as they are."""

    def __init__(self, poll: Callable[[], None], seconds: float = POLL_SECONDS) -> None:
        self._poll = poll
        self._seconds = seconds
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, after the poll that is running."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(self._seconds):
            try:
                self._poll()
            except (ConfigError, BundleError, SQLAlchemyError, OSError) as error:
                log.warning("the models are not updated: %s; next attempt in %g s", error, self._seconds)
            except Exception:  # without this thread, no model would change until the worker restarts
                log.exception("the models are not updated; next attempt in %g s", self._seconds)
