"""Keyed pseudonyms: whoever lacks the site's secret can neither reverse nor rebuild them.

Each is an HMAC-SHA-256 (RFC 2104) of its kind and the original, so the same original has the same pseudonym at any
time, from any device, in any process, without a table to keep.
"""

import hmac
from base64 import b32encode

MAX_SHIFT_DAYS = 3650
TOKEN_BYTES = 10

_VERSION_MASK, _VERSION = 0xF << 76, 8 << 76
_VARIANT_MASK, _VARIANT = 0x3 << 62, 0x2 << 62


class Pseudonyms:
    """The pseudonyms of one site."""

    def __init__(self, key: bytes) -> None:
        if len(key) < 32:
            raise ValueError(f"the key of pseudonyms needs at least 32 bytes, this one has {len(key)}")
        self._key = key

    def patient(self, patient_id: str, issuer: str = "") -> str:
        """The token of the patient that `issuer` knows by `patient_id`: 16 characters, valid as an LO or SH value."""
        return self._token("patient", patient_id.strip(), issuer.strip())

    def unnamed_patient(self, study_uid: str) -> str:
        """The token of a patient without an ID: one per study, since strangers must not become one person."""
        return self._token("study", study_uid)

    def uid(self, uid: str) -> str:
        """The UID that stands for `uid`: 2.25 and a version 8 UUID as a decimal (PS3.5 section B.2, RFC 9562)."""
        number = int.from_bytes(self._digest("uid", uid)[:16], "big")
        number = number & ~(_VERSION_MASK | _VARIANT_MASK) | _VERSION | _VARIANT
        return f"2.25.{number}"

    def shift_days(self, patient: str) -> int:
        """How many days this patient's dates move back, 1 to 3650 (PS3.15 section E.3.6); `patient` is the token."""
        return 1 + int.from_bytes(self._digest("days", patient)[:8], "big") % MAX_SHIFT_DAYS

    def _token(self, *parts: str) -> str:
        return b32encode(self._digest(*parts)[:TOKEN_BYTES]).decode()

    def _digest(self, *parts: str) -> bytes:
        # Lengths go first, so that no two lists of parts run together into the same message.
        message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
        return hmac.digest(self._key, message, "sha256")
