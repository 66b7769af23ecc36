"""Who may store, and by what name the log knows them: bearer tokens (RFC 6750), client certificates, this machine."""

import hmac
from collections.abc import Mapping

from starlette.requests import HTTPConnection

from producers.values import plain
from radiolog.settings import Settings

CERTIFICATE_NAME = "certificate_name"
"""Under this name a connection's state has the common name of the client's certificate."""


class Access:
    """Knows peers by their tokens, if the site has given out any."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        """Takes each peer's token by the peer's name."""
        self._tokens = {name: token.encode() for name, token in tokens.items()}

    @classmethod
    def from_settings(cls, settings: Settings) -> "Access":
        """By RADIOLOG_STOW_TOKENS."""
        return cls(settings.stow_peers)

    def peer(self, request: HTTPConnection) -> str | None:
        """The name of who asks; None if they may not."""
        if self._tokens:
            return self._holder(request.headers.get("authorization", ""))
        certificate = str(request.scope.get("state", {}).get(CERTIFICATE_NAME, ""))
        return plain(certificate) or (request.client.host if request.client is not None else "")

    def challenge(self, request: HTTPConnection) -> str:
        """WWW-Authenticate of the answer to who may not."""
        wrong = "authorization" in request.headers
        return 'Bearer realm="radiolog"' + (', error="invalid_token"' if wrong else "")

    def _holder(self, authorization: str) -> str | None:
        scheme, _, shown = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        token, holder = shown.strip().encode("utf-8", "replace"), None
        for name, known in self._tokens.items():  # all of them, so that the time taken tells nothing
            if hmac.compare_digest(token, known):
                holder = name
        return holder
