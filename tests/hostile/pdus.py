"""Hostile PDUs, by kind: what to write to the DICOM port before, in and after the negotiation of an association."""

import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.hostile.elements import Elements
from tests.hostile.objects import MARK, TEXTS, uid_of
from tests.hostile.wire import (
    ABORT,
    AC,
    C_STORE,
    C_STORE_RSP,
    COMMAND,
    DATA,
    NO_DATA_SET,
    RELEASE_RP,
    RELEASE_RQ,
    RJ,
    RQ,
    command,
    context,
    fragments,
    item,
    pdu,
    pdv,
    request,
    with_length,
)

STORAGE = ComputedRadiographyImageStorage
CONTEXT = context(1, STORAGE, [ExplicitVRLittleEndian])
LARGEST = 1 << 20
REQUESTS = (0x0010, 0x0020, 0x0021, 0x0030, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x0FFF)
"""C-GET, C-FIND, C-MOVE, C-ECHO, N-EVENT-REPORT, N-GET, N-SET, N-ACTION, N-CREATE, N-DELETE and C-CANCEL."""


@dataclass(frozen=True)
class Attack:
    """What is written.

    Attributes:
        kind: of it.
        associated: whether an association is negotiated first.
        content: written then.
        ending: "wait" for an answer, "close" at once, or "reset".
    """

    kind: str
    associated: bool
    content: bytes
    ending: str = "wait"


Maker = Callable[[random.Random], tuple[bool, bytes, str]]


def made(number: int) -> Attack:
    """The attack of this number; kinds take turns."""
    kind = list(KINDS)[number % len(KINDS)]
    associated, content, ending = KINDS[kind](random.Random(number))
    return Attack(kind, associated, content, ending)


def _noise(rng: random.Random) -> tuple[bool, bytes, str]:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200)
    http = f"POST /studies HTTP/1.1\r\nHost: {MARK}\r\n\r\n".encode()
    return False, rng.choice((hello, http, b"\0", bytes(6), rng.randbytes(400))), rng.choice(("wait", "close"))


def _changed_request(rng: random.Random) -> tuple[bool, bytes, str]:
    content = bytearray(pdu(RQ, request(CONTEXT)))
    for _ in range(rng.choice((1, 2, 8))):
        content[rng.randrange(6, len(content))] = rng.randrange(256)
    return False, bytes(content), "wait"


def _lying_request(rng: random.Random) -> tuple[bool, bytes, str]:
    lie = rng.choice((0, 1, 3, 0x7FFF, 0xFFFF))
    user = item(0x51, struct.pack(">L", rng.choice((0, 1, 7, 0xFFFFFFFF))), rng.choice((None, lie)))
    inside = item(0x30, STORAGE.encode(), lie) + item(0x40, ExplicitVRLittleEndian.encode(), rng.choice((None, lie)))
    contexts = item(0x20, bytes([rng.randrange(256), 0, 0, 0]) + inside, rng.choice((None, lie)))
    content = request(rng.choice((CONTEXT, contexts)), rng.choice((None, user)), version=rng.choice((0, 1, 0xFFFF)))
    length = rng.choice((None, len(content) - 1, len(content) + 9, 68, 0))
    return False, pdu(RQ, content, length), rng.choice(("wait", "close"))


def _crowded_request(rng: random.Random) -> tuple[bool, bytes, str]:
    """As large as a request may be, and larger."""
    match rng.randrange(6):
        case 0:
            contexts = b"".join(
                context(n % 256, STORAGE, [ExplicitVRLittleEndian]) for n in range(rng.choice((128, 4000)))
            )
            return False, pdu(RQ, request(contexts)), "wait"
        case 1:
            one = context(1, STORAGE, [f"1.2.{n}" for n in range(6000)][: rng.choice((500, 6000))])
            return False, pdu(RQ, request(one)), "wait"
        case 2:  # User Identity, SOP Class Extended Negotiation, Asynchronous Operations, SCP/SCU Role Selection
            kinds = (0x58, 0x56, 0x53, 0x54, 0x57, 0x59, 0xEE)
            user = b"".join(item(rng.choice(kinds), rng.randbytes(rng.choice((0, 4, 60)))) for _ in range(700))
            return False, pdu(RQ, request(CONTEXT, user)), "wait"
        case 3:
            text = rng.choice(TEXTS).encode()[:64]
            return (
                False,
                pdu(RQ, request(context(1, text.decode("latin-1").encode("ascii", "replace").decode(), ["1"]))),
                "wait",
            )
        case 4:
            title = rng.choice((" " * 16, "\0" * 16, "\\\x1b[2J", "RADIOLOG\r\n"))
            return False, pdu(RQ, request(CONTEXT, calling=title)), "wait"
    return False, pdu(RQ, request(CONTEXT * 20_000)), "wait"


def _wrong_order(rng: random.Random) -> tuple[bool, bytes, str]:
    kinds = (0, AC, RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT, 8, 0x41, 0xFF)
    body = rng.choice((b"", bytes(4), rng.randbytes(80), pdv(1, 3, b"x")))
    first = pdu(rng.choice(kinds), body)
    return rng.random() < 0.6, first + rng.choice((b"", first, pdu(RQ, request(CONTEXT)))), "wait"


def _huge_lengths(rng: random.Random) -> tuple[bool, bytes, str]:
    length = rng.choice((0xFFFFFFFF, 0x80000000, LARGEST + 1, LARGEST - 1))
    ending = rng.choice(("wait", "close"))
    return rng.random() < 0.5, pdu(rng.choice((RQ, DATA, ABORT)), rng.randbytes(100), length), ending


def _lying_values(rng: random.Random) -> tuple[bool, bytes, str]:
    """Presentation data values that do not fit, or are of no context."""
    wanted = rng.choice((0, 1, 2, 3, 0xFFFFFFFF, 0x7FFFFFFF, 100))
    one = pdv(rng.choice((0, 1, 2, 3, 255)), rng.randrange(256), rng.randbytes(20), rng.choice((None, wanted)))
    return True, pdu(DATA, rng.choice((b"", one, one * 50, one[:5], bytes(4)))) * rng.choice((1, 20)), "wait"


def _changed_command(rng: random.Random) -> tuple[bool, bytes, str]:
    content = bytearray(command(C_STORE, NO_DATA_SET))
    for _ in range(rng.choice((1, 2, 8))):
        content[rng.randrange(len(content))] = rng.randrange(256)
    if rng.random() < 0.3:
        del content[rng.randrange(len(content)) :]
    return True, b"".join(fragments(1, bytes(content), 1)), "wait"


def _odd_command(rng: random.Random) -> tuple[bool, bytes, str]:
    """Requests of other services, responses that nobody asked for, elements that are missing or far too long."""
    pieces = {
        0x00000002: COMMAND.element(0x00000002, "UI", rng.choice((STORAGE.encode(), b"1.2", MARK.encode() * 900, b""))),
        0x00000100: COMMAND.number(
            0x00000100, rng.choice((*REQUESTS, C_STORE, C_STORE_RSP, 0xFFFF, 0, 0x8FFF, 0x8110))
        ),
        0x00000110: COMMAND.number(0x00000110, rng.choice((0, 1, 65535))),
        0x00000120: COMMAND.number(0x00000120, 1),
        0x00000600: COMMAND.element(0x00000600, "AE", rng.choice(TEXTS).encode()[:200]),
        0x00000800: COMMAND.number(0x00000800, rng.choice((NO_DATA_SET, 1, 0))),
        0x00000900: COMMAND.number(0x00000900, rng.choice((0, 0xFF00))),
        0x00001000: COMMAND.element(0x00001000, "UI", rng.choice(TEXTS).encode()[:1000]),
        0x00001008: COMMAND.number(0x00001008, 1),
    }
    for tag in rng.sample(list(pieces), rng.choice((0, 1, 4))):
        del pieces[tag]
    content = b"".join(pieces[tag] for tag in sorted(pieces))
    lying = COMMAND.element(0, "UL", struct.pack("<L", rng.choice((0, 1, 0xFFFFFFFF)))) + content
    written = b"".join(fragments(1, rng.choice((with_length(content), lying, content)), 1))
    return True, written + rng.choice((b"", b"".join(fragments(1, Elements().image(uid=uid_of(rng)))))), "wait"


def _wrong_fragments(rng: random.Random) -> tuple[bool, bytes, str]:
    whole, dataset = command(C_STORE), Elements().image(uid=uid_of(rng))
    match rng.randrange(6):
        case 0:  # a data set without a command
            content = b"".join(fragments(1, dataset)) * rng.choice((1, 30))
        case 1:  # a command without an end
            content = pdu(DATA, pdv(1, 1, rng.randbytes(12_000))) * rng.choice((1, 30))
        case 2:  # two commands, or many
            content = b"".join(fragments(1, whole, 1)) * rng.choice((2, 30))
        case 3:  # a data set that has none by its command
            content = b"".join([*fragments(1, command(C_STORE, NO_DATA_SET), 1), *fragments(1, dataset)])
        case 4:  # a data set in a thousand fragments, many of them empty
            pieces = [pdu(DATA, pdv(1, 0, dataset[at : at + 1]) + pdv(1, 0, b"")) for at in range(len(dataset))]
            content = b"".join([*fragments(1, whole, 1), *pieces, pdu(DATA, pdv(1, 2, b""))])
        case _:  # command and data set in contexts of different ids
            content = b"".join([*fragments(1, whole, 1), *fragments(rng.choice((3, 0, 255)), dataset)])
    return True, content, "wait"


def _broken_off(rng: random.Random) -> tuple[bool, bytes, str]:
    dataset = Elements().image(pixels=bytes(60_000), uid=uid_of(rng))
    whole = b"".join([*fragments(1, command(C_STORE), 1), *fragments(1, dataset)])
    cut = whole[: rng.randrange(len(whole))]
    end = rng.choice((b"", pdu(ABORT, bytes(4)), pdu(RELEASE_RQ, bytes(4)), pdu(RQ, request(CONTEXT))))
    return True, cut + end, rng.choice(("close", "reset"))


def _implicit(rng: random.Random) -> tuple[bool, bytes, str]:
    """An association for a syntax, and data sets in another, request after request without a wait."""
    dataset = Elements(ImplicitVRLittleEndian).image(uid=uid_of(rng))
    one = b"".join([*fragments(1, command(C_STORE, number=rng.choice((0, 1, 65535))), 1), *fragments(1, dataset)])
    return True, one * rng.choice((2, 12)), rng.choice(("wait", "reset"))


KINDS: Mapping[str, Maker] = {
    "no DICOM": _noise,
    "changed request": _changed_request,
    "lying request": _lying_request,
    "crowded request": _crowded_request,
    "wrong order": _wrong_order,
    "huge lengths": _huge_lengths,
    "lying data values": _lying_values,
    "changed command": _changed_command,
    "odd command": _odd_command,
    "wrong fragments": _wrong_fragments,
    "broken off": _broken_off,
    "no wait for answers": _implicit,
}
