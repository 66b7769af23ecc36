"""The resources of the Studies Service that this adapter has, as an ASGI application (PS3.18 section 10.1).

Starlette and not FastAPI above it: there is neither a JSON body nor a parameter to check, and the body is a stream.
"""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from producers.kept_values import is_uid
from producers.stow import body, media_types
from producers.stow.access import Access
from producers.stow.faults import RequestFault
from producers.stow.instance import Sender
from producers.stow.media_types import Payload
from producers.stow.multipart import Related, Single
from producers.stow.reception import Reception, Storeroom
from producers.stow.report import Report
from radiolog.log.trace import TraceContext
from schemas.events import ImageSource, SourceKind

ADAPTER: Final = "stow"
#: Twice what the log may take to say that it does not answer.
RETRY_SECONDS: Final = 30

log = structlog.get_logger()


def application(room: Storeroom, access: Access, max_bytes: int) -> ASGIApp:
    """The application.

    Args:
        room: where instances go.
        access: who may store.
        max_bytes: largest body of a request.
    """
    store = _Store(room, max_bytes)
    resources = Starlette(
        routes=[
            Route("/studies", store.answer, methods=["POST"]),
            Route("/studies/{study}", store.answer, methods=["POST"]),
        ]
    )
    resources.router.redirect_slashes = False
    return _Door(resources, access)


class _Door:
    """Lets in who may store; nobody else learns so much as which resources there are."""

    def __init__(self, inside: ASGIApp, access: Access) -> None:
        self._inside = inside
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        peer = self._access.peer(request)
        if peer is None:
            refusal = PlainTextResponse(
                "show a token of RADIOLOG_STOW_TOKENS: Authorization: Bearer ...\n",
                HTTPStatus.UNAUTHORIZED,
                {"WWW-Authenticate": self._access.challenge(request)},
            )
            await refusal(scope, receive, send)
            return
        scope["state"] = {**scope.get("state", {}), "peer": peer}
        await self._inside(scope, receive, send)


class _Store:
    """The Store transaction."""

    def __init__(self, room: Storeroom, max_bytes: int) -> None:
        self._room = room
        self._max_bytes = max_bytes

    async def answer(self, request: Request) -> Response:
        """The response to a request; whatever goes wrong, nothing of the request is quoted."""
        try:
            return await self._store(request)
        except RequestFault as fault:
            return _fault(fault)
        except ClientDisconnect:
            log.info("the client went away", peer=request.state.peer)
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it
        except Exception as error:
            log.error("request failed", peer=request.state.peer, error=type(error).__name__)
            return PlainTextResponse("internal error\n", HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _store(self, request: Request) -> Response:
        sender = _sender(request)
        headers = request.headers
        payload = media_types.payload(headers.get("content-type", ""), headers.get("content-encoding", ""))
        kind = media_types.report_type(headers.getlist("accept"))
        limit = self._limit(payload)
        _check_length(request, limit)
        parts = Single() if payload.boundary is None else Related(payload.boundary)
        reception = Reception(self._room, parts, sender)
        report = await reception.receive(body.bounded(_chunks(request), limit))
        return _response(report, kind)

    def _limit(self, payload: Payload) -> int:
        single = self._room.intake.max_received_bytes
        return min(single, self._max_bytes) if payload.boundary is None else self._max_bytes


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk


def _sender(request: Request) -> Sender:
    study = request.path_params.get("study")
    if study is not None and not is_uid(study):
        raise RequestFault(HTTPStatus.BAD_REQUEST, "the study in the URL is not a UID")
    source = ImageSource(kind=SourceKind.STOW_RS, peer=request.state.peer, adapter=ADAPTER)
    return Sender(source, study, TraceContext.of(request.headers))


def _check_length(request: Request, limit: int) -> None:
    """Refuse by Content-Length what is not worth reading.

    Raises:
        RequestFault: 411, there is no body (RFC 9112 section 6.3); or 413, it is larger than `limit` bytes.
    """
    length = request.headers.get("content-length")
    if length is None and "transfer-encoding" not in request.headers:
        raise RequestFault(HTTPStatus.LENGTH_REQUIRED, "the request has no body: send its Content-Length, or chunks")
    if length is not None and int(length) > limit:
        raise body.too_large(limit)


def _response(report: Report, kind: media_types.ReportType) -> Response:
    if not report.outcomes:
        return _plain(report.status, report.message)
    return Response(report.written(kind), report.status, _advice(report.status, report.message), kind)


def _fault(fault: RequestFault) -> Response:
    return _plain(fault.status, str(fault))


def _plain(status: HTTPStatus, message: str) -> Response:
    return PlainTextResponse(f"{message}\n", status, _advice(status, ""))


def _advice(status: HTTPStatus, message: str) -> dict[str, str]:
    """Headers that say what to do: when to send again, and in words what went wrong first (RFC 7234 section 5.5)."""
    advice = {}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        advice["Retry-After"] = str(RETRY_SECONDS)
    if message:
        plain = message.encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")
        advice["Warning"] = f'299 radiolog "{plain}"'
    return advice
