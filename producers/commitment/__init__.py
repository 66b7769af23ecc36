"""Storage commitment (PS3.4 Annex J, Push Model): a device asks whether its objects are kept, and is told later.

The contract:

1. A request (N-ACTION) is answered with success once it stands in the journal, on disk: it will be reported on, or
   given up with a line in the log, whatever process dies meanwhile.
2. It is decided when the index has read `images` up to the end that the log had after the request came in. So each
   object counts whose storage was acknowledged before, and none that the log does not hold, or holds no more.
3. An object is committed if the log holds one of that SOP Instance UID and that SOP Class UID. The log knows objects by
   pseudonyms, and so does the index; the UIDs that a device asks about stand in the journal alone.
4. The report (N-EVENT-REPORT) goes to the address that the settings have for the device, on an association of its own,
   again and again until the device has answered. It may come twice, where this process died between answer and journal.
5. The index is a cache: it can be deleted, and is read again from the log.

`acceptance` is the acceptors' part, `index` and `clerk` that of the one process above them, `reporter` the way back.
"""
