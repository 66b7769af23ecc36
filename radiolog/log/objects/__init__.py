"""Payloads that are too large for an event: content-addressed objects in a folder or in an S3-compatible bucket.

The promises that the log's readers rest on:

1. An object is whole and durable before the event that names it is published.
2. What is read has the hash and the size that its name promises, or it is an error.
3. The collector (`radiolog.log.objects.garbage`) removes only what no retained event names.
"""

from radiolog.log.objects.errors import ObjectAltered, ObjectMissing, ObjectStoreUnavailable
from radiolog.log.objects.store import ObjectStore, StoredObject

__all__ = ["ObjectAltered", "ObjectMissing", "ObjectStore", "ObjectStoreUnavailable", "StoredObject"]
