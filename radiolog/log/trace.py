"""Trace context in record headers, so that one image's way can be followed (W3C Trace Context, level 2).

Each event carries `traceparent` and, where the sender had one, `tracestate`. An adapter begins a trace; whatever is
derived from an event goes on in its trace, as a span of its own. Logs name both, beside the event's id.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
LONGEST_STATE = 512
SAMPLED = 1

Header = tuple[str, str | bytes | None]

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NOTHING = re.compile(r"0+")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace.

    Attributes:
        trace_id: 16 bytes, lower case hexadecimal: the image's way.
        span_id: 8 bytes, lower case hexadecimal: one step of it.
        flags: the lowest bit says that the trace is recorded.
        state: what other systems have put beside it, passed on as it is.
    """

    trace_id: str
    span_id: str
    flags: int = SAMPLED
    state: str | None = None

    @classmethod
    def begin(cls) -> "TraceContext":
        """A new trace, drawn at random as section 2.2.2.3 asks."""
        return cls(secrets.token_hex(16), secrets.token_hex(8))

    @classmethod
    def of(cls, headers: Iterable[Header] | Mapping[str, str | bytes | None] | None) -> "TraceContext | None":
        """What a record's headers say; None where they say nothing, or nothing valid (section 2.2.2)."""
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        texts = {name.lower(): _text(value) for name, value in pairs}
        found = _PARENT.fullmatch(texts.get(TRACEPARENT, ""))
        if found is None:
            return None
        version, trace_id, span_id, flags, rest = found.groups()
        if version == "ff" or (version == "00" and rest) or _NOTHING.fullmatch(trace_id) or _NOTHING.fullmatch(span_id):
            return None
        state = texts.get(TRACESTATE, "")
        return cls(trace_id, span_id, int(flags, 16), state if 0 < len(state) <= LONGEST_STATE else None)

    def child(self) -> "TraceContext":
        """The next step of the same trace."""
        return replace(self, span_id=secrets.token_hex(8))

    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """As record headers."""
        parent = f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"
        state = ((TRACESTATE, self.state.encode()),) if self.state else ()
        return ((TRACEPARENT, parent.encode()), *state)


def _text(value: str | bytes | None) -> str:
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    return value or ""
