"""A production worker: Celery's threads pool around the models on one device."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject
from celery.platforms import EX_FAILURE
from celery.signals import worker_shutting_down
from celery.worker import state

from media.cpus import available_cpus
from media.decoders import DecoderPool
from media.errors import DecoderUnavailable
from schemas.errors import ConfigError
from schemas.jobs import TASK_NAME
from storage.objects import ObjectStore
from worker.catalog.connect import connect_migrated
from worker.catalog.jobs import JobCatalog
from worker.errors import TryLater
from worker.memory import bound_memory, share_heaps
from worker.models.rollout import BundleFolder, Follower
from worker.models.serving import ServedModels
from worker.observe import endpoint, logs, tracing
from worker.observe.health import Health
from worker.observe.metrics import DEAD_LETTERS, LEASE_RENEWALS, RETURNED_TO_QUEUE
from worker.pipeline import TrackPipeline
from worker.queue import event_loop
from worker.queue.broker import QUEUES, WORKER_TIMEOUT_SECONDS, check_broker, redis_client, unacked_index_key
from worker.queue.celery_app import celery_app
from worker.queue.dead_letters import install_validation
from worker.queue.delivery import observe_delivery
from worker.queue.gauges import overdue_gauge, update_queue_gauges
from worker.queue.lease import LeaseRenewer
from worker.queue.status import QueueMonitor
from worker.settings import BrokerSettings, WorkerSettings

log = logging.getLogger(__name__)

UNFORESEEN_SECONDS = 1.0
"""Before a job is handed back for an error that nobody foresaw: it may come again at once."""


def run_worker(settings: WorkerSettings) -> int:
    """Label tracks until a signal ends it; returns the exit code.

    SIGTERM finishes the tracks under way and takes no more. Raises ConfigError, BundleError before the
    first job is taken, where the settings cannot work.
    """
    share_heaps()
    logs.set_up(settings.log_format)
    tracing.set_up()
    check_broker(settings)
    install_validation(settings.deployment, DEAD_LETTERS.inc)
    health, monitor = Health(), QueueMonitor(settings)
    app = celery_app(settings)
    with (
        endpoint.serve_http(settings.http_port, health, lambda: update_queue_gauges(monitor)),
        open_pipeline(settings, health) as pipeline,
        open_leases(settings) as leases,
    ):
        health.set_warm()
        bound_draining(settings.drain_seconds)
        if settings.max_memory_bytes:
            bound_memory(settings.max_memory_bytes)
        _register_task(app, pipeline, leases)
        event_loop.attach_health(app, health)
        app.conf.worker_disable_prefetch = True
        # Not by its command line, which says nothing of how the worker ended.
        worker = app.Worker(
            pool="threads",
            concurrency=settings.concurrency,
            queues=QUEUES,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()
        if state.should_stop == EX_FAILURE:  # Ctrl-C, which Celery takes for a failure
            return 128 + signal.SIGINT
        return int(worker.exitcode or 0)


def _register_task(app: Celery, pipeline: TrackPipeline, leases: LeaseRenewer) -> None:
    @app.task(name=TASK_NAME, bind=True)
    def classify_track(task: "Task[Any, Any]", /, *args: Any, **message: Any) -> None:
        request: Any = task.request
        received = {"args": args, **message} if args else message
        try:
            with observe_delivery(request, received), leases.hold(request.properties["delivery_tag"]):
                pipeline.process(received, bool((request.delivery_info or {}).get("redelivered")))
        except TryLater as error:
            log.warning("back to the queue: %s", error)
            RETURNED_TO_QUEUE.inc()
            raise Reject(error, requeue=True) from error
        except Exception as error:  # Celery would acknowledge the job, and it would be gone
            log.exception("back to the queue, for an error that nobody foresaw")
            RETURNED_TO_QUEUE.inc()
            time.sleep(UNFORESEEN_SECONDS)
            raise Reject(error, requeue=True) from error


def bound_draining(seconds: float) -> None:
    """Once told to end, the worker has so long. Jobs that it leaves come back at the visibility timeout."""

    def end() -> None:
        log.warning("tracks under way took more than %g s to finish: left to others", seconds)
        os._exit(os.EX_TEMPFAIL)

    def start(**_: object) -> None:
        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()

    worker_shutting_down.connect(start, weak=False)


@contextmanager
def open_pipeline(settings: WorkerSettings, health: Health) -> Iterator[TrackPipeline]:
    """Warm models, connected to S3, the decoders and the catalog. Raises ConfigError, BundleError."""
    with ExitStack() as stack:
        engine = connect_migrated(settings, connections=settings.concurrency + 1, bounded=True)
        stack.callback(engine.dispose)
        stack.enter_context(overdue_gauge(engine, QueueMonitor(settings)))
        try:
            decoders = DecoderPool(
                settings.decoders or available_cpus(),
                seconds=settings.decode_seconds,
                memory_bytes=settings.decode_memory_bytes,
            )
        except DecoderUnavailable as error:
            raise ConfigError(f"no decode process can be started: {error}") from error
        stack.callback(decoders.close)
        store = ObjectStore(
            settings, connections=settings.concurrency, retry_seconds=settings.transient_seconds
        )
        store.check()
        models = ServedModels()
        stack.callback(models.close)
        bundles = BundleFolder(settings, engine, models, health)
        bundles.load()
        follower = Follower(bundles.load)
        stack.callback(follower.close)
        yield TrackPipeline(
            models,
            store,
            decoders,
            JobCatalog(engine),
            max_audio_bytes=settings.max_audio_bytes,
            max_attempts=settings.max_attempts,
            retry_seconds=settings.transient_seconds,
            track_seconds=settings.track_seconds,
            windows=settings.windows,
        )


@contextmanager
def open_leases(settings: BrokerSettings) -> Iterator[LeaseRenewer]:
    """Renewed as long as the context lasts."""
    client = redis_client(settings, WORKER_TIMEOUT_SECONDS)
    leases = LeaseRenewer(
        client, unacked_index_key(settings.deployment), settings.visibility_timeout, LEASE_RENEWALS.inc
    )
    try:
        yield leases
    finally:
        leases.close()
