"""Every metric of the service. docs/metrics.md is made from this file; alerts and dashboards build on it."""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # a second series for each counter and histogram, which nobody reads

STAGES = ("open", "fetch", "decode", "tokenise", "infer", "commit")
OUTCOMES = ("catalogued", "skipped", "failed", "postponed")

WAITS = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400)
"""From a lone track on an idle worker to a backfill that waits for a day, in seconds."""

# Tracks.
TRACKS = Counter("cogenre_tracks_total", "Jobs that came to their end, by how.", ["outcome"])
FAILURES = Counter(
    "cogenre_failures_total",
    "Jobs that failed, by the stage and the error's class.",
    ["stage", "error_class"],
)
IN_FLIGHT = Gauge("cogenre_tracks_in_flight", "Jobs that this worker has in hand.")
STAGE_SECONDS = Histogram(
    "cogenre_stage_seconds",
    "Seconds that a track spends in a stage, waiting for its batch included; failed ones count too.",
    ["stage"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
QUEUE_WAIT_SECONDS = Histogram(
    "cogenre_queue_wait_seconds",
    "Seconds from a job being published until a worker starts on it, by its queue.",
    ["queue"],
    buckets=WAITS,
)
ENQUEUE_TO_COMMIT_SECONDS = Histogram(
    "cogenre_enqueue_to_commit_seconds",
    "Seconds from a job being published until its labels are committed, by its queue.",
    ["queue"],
    buckets=WAITS,
)

# Batches.
BATCH_ROWS = Histogram(
    "cogenre_batch_rows", "Windows in one run of the model.", buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
BATCH_WAIT_SECONDS = Histogram(
    "cogenre_batch_wait_seconds",
    "Seconds that a request waits for its batch, by who serves it: inference or writer.",
    ["batcher"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCH_SECONDS = Histogram(
    "cogenre_batch_seconds",
    "Seconds that a batch takes; the rate of the sum is the share of time that the server is busy.",
    ["batcher"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

# Delivery.
LEASE_RENEWALS = Counter("cogenre_lease_renewals_total", "Leases of jobs in flight that were renewed.")
REDELIVERIES = Counter(
    "cogenre_redeliveries_total",
    "Jobs received that had been delivered before, to a worker that did not end them.",
)
RETURNED_TO_QUEUE = Counter(
    "cogenre_returned_to_queue_total",
    "Jobs handed back: the catalog did not answer, or an error was not foreseen.",
)
DEAD_LISTED = Counter(
    "cogenre_dead_listed_total", "Messages that could not be decoded and went to the dead list."
)

# The broker, as this worker sees it: every worker of a deployment reports the same, so take the max.
QUEUE_JOBS = Gauge("cogenre_queue_jobs", "Jobs that wait in a queue, of the whole deployment.", ["queue"])
QUEUE_OLDEST_SECONDS = Gauge(
    "cogenre_queue_oldest_seconds",
    "Seconds since the job that is served next in a queue was published, of the whole deployment; 0 = none "
    "waits.",
    ["queue"],
)
UNACKED_JOBS = Gauge("cogenre_unacked_jobs", "Jobs in flight, of the whole deployment.")
DEAD_LIST_MESSAGES = Gauge(
    "cogenre_dead_list_messages", "Messages in the dead list, of the whole deployment."
)
OVERDUE_TRACKS = Gauge(
    "cogenre_overdue_tracks",
    "Tracks that have not come to their end in time and that the reconciler is to enqueue, of the whole "
    "deployment.",
)

# The worker.
MODEL_INFO = Gauge(
    "cogenre_model_info",
    "Always 1: the model that is loaded, what it runs on, and the provider that was asked for.",
    ["model", "version", "precision", "provider", "wanted_provider"],
)
CURRENT_MODEL_SERVED = Gauge(
    "cogenre_current_model_served",
    "1 where this worker serves the model whose labels analysts see, else 0.",
)
MODEL_WARM = Gauge(
    "cogenre_model_warm", "1 once the model has run every shape it will be given, before that 0."
)
DRAINING = Gauge("cogenre_draining", "1 while the worker finishes what it has in hand and takes no more.")
HEARTBEAT_AGE_SECONDS = Gauge(
    "cogenre_heartbeat_age_seconds", "Seconds since a thread last showed that it is not stuck.", ["heart"]
)

# A series that appears with its first event has no rate at that event: these are there from the start.
for _stage in STAGES:
    STAGE_SECONDS.labels(_stage)
for _outcome in OUTCOMES:
    TRACKS.labels(_outcome)
