"""The STOW-RS adapter: DICOM's Store transaction over HTTP (PS3.18 section 10.5), in front of the log.

| module | what it holds |
|---|---|
| `media_types` | what a request says that it carries, and wants back |
| `multipart` | a body, taken apart into instances as it comes |
| `body` | how long, and how much, a body may be |
| `instance` | one instance on its way to the log, and what became of it |
| `reception` | all instances of one request |
| `report` | the answer: a status, and a Store Instances Response Module |
| `access` | who may store, and by what name |
| `app` | the resources, as an ASGI application |
| `connection` | what one connection may cost |
| `adapter` | the server |
"""
