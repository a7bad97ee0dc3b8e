"""Records OpenTelemetry spans: one per job, with a child per stage. Needs the extra `otel`.

A message with a W3C `traceparent` continues the producer's trace. Spans are sent to the collector that an
environment variable of OpenTelemetry names, such as `OTEL_EXPORTER_OTLP_ENDPOINT`. If none is set, no spans
are recorded.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

try:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    INSTALLED = True
except ModuleNotFoundError:
    INSTALLED = False

log = logging.getLogger(__name__)

COLLECTOR_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace_id>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def set_up() -> None:
    """Record spans and send them, if one of `COLLECTOR_VARIABLES` names a collector."""
    if not any(map(os.environ.get, COLLECTOR_VARIABLES)):
        return
    if not INSTALLED:
        log.warning(
            "no spans are sent: %s is set but the extra `otel` is missing (pip install 'cogenre[otel]')",
            next(filter(os.environ.get, COLLECTOR_VARIABLES)),
        )
        return
    name = os.environ.get("OTEL_SERVICE_NAME", "cogenre")
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def span(stage: str) -> AbstractContextManager[object]:
    """Return a context manager that records a stage of a job as a span, with any exception that leaves it."""
    return trace.get_tracer("cogenre").start_as_current_span(stage) if INSTALLED else nullcontext()


@contextmanager
def job_span(track_id: str, traceparent: object) -> Iterator[str | None]:
    """Record a job as a span while the context is open. Yield the trace id, None without a trace.

    `traceparent` is the message's header; the span becomes part of the producer's trace if it is valid.
    """
    parent = TRACEPARENT.fullmatch(traceparent) if isinstance(traceparent, str) else None
    if not INSTALLED:
        yield parent["trace_id"] if parent else None
        return
    with trace.get_tracer("cogenre").start_as_current_span(
        "classify_track",
        TraceContextTextMapPropagator().extract({"traceparent": parent[0]} if parent else {}),
        kind=trace.SpanKind.CONSUMER,
        attributes={"cogenre.track_id": track_id},
    ) as started:
        trace_id = started.get_span_context().trace_id
        yield trace.format_trace_id(trace_id) if trace_id else None
