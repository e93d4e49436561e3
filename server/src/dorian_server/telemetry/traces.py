"""OpenTelemetry: a span for each call, on the caller's trace, and within it one for each stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dorian_server.domain.errors import StartupError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_SERVICE = "dorian-server"


class Traces:
    """Spans, handed to ``provider``, which ``close`` shuts down."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(_SERVICE)

    @contextmanager
    def call(self, service: str, method: str, metadata: Mapping[str, str]) -> Iterator[None]:
        """Open the span of a call, whose ``metadata`` may name the trace that it belongs to."""
        from opentelemetry import propagate, trace

        names = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
        parent = propagate.extract(metadata)
        with self._tracer.start_as_current_span(
            f"{service}/{method}",
            parent,
            trace.SpanKind.SERVER,
            names,
            record_exception=False,
            set_status_on_exception=False,
        ):
            yield

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Open the span of a stage, in that of the call that this thread works on."""
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False):
            yield

    def set_status(self, code: str) -> None:
        """Set the status that the call of this thread ends with."""
        from opentelemetry import trace

        span = trace.get_current_span()
        span.set_attribute("rpc.grpc.status_code", code)
        if code != "OK":
            span.set_status(trace.StatusCode.ERROR, code)

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()


def open_traces(endpoint: str) -> Traces:
    """Return traces that go to the OTLP collector at ``endpoint``, as http://collector:4317.

    Raises:
        StartupError: The extra ``traces`` is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        message = f"traces need OpenTelemetry, which is not installed ({error}): pip install 'dorian-server[traces]'"
        raise StartupError(message) from error
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: _SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http:"))))
    return Traces(provider)
