"""Laws of taking bodies apart: the split of the bytes into chunks says nothing, and nothing breaks the parser."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers.stow.faults import RequestFault
from producers.stow.media_types import payload, report_type
from producers.stow.multipart import PART_HEADER_BYTES, PART_HEADERS, Begin, Data, End, Event, Related, Single

BOUNDARY = b"bound-ary"
#: Content that looks like the beginning of a boundary, as far as it may.
content = (
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [b"\r\n", b"\r", b"\n", b"--", b"\r\n--", b"\r\n--bound", b"\r\n--bound-arY", b"--bound-ary"]
            ),
        ),
        max_size=8,
    )
    .map(b"".join)
    .filter(lambda part: b"\r\n--" + BOUNDARY not in b"\r\n" + part + b"\r\n")
)
bodies = st.lists(content, min_size=1, max_size=4)
hostile = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [
                b"--bound-ary\r\n",
                b"\r\n--bound-ary\r\n",
                b"\r\n--bound-ary--\r\n",
                b"\r\n--bound-ary--",
                b"Content-Type: application/dicom\r\n",
                b"Content-Type: multipart/related; boundary=bound-ary\r\n\r\n",
                b": \r\n",
                b"\r\n\r\n",
                b"\0" * 50,
                b"X: " + b"y" * PART_HEADER_BYTES,
                b"X: y\r\n" * (PART_HEADERS + 1),
            ]
        ),
    ),
    max_size=12,
).map(b"".join)


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(at)]


def taken(body: Related | Single, chunks: Sequence[bytes]) -> tuple[list[tuple[dict[str, str], bytes]], bool]:
    """The complete parts with their headers, and whether the body is whole."""
    parts: list[tuple[dict[str, str], bytes]] = []
    current: tuple[dict[str, str], list[bytes]] | None = None

    def take(events: Iterable[Event]) -> None:
        nonlocal current
        for event in events:
            match event:
                case Begin(headers):
                    current = (headers, [])
                case Data(piece):
                    assert current is not None
                    current[1].append(bytes(piece))
                case End():
                    assert current is not None
                    parts.append((current[0], b"".join(current[1])))
                    current = None

    try:
        for chunk in chunks:
            take(body.feed(chunk))
        take(body.finish())
    except RequestFault:
        return parts, False
    return parts, True


def header(text: str) -> str:
    """Whatever may stand in a header."""
    return text.encode("latin-1", "ignore").decode("latin-1")


def status_of(call: Callable[[], object]) -> int | None:
    try:
        call()
    except RequestFault as fault:
        return fault.status
    return None


@given(bodies, st.lists(st.integers(0, 10_000), max_size=12), st.sampled_from([b"", b"\r\n", b"\r\nan epilogue"]))
def test_parts_are_what_was_sent_however_they_come(parts: list[bytes], cuts: list[int], epilogue: bytes) -> None:
    head = b"Content-Type: application/dicom\r\nContent-Location: there\r\n\r\n"
    body = b"".join(b"--" + BOUNDARY + b"\r\n" + head + part + b"\r\n" for part in parts)
    body += b"--" + BOUNDARY + b"--" + epilogue
    headers = {"content-type": "application/dicom", "content-location": "there"}
    assert taken(Related(BOUNDARY), split(body, cuts)) == ([(headers, part) for part in parts], True)


@example(body=b"\n\0--bound-ary--", cuts=[])
@given(hostile, st.lists(st.integers(0, 10_000), max_size=12))
def test_a_hostile_body_has_the_same_parts_however_it_comes(body: bytes, cuts: list[int]) -> None:
    whole = taken(Related(BOUNDARY), [body])
    assert taken(Related(BOUNDARY), split(body, cuts)) == whole
    assert taken(Related(BOUNDARY), [body[at : at + 1] for at in range(len(body))]) == whole


@given(st.binary(min_size=1), st.lists(st.integers(0, 10_000), max_size=12))
def test_a_body_that_is_one_instance(body: bytes, cuts: list[int]) -> None:
    assert taken(Single(), split(body, cuts)) == ([({}, body)], True)
    assert taken(Single(), []) == ([], False)


@given(st.text(), st.text(max_size=20))
def test_content_types_of_any_kind_are_taken_or_refused(content_type: str, encoding: str) -> None:
    for text in (content_type, f"multipart/related; boundary={content_type}"):
        assert status_of(lambda text=text: payload(header(text), encoding)) in {None, 400, 415}


@given(st.lists(st.text()))
def test_accept_of_any_kind_is_met_or_not(headers: list[str]) -> None:
    assert status_of(lambda: report_type(map(header, headers))) in {None, 406}


@pytest.mark.parametrize("end", [b"--bound-ary-- \r\n", b"--bound-ary--\r\n\r\n", b"--bound-ary--"])
def test_ends(end: bytes) -> None:
    assert taken(Related(BOUNDARY), [b"--bound-ary\r\n\r\nx\r\n" + end])[0] == [({}, b"x")]
