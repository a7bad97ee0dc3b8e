"""All metrics of the worker. docs/metrics.md is generated from this file. Alerts and dashboards use them."""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from worker.errors import Stage

disable_created_metrics()  # an additional series per counter and histogram, which is not used here

TIMED_STAGES = (Stage.OPEN, Stage.FETCH, Stage.DECODE, Stage.TOKENISE, Stage.INFER, Stage.COMMIT)
OUTCOMES = ("catalogued", "skipped", "failed", "postponed")

WAITS = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400)
"""Histogram buckets in seconds: from one track on an idle worker to a backfill job that waits a day."""

# Tracks.
TRACKS = Counter("cogenre_tracks_total", "Finished jobs, by outcome.", ["outcome"])
FAILURES = Counter(
    "cogenre_failures_total",
    "Failed jobs, by stage and error class.",
    ["stage", "error_class"],
)
IN_FLIGHT = Gauge("cogenre_tracks_in_flight", "Jobs that this worker is processing.")
STAGE_SECONDS = Histogram(
    "cogenre_stage_seconds",
    "Seconds that a track spends in a stage, including the wait for a batch. Failed tracks are included.",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
QUEUE_WAIT_SECONDS = Histogram(
    "cogenre_queue_wait_seconds",
    "Seconds from the publication of a job until a worker starts it, by queue.",
    ["queue"],
    buckets=WAITS,
)
ENQUEUE_TO_COMMIT_SECONDS = Histogram(
    "cogenre_enqueue_to_commit_seconds",
    "Seconds from the publication of a job until its labels are committed, by queue.",
    ["queue"],
    buckets=WAITS,
)

# Batches.
BATCH_ROWS = Histogram(
    "cogenre_batch_rows", "Windows in one run of the model.", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
BATCH_WAIT_SECONDS = Histogram(
    "cogenre_batch_wait_seconds",
    "Seconds that a request waits in a batcher before its batch starts. Batchers: inference, writer.",
    ["batcher"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCH_SECONDS = Histogram(
    "cogenre_batch_seconds",
    "Seconds that a batch takes. The rate of the sum is the share of time that the batcher's thread is busy.",
    ["batcher"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

# Delivery.
LEASE_RENEWALS = Counter("cogenre_lease_renewals_total", "Renewed leases of jobs in flight.")
REDELIVERIES = Counter(
    "cogenre_redeliveries_total",
    "Jobs that were delivered again, because the worker that had received them before did not finish them.",
)
RETURNED_TO_QUEUE = Counter(
    "cogenre_returned_to_queue_total",
    "Jobs returned to the queue, because the catalog did not answer or an unexpected error occurred.",
)
DEAD_LETTERS = Counter(
    "cogenre_dead_letters_total", "Messages moved to the dead-letter list, because they could not be decoded."
)

# The broker. All workers of a deployment export the same values, so queries take the maximum.
QUEUE_JOBS = Gauge("cogenre_queue_jobs", "Jobs waiting in a queue of the deployment.", ["queue"])
QUEUE_OLDEST_SECONDS = Gauge(
    "cogenre_queue_oldest_seconds",
    "Seconds since the publication of the next job in a queue of the deployment. 0 if the queue is empty.",
    ["queue"],
)
UNACKED_JOBS = Gauge(
    "cogenre_unacked_jobs", "Jobs in flight in the deployment: delivered to a worker and not finished."
)
DEAD_LETTER_MESSAGES = Gauge(
    "cogenre_dead_letter_messages", "Messages in the dead-letter list of the deployment."
)
OVERDUE_TRACKS = Gauge(
    "cogenre_overdue_tracks",
    "Tracks of the deployment that were not finished in time. `cogenre reconcile` enqueues them again.",
)

# The worker.
MODEL_INFO = Gauge(
    "cogenre_model_info",
    "Always 1. Labels: the loaded model, the provider that it runs on, and the provider that was requested.",
    ["model", "version", "precision", "provider", "requested_provider"],
)
CURRENT_MODEL_SERVED = Gauge(
    "cogenre_current_model_served",
    "1 if this worker serves the current model, whose labels analysts see, else 0.",
)
MODEL_WARM = Gauge(
    "cogenre_model_warm",
    "1 if the model has run once with every input shape, so that the worker takes jobs, else 0.",
)
DRAINING = Gauge("cogenre_draining", "1 while the worker finishes its jobs and takes no new ones, else 0.")
HEARTBEAT_AGE_SECONDS = Gauge(
    "cogenre_heartbeat_age_seconds", "Seconds since the last heartbeat, by thread.", ["thread"]
)

# Series are created at 0, because the rate of a series does not include the event that creates it.
for _stage in TIMED_STAGES:
    STAGE_SECONDS.labels(_stage)
for _outcome in OUTCOMES:
    TRACKS.labels(_outcome)
