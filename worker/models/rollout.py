"""Which bundles a worker serves: those that it finds, less those that the catalog has retired.

The folder is a bundle, or holds bundles; in S3 each bundle is named. One that is put in the folder later, or
whose model is retired or promoted later, is noticed: models change without a restart.
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
from worker.catalog.models import RegisteredModel, note_served, register_model
from worker.catalog.tracks import TrackCatalog
from worker.models.bundle_cache import local_bundles
from worker.models.model import Model
from worker.models.serving import ServedModel, ServedModels, ServingLimits
from worker.observe.health import Health
from worker.observe.metrics import CURRENT_MODEL_SERVED, MODEL_INFO
from worker.settings import WorkerSettings

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""Between looks at the folder and the catalog."""

CURRENT = "current"
RETIRED = "retired"


class BundleFolder:
    """Keeps the served models as the folder and the catalog want them."""

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
        """By the bundle's SHA-256. One that is loaded when another fails to is there for the next look."""

    def load(self) -> None:
        """Serve what is wanted, and let the catalog know.

        Raises ConfigError, BundleError, where nothing can be served.
        """
        try:
            self._load()
        finally:
            # Also where another bundle cannot be loaded: these serve on.
            if self._models.serving:
                note_served(self._engine, self._loaded)

    def _load(self) -> None:
        wanted: dict[str, ServedModel] = {}
        statuses = set[str]()
        for folder in found_bundles(*local_bundles(self._settings)):
            sha256 = artefact_sha256(folder)
            manifest = (
                read_bundle(folder) if sha256 not in self._loaded else self._loaded[sha256].model.manifest
            )
            registered = register_model(self._engine, manifest, sha256)
            statuses.add(registered.status)
            if registered.status != RETIRED:
                if sha256 not in self._loaded:
                    self._loaded[sha256] = self._served(folder, registered)
                wanted[sha256] = self._loaded[sha256]
        CURRENT_MODEL_SERVED.set(CURRENT in statuses)
        if not wanted:
            raise ConfigError(
                f"every model of {self._settings.bundle} is retired: promote one, or set COGENRE_BUNDLE"
            )
        if tuple(wanted.values()) != self._models.serving:
            gone = [self._loaded[sha256] for sha256 in self._loaded.keys() - wanted.keys()]
            self._loaded = wanted
            self._show()
            self._models.replace(wanted.values())
            for served in gone:
                for thread in _threads(served.label):
                    self._health.heartbeats.forget(thread)
                log.info("model %s is retired", served.label)

    def _served(self, folder: Path, registered: RegisteredModel) -> ServedModel:
        model = Model(self._settings.model_copy(update={"bundle": folder}))
        catalog = TrackCatalog(self._engine, registered, model.provider, model.precision)
        send = self._health.heartbeats.send_heartbeat
        heartbeats = (partial(send, thread) for thread in _threads(model.manifest.label))
        served = ServedModel(model, catalog, self._limits, *heartbeats)
        log.info("model %s on %s is warm", served.label, model.provider)
        return served

    def _show(self) -> None:
        MODEL_INFO.clear()
        for served in self._loaded.values():
            MODEL_INFO.labels(
                model=served.model.manifest.name,
                version=served.model.manifest.version,
                precision=served.model.precision,
                provider=served.model.provider,
                requested_provider=self._settings.provider,
            ).set(1)


def _threads(label: str) -> tuple[str, str]:
    return f"inference {label}", f"writer {label}"


def found_bundles(*folders: Path) -> list[Path]:
    """Each folder, if it is a bundle, else the bundles in it. Raises BundleError where there is none."""
    return [bundle for folder in folders for bundle in _found_at(folder)]


def _found_at(folder: Path) -> list[Path]:
    if (folder / MANIFEST_FILE).is_file():
        return [folder]
    inside = sorted(path.parent for path in folder.glob(f"*/{MANIFEST_FILE}"))
    if not inside:
        raise BundleError(f"no bundle at {folder}: neither it nor a folder in it has a {MANIFEST_FILE}")
    return inside


class Follower:
    """Looks again and again, from a thread of its own. What goes wrong is logged: what serves goes on."""

    def __init__(self, look: Callable[[], None], seconds: float = LOOK_SECONDS) -> None:
        self._look = look
        self._seconds = seconds
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="models", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._closed.wait(self._seconds):
            try:
                self._look()
            except (ConfigError, BundleError, SQLAlchemyError, OSError) as error:
                log.warning("models stay as they are: %s", error)
            except Exception:  # this thread's end would go unseen, and no model would change any more
                log.exception("models stay as they are")
