"""Trace context in headers, as W3C Trace Context defines it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiolog.log.trace import TraceContext

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def hexadecimal(digits: int):
    return st.integers(1, 16**digits - 1).map(lambda number: f"{number:0{digits}x}")


@given(hexadecimal(32), hexadecimal(16), st.integers(0, 255), st.none() | st.just("vendor=t61rcWkgMzE"))
def test_what_is_written_is_read(trace_id, span_id, flags, state):
    context = TraceContext(trace_id, span_id, flags, state)
    assert TraceContext.of(context.headers) == context


def test_a_child_stays_in_the_trace():
    parent = TraceContext(TRACE, SPAN, 0, "vendor=1")
    child = parent.child()
    assert (child.trace_id, child.flags, child.state) == (TRACE, 0, "vendor=1")
    assert child.span_id != SPAN
    assert len(child.span_id) == 16


def test_each_beginning_is_a_trace_of_its_own():
    assert len({TraceContext.begin().trace_id for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "parent",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01",  # a later version is read as this one (section 4.1)
        f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
    ],
)
def test_valid_parents(parent):
    assert TraceContext.of([("traceparent", parent.encode())]) == TraceContext(TRACE, SPAN, 1)


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "garbage",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_is_not_valid_is_no_parent(parent):
    assert TraceContext.of([("traceparent", parent.encode())]) is None


@pytest.mark.parametrize("headers", [None, [], {}, [("traceparent", None)], [("traceparent", b"\xff\xfe")]])
def test_no_headers_no_parent(headers):
    assert TraceContext.of(headers) is None


def test_names_are_read_in_any_case_and_from_a_mapping():
    headers = {"TraceParent": f"00-{TRACE}-{SPAN}-00", "TRACESTATE": "vendor=1"}
    assert TraceContext.of(headers) == TraceContext(TRACE, SPAN, 0, "vendor=1")


def test_a_state_that_is_too_long_is_left_out():
    headers = [("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "v=" + "x" * 511)]
    assert TraceContext.of(headers) == TraceContext(TRACE, SPAN, 1)
