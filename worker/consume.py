"""A production worker: Celery's threads pool around one model on one device."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from celery import Task
from celery.exceptions import Reject

from schemas.bundle import artefact_sha256
from schemas.jobs import TASK_NAME
from worker.broker import QUEUES, SOCKET_SECONDS, celery_app, unacked_index_key
from worker.catalog.connect import connect_migrated
from worker.catalog.models import register_model
from worker.catalog.tracks import TrackCatalog
from worker.errors import ConfigError, TryLater
from worker.guard import install_guard
from worker.lease import Leases
from worker.model import Model
from worker.settings import BrokerSettings, WorkerSettings
from worker.storage import ObjectStore
from worker.track import Labeller

log = logging.getLogger(__name__)


def run_worker(settings: WorkerSettings) -> int:
    """Label tracks until a signal ends it; returns the exit code.

    SIGTERM finishes the tracks under way and takes no more. Raises ConfigError, BundleError before the
    first job is taken, where the settings cannot work.
    """
    check_broker(settings)
    install_guard(settings.deployment)
    with open_labeller(settings) as labeller, open_leases(settings) as leases:
        app = celery_app(settings)

        @app.task(name=TASK_NAME, bind=True)
        def classify_track(task: "Task[Any, Any]", *args: Any, **message: Any) -> None:
            try:
                with leases.held(_delivery_tag(task)):
                    labeller.label({"args": args, **message} if args else message)
            except TryLater as error:
                log.warning("back to the queue: %s", error)
                raise Reject(error, requeue=True) from error

        arguments = ["worker", "--pool=threads", f"--concurrency={settings.concurrency}",
                     f"--queues={','.join(QUEUES)}", "--disable-prefetch", "--without-gossip",
                     "--without-mingle", "--without-heartbeat", "--loglevel=INFO"]  # fmt: skip
        try:
            app.worker_main(arguments)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 0
    return 0


def _delivery_tag(task: "Task[Any, Any]") -> str:
    properties: Any = task.request.properties
    return str(properties["delivery_tag"])


@contextmanager
def open_labeller(settings: WorkerSettings) -> Iterator[Labeller]:
    """A warm model, connected to S3 and the catalog. Raises ConfigError, BundleError."""
    engine = connect_migrated(settings, connections=settings.concurrency + 1)
    model = Model(settings)
    registered = register_model(engine, model.manifest, artefact_sha256(settings.bundle))
    labeller = Labeller(
        model,
        ObjectStore(settings, connections=settings.concurrency, patience=settings.transient_seconds),
        TrackCatalog(engine, registered, settings.provider, settings.precision),
        max_audio_bytes=settings.max_audio_bytes,
        max_rows=settings.batch_rows,
        capacity=settings.concurrency,
        patience=settings.transient_seconds,
    )
    log.info("model %s on %s is warm", model.manifest.label, settings.provider)
    try:
        yield labeller
    finally:
        labeller.close()
        engine.dispose()


@contextmanager
def open_leases(settings: BrokerSettings) -> Iterator[Leases]:
    """Renewed as long as the context lasts."""
    client = redis.Redis.from_url(settings.broker_url.get_secret_value(), socket_timeout=SOCKET_SECONDS)
    leases = Leases(client, unacked_index_key(settings.deployment), settings.visibility_timeout)
    try:
        yield leases
    finally:
        leases.close()


def check_broker(settings: BrokerSettings) -> None:
    """Raises ConfigError where no Redis answers."""
    try:
        redis.Redis.from_url(settings.broker_url.get_secret_value(), socket_connect_timeout=5).ping()
    except ValueError:
        raise ConfigError("COGENRE_BROKER_URL is not a URL: write redis://:password@host:6379/0") from None
    except redis.RedisError as error:
        raise ConfigError(f"the broker does not answer: {error} (check COGENRE_BROKER_URL)") from None
