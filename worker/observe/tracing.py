"""OpenTelemetry spans: one a job, and in it one a stage. Without the extra `otel` there are none.

A trace goes on from the producer's, where the message carries a W3C `traceparent`. Spans are sent where
OpenTelemetry's own variables say, such as `OTEL_EXPORTER_OTLP_ENDPOINT`; where none does, none are recorded.
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

COLLECTOR = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace_id>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def set_up() -> None:
    """Record spans, if a variable names a collector to send them to."""
    if not any(map(os.environ.get, COLLECTOR)):
        return
    if not INSTALLED:
        log.warning("no spans are sent: the collector is named, the extra `otel` is not installed")
        return
    name = os.environ.get("OTEL_SERVICE_NAME", "cogenre")
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def span(stage: str) -> AbstractContextManager[object]:
    """Around a stage of a job. An error that leaves it is recorded with it."""
    return trace.get_tracer("cogenre").start_as_current_span(stage) if INSTALLED else nullcontext()


@contextmanager
def job_span(track_id: str, traceparent: object) -> Iterator[str | None]:
    """Around a job, as a part of the producer's trace; yields the trace's id, if there is a trace."""
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
