from types import SimpleNamespace
from typing import Any

import pytest

from worker.observe import tracing
from worker.observe.logs import TRACE_ID
from worker.queue.delivery import observe_delivery

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


def request(traceparent: object) -> Any:
    return SimpleNamespace(delivery_info={}, headers={"traceparent": traceparent})


@pytest.fixture(scope="module")
def exporter() -> Any:
    pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` is not installed")
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    return memory


@pytest.fixture
def spans(exporter: Any) -> Any:
    exporter.clear()
    return exporter.get_finished_spans


def test_stages_are_children_of_a_job_in_the_producers_trace(spans: Any) -> None:
    with observe_delivery(request(TRACEPARENT), {"track_id": "t1"}):
        assert TRACE_ID.get() == TRACE
        with tracing.span("fetch"):
            pass
        with tracing.span("decode"):
            pass
    fetch, decode, job = spans()
    assert (fetch.name, decode.name, job.name) == ("fetch", "decode", "classify_track")
    assert {f"{span.context.trace_id:032x}" for span in spans()} == {TRACE}
    assert f"{job.parent.span_id:016x}" == PARENT
    assert fetch.parent.span_id == decode.parent.span_id == job.context.span_id
    assert job.attributes == {"cogenre.track_id": "t1"}


def test_an_error_is_recorded_in_the_stages_span_and_raised(spans: Any) -> None:
    with pytest.raises(ValueError, match="broken"), tracing.span("decode"):
        raise ValueError("broken")
    (span,) = spans()
    assert not span.status.is_ok
    assert span.events[0].attributes["exception.type"] == "ValueError"


@pytest.mark.parametrize(
    "traceparent", [None, 7, "", "00-xyz", TRACEPARENT + "\n", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"]
)
def test_a_malformed_traceparent_starts_a_new_trace(spans: Any, traceparent: object) -> None:
    with observe_delivery(request(traceparent), {}):
        trace_id = TRACE_ID.get()
    assert trace_id
    assert trace_id != TRACE
    (job,) = spans()
    assert job.parent is None


def test_without_the_extra_logs_still_have_the_producers_trace_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "INSTALLED", False)
    with observe_delivery(request(TRACEPARENT), {}), tracing.span("fetch"):
        assert TRACE_ID.get() == TRACE
    with observe_delivery(request(None), {}):
        assert TRACE_ID.get() is None


def test_a_collector_without_the_extra_logs_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "INSTALLED", False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    # Celery's test worker, started by other tests of this process, raises the root logger's level.
    with caplog.at_level("WARNING", logger=tracing.log.name):
        tracing.set_up()
    assert "extra `otel`" in caplog.text
