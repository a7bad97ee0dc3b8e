"""The service: a Celery worker whose threads share the models of one device."""

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
from worker.memory import limit_memory, share_heaps
from worker.models.rollout import PollingThread, Rollout
from worker.models.serving import ServedModels
from worker.observe import endpoint, logs, tracing
from worker.observe.health import Health
from worker.observe.metrics import DEAD_LETTERS, LEASE_RENEWALS, RETURNED_TO_QUEUE
from worker.pipeline import TrackPipeline
from worker.queue import event_loop
from worker.queue.broker import QUEUES, WORKER_TIMEOUT_SECONDS, check_broker, redis_client, unacked_index_key
from worker.queue.celery_app import celery_app
from worker.queue.dead_letters import install_validation
from worker.queue.delivery import log_track_id, observe_delivery
from worker.queue.gauges import overdue_gauge, update_queue_gauges
from worker.queue.lease import LeaseRenewer
from worker.queue.status import QueueMonitor
from worker.settings import BrokerSettings, WorkerSettings

log = logging.getLogger(__name__)

UNEXPECTED_ERROR_SECONDS = 1.0
"""Wait before a job is returned to the queue after an unexpected error, because it may be delivered again at
once."""


def run_worker(settings: WorkerSettings) -> int:
    """Process jobs until a signal stops the worker. Return the exit code.

    On SIGTERM the worker finishes its jobs and takes no new ones. If the settings do not work,
    raises ConfigError or BundleError before the first job.
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
        limit_draining(settings.drain_seconds)
        if settings.max_memory_bytes:
            limit_memory(settings.max_memory_bytes)
        _register_task(app, pipeline, leases)
        event_loop.attach_health(app, health)
        app.conf.worker_disable_prefetch = True
        # Celery's command line is not used, because it does not return how the worker ended.
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
        if state.should_stop == EX_FAILURE:  # Ctrl-C, which Celery counts as a failure
            return 128 + signal.SIGINT
        return int(worker.exitcode or 0)


def _register_task(app: Celery, pipeline: TrackPipeline, leases: LeaseRenewer) -> None:
    @app.task(name=TASK_NAME, bind=True)
    def classify_track(task: "Task[Any, Any]", /, *args: Any, **message: Any) -> None:
        request: Any = task.request
        received = {"args": args, **message} if args else message
        with log_track_id(received):
            try:
                with observe_delivery(request, received), leases.hold(request.properties["delivery_tag"]):
                    pipeline.process(received, bool((request.delivery_info or {}).get("redelivered")))
            except TryLater as error:
                log.warning("returned to the queue, another worker may receive it at once: %s", error)
                RETURNED_TO_QUEUE.inc()
                raise Reject(error, requeue=True) from error
            except Exception as error:  # otherwise Celery acknowledges the job, which is then lost
                log.exception(
                    "returned to the queue in %g s, after an unexpected error", UNEXPECTED_ERROR_SECONDS
                )
                RETURNED_TO_QUEUE.inc()
                time.sleep(UNEXPECTED_ERROR_SECONDS)
                raise Reject(error, requeue=True) from error


def limit_draining(seconds: float) -> None:
    """Exit `seconds` after the shutdown of the worker starts.

    Unfinished jobs are delivered to other workers after the visibility timeout.
    """

    def end() -> None:
        log.warning(
            "jobs are unfinished after COGENRE_DRAIN_SECONDS (%g): the worker exits, and other workers "
            "receive these jobs after COGENRE_VISIBILITY_TIMEOUT",
            seconds,
        )
        os._exit(os.EX_TEMPFAIL)

    def start(**_: object) -> None:
        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()

    worker_shutting_down.connect(start, weak=False)


@contextmanager
def open_pipeline(settings: WorkerSettings, health: Health) -> Iterator[TrackPipeline]:
    """Yield a pipeline with warm models and decode processes, connected to S3 and the catalog.

    Raises ConfigError, BundleError.
    """
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
            raise ConfigError(f"no decode process starts: {error}") from error
        stack.callback(decoders.close)
        store = ObjectStore(
            settings, connections=settings.concurrency, retry_seconds=settings.transient_seconds
        )
        store.check_buckets()
        models = ServedModels()
        stack.callback(models.close)
        rollout = Rollout(settings, engine, models, health)
        rollout.update()
        polling = PollingThread(rollout.update)
        stack.callback(polling.close)
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
    """Yield a renewer of leases that stops when the context ends."""
    client = redis_client(settings, WORKER_TIMEOUT_SECONDS)
    leases = LeaseRenewer(
        client, unacked_index_key(settings.deployment), settings.visibility_timeout, LEASE_RENEWALS.inc
    )
    try:
        yield leases
    finally:
        leases.close()
