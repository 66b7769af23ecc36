"""Rows and positions: both or neither, once, on a real PostgreSQL."""

import asyncio
import itertools
import json
import secrets
from datetime import timedelta
from pathlib import Path
from threading import Thread

import asyncpg
import pytest

from radiolog.log.sink import Advance, PositionMoved, SinkUnavailable, Unstorable
from schemas.events import DeadLetter, DiagnosisStatus
from sinks.errors import DatabaseRefused, NotAuthorised, SchemaMissing, translated
from sinks.migrate import MigrationFailed, dbmate_url, migrate
from sinks.postgres import FindingsSink, IdentitiesSink, PostgresSink
from sinks.queries import Database
from sinks.rows import DEAD_LETTER, Table
from tests.conftest import World

ROOT = Path(__file__).parents[2]
PLACE = ("imaging.diagnoses", 0)


@pytest.fixture
def sink(site):
    with PostgresSink(site.database_url.get_secret_value()) as sink:
        yield sink


@pytest.fixture
def database(site):
    with Database(site.database_url.get_secret_value()) as database:
        yield database


def test_what_is_stored_is_read_back(sink, database, diagnosis):
    event = diagnosis()
    assert sink.positions([PLACE]) == {PLACE: 0}
    sink.store([event], {PLACE: Advance(0, 5)})
    (row,) = database.diagnoses([event.image.event_id])
    (finding,) = row.findings
    assert (row.event_id, row.status, finding.name, finding.probability) == (
        event.event_id,
        "DIAGNOSED",
        "pneumonia",
        0.75,
    )
    assert row.diagnosed_at == event.diagnosed_at
    assert row.geometry == event.geometry
    assert finding.explanation.tolist() == [[0, 255]]
    assert sink.positions([PLACE]) == {PLACE: 5}


def test_an_event_that_comes_again_adds_nothing(sink, database, diagnosis, letter):
    sink.positions([PLACE])
    events = [diagnosis(), diagnosis(), letter(2), letter(2)]
    sink.store(events, {PLACE: Advance(0, 4)})
    sink.store(events, {PLACE: Advance(4, 8)})
    assert len(database.diagnoses([diagnosis().image.event_id])) == 1
    assert len(database.dead_letters([letter(2).image_event_id])) == 1


def test_the_latest_word_on_a_letter_wins_in_any_order(sink, letter):
    """As `radiolog.log.deadletters` folds the topic: one batch or many, and whatever comes twice."""
    hours = [letter().failed_at + timedelta(hours=hour) for hour in range(4)]
    history = [
        letter(),
        letter(retried_at=hours[1]),
        letter(failed_at=hours[2], reason="still too short", offset=9),
        letter(failed_at=hours[2], reason="still too short", offset=9, retried_at=hours[3]),
    ]
    sink.positions([PLACE])
    offset = itertools.count()
    for told in range(1, 5):
        for order in itertools.permutations(history[:told]):
            for batches in ([order], [(one,) for one in order], [order, order[:1]]):
                execute(sink, "delete from dead_letter")
                for batch in batches:
                    at = next(offset)
                    sink.store(batch, {PLACE: Advance(at, at + 1)})
                assert stored(sink) == [history[told - 1]], (told, order)


def test_a_letter_that_is_open_is_found_by_its_column(sink, letter):
    sink.positions([PLACE])
    hour = letter().failed_at + timedelta(hours=1)
    sink.store([letter(1), letter(2), letter(2, retried_at=hour)], {PLACE: Advance(0, 3)})
    query = 'select "offset" from dead_letter where retried_at is null'
    assert [record["offset"] for record in execute(sink, query)] == [1]


def stored(sink) -> list[DeadLetter]:
    columns = ", ".join(f'"{name}"' for name in DeadLetter.model_fields)
    return [DeadLetter(**dict(record)) for record in execute(sink, f"select {columns} from dead_letter")]


def execute(sink, query):
    async def work():
        return await (await sink.connected()).fetch(query)

    return sink.run(work())


def test_without_finding_there_is_a_row_all_the_same(sink, database, diagnosis):
    event = diagnosis(findings=(), status=DiagnosisStatus.OUT_OF_SCOPE, reason="CT", geometry=None)
    sink.positions([PLACE])
    sink.store([event], {PLACE: Advance(0, 1)})
    (row,) = database.diagnoses([event.image.event_id])
    assert (row.status, row.reason, row.findings, row.geometry) == ("OUT_OF_SCOPE", "CT", (), None)


def test_findings_are_read_together_the_likeliest_first(sink, database, diagnosis):
    (one,) = diagnosis().findings
    kind = one.model_copy(update={"code": "53084003", "name": "bacterial pneumonia", "probability": 0.9})
    event = diagnosis(findings=(one, kind))
    sink.positions([PLACE])
    sink.store([event], {PLACE: Advance(0, 1)})
    (row,) = database.diagnoses([event.image.event_id])
    assert [finding.name for finding in row.findings] == ["bacterial pneumonia", "pneumonia"]


def test_a_zombie_stores_nothing(site, sink, database, diagnosis):
    """Two instances believe that the partition is theirs; the one that was overtaken is told so."""
    sink.positions([PLACE])
    with PostgresSink(site.database_url.get_secret_value()) as successor:
        successor.positions([PLACE])
        successor.store([diagnosis(1)], {PLACE: Advance(0, 1)})
    with pytest.raises(PositionMoved):
        sink.store([diagnosis(2)], {PLACE: Advance(0, 1)})
    assert not database.diagnoses([diagnosis(2).image.event_id])
    assert sink.positions([PLACE]) == {PLACE: 1}


def test_a_process_that_stands_still_gives_its_locks_up(site, sink, diagnosis, monkeypatch):
    """It was stopped in its transaction; its successor has to go on."""
    sink.positions([PLACE])
    monkeypatch.setattr("sinks.postgres.IDLE_SECONDS", 1)
    with PostgresSink(site.database_url.get_secret_value()) as stopped:
        stopped.run(_stop_in_transaction(stopped))
        sink.store([diagnosis(1)], {PLACE: Advance(0, 1)})
        with pytest.raises(SinkUnavailable):
            stopped.positions([PLACE])
        assert stopped.positions([PLACE]) == {PLACE: 1}


async def _stop_in_transaction(sink):
    connection = await sink.connected()
    await connection.execute("begin")
    await connection.execute("update sink_position set next_offset = next_offset")


def test_rows_are_copied_before_positions_are_locked(site, sink, diagnosis):
    """No timeout of the server ends a COPY whose client stands still, so it must hold nothing that others wait for."""
    sink.positions([PLACE])
    locks = "select relation::regclass::text from pg_locks where relation = 'sink_position'::regclass"
    with PostgresSink(site.database_url.get_secret_value()) as other:
        seen = []
        copy = asyncpg.Connection.copy_records_to_table

        async def watched(connection, *arguments, **options):
            seen.append(await connection.fetch(locks))
            return await copy(connection, *arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncpg.Connection, "copy_records_to_table", watched)
            other.store([diagnosis(1)], {PLACE: Advance(0, 1)})
    assert seen
    assert not any(seen)


def test_rows_that_the_database_refuses_move_no_position(sink, database, diagnosis):
    sink.positions([PLACE])
    broken = diagnosis(2).model_copy(update={"status": DiagnosisStatus.DIAGNOSED, "study_uid": None})
    with pytest.raises(Unstorable):
        sink.store([diagnosis(1), broken], {PLACE: Advance(0, 2)})
    assert sink.positions([PLACE]) == {PLACE: 0}
    assert not database.diagnoses([diagnosis(1).image.event_id])


def test_text_that_postgres_cannot_hold_is_unstorable_and_not_quoted(sink, identity):
    sink.positions([PLACE])
    with pytest.raises(Unstorable) as caught:
        sink.store([identity("P-1", "Doe\x00^Jane")], {PLACE: Advance(0, 1)})
    assert "Jane" not in str(caught.value)
    sink.store([identity("P-1", "Doe^Jane")], {PLACE: Advance(0, 1)})


def test_a_value_that_no_index_holds_is_stored_all_the_same(sink, database, identity):
    sink.positions([PLACE])
    long = identity("P-1", "Doe^Jane").model_copy(update={"attributes": {"PatientID": secrets.token_hex(5000)}})
    sink.store([long], {PLACE: Advance(0, 1)})
    assert len(database.identify(long.attributes["PatientID"])) == 1


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("22021", Unstorable),
        ("23502", Unstorable),
        ("54000", Unstorable),
        ("08006", SinkUnavailable),
        ("40P01", SinkUnavailable),
        ("53100", SinkUnavailable),
        ("53300", SinkUnavailable),
        ("57P01", SinkUnavailable),
        ("28P01", DatabaseRefused),
        ("3D000", DatabaseRefused),
        ("42P01", SchemaMissing),
    ],
)
def test_each_class_of_errors_has_its_meaning(state, kind):
    error = asyncpg.PostgresError.new({"C": state, "M": "SECRET"})
    assert type(translated(error)) is kind
    assert "SECRET" not in str(translated(error))


def test_a_wrong_password_is_refused_with_advice(site):
    url = site.database_url.get_secret_value()
    wrong = url.replace(url.partition("://")[2].partition("@")[0], "radiolog:wrong", 1)
    for call in (lambda: PostgresSink(wrong).positions([PLACE]), lambda: Database(wrong).identify("x")):
        with pytest.raises(DatabaseRefused, match="RADIOLOG_DATABASE_URL"):
            call()


def test_queries_before_migration_say_what_to_do(bare_site):
    with Database(bare_site.database_url.get_secret_value()) as database, pytest.raises(SchemaMissing, match="migrate"):
        database.identify("P-1")


def test_what_is_known_of_a_study_adds_up(sink, database, identity):
    """Objects of one study carry different elements: none of them takes away what another one told."""
    first = identity("S-1", "Doe^Jane").model_copy(
        update={"attributes": {"StudyInstanceUID": "1.2", "AccessionNumber": "A1"}}
    )
    later = first.recorded_at + timedelta(hours=1)
    second = first.model_copy(update={"attributes": {"StudyInstanceUID": "1.2", "StudyID": "7"}, "recorded_at": later})
    sink.positions([PLACE])
    sink.store([first, second], {PLACE: Advance(0, 2)})
    third = first.model_copy(update={"attributes": {"StudyInstanceUID": "1.2", "StudyID": "8"}, "recorded_at": later})
    sink.store([third, first], {PLACE: Advance(2, 4)})
    (row,) = database.identify("A1")
    assert json.loads(row.attributes) == {"StudyInstanceUID": "1.2", "AccessionNumber": "A1", "StudyID": "8"}


async def end_others(url):
    connection = await asyncpg.connect(url)
    await connection.execute(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    await connection.close()


def test_a_broken_connection_is_unavailable_and_then_made_anew(site, sink, diagnosis):
    sink.positions([PLACE])
    asyncio.run(end_others(site.database_url.get_secret_value()))
    with pytest.raises(SinkUnavailable):
        sink.store([diagnosis()], {PLACE: Advance(0, 1)})
    sink.store([diagnosis()], {PLACE: Advance(0, 1)})
    assert sink.positions([PLACE]) == {PLACE: 1}


def test_a_session_that_the_server_ends_within_a_transaction_is_unavailable(site, sink, letter):
    """A process that stood still reads the answer to its last statement, and the end of its session, at once."""
    url = site.database_url.get_secret_value()

    def stand_still() -> None:
        ending = Thread(target=lambda: asyncio.run(end_others(url)))
        ending.start()
        ending.join()

    class StandsStill(Table):
        @property
        def merge(self) -> str:
            asyncio.get_running_loop().call_soon(stand_still)
            return super().merge

    sink.positions([PLACE])
    sink.tables = (StandsStill(DEAD_LETTER.name, DEAD_LETTER.columns, DEAD_LETTER.key),)
    with pytest.raises(SinkUnavailable, match="InternalClientError"):
        sink.store([letter()], {PLACE: Advance(0, 1)})
    assert sink.positions([PLACE]) == {PLACE: 0}


def test_no_server_is_unavailable():
    with PostgresSink("postgresql://radiolog@127.0.0.1:1/radiolog") as sink, pytest.raises(SinkUnavailable):
        sink.positions([PLACE])


def test_no_tables_is_an_error_that_says_what_to_do(bare_site):
    url = bare_site.database_url.get_secret_value()
    with PostgresSink(url) as sink, pytest.raises(SchemaMissing, match="radiolog database migrate"):
        sink.positions([PLACE])


def test_the_latest_identity_wins_whatever_the_order(sink, database, identity):
    old = identity("P-1", "Old^Name")
    new = identity("P-1", "New^Name", old.recorded_at + timedelta(days=1))
    sink.positions([PLACE])
    sink.store([new], {PLACE: Advance(0, 1)})
    sink.store([old], {PLACE: Advance(1, 2)})
    for identifier in ("P-1", "4711"):
        (row,) = database.identify(identifier)
        assert json.loads(row.attributes)["PatientName"] == "New^Name"


def test_a_worklist_names_the_patient_of_a_diagnosis(site, sink, diagnosis, identity):
    sink.positions([PLACE])
    sink.store([diagnosis(), identity("P-1", "Doe^Jane")], {PLACE: Advance(0, 2)})
    query = "select patient_id, patient_name, status from restricted.identified_diagnosis"
    assert asyncio.run(fetch(site, query)) == [("4711", "Doe^Jane", "DIAGNOSED")]


@pytest.mark.parametrize(("role", "may"), [("radiolog_reader", False), ("radiolog_identity", True)])
def test_only_the_identity_role_looks_pseudonyms_up(site, sink, identity, role, may):
    sink.positions([PLACE])
    sink.store([identity("P-1", "Doe^Jane")], {PLACE: Advance(0, 1)})
    url = site.database_url.get_secret_value()
    name = f"{site.app}_{role}"
    asyncio.run(fetch(site, f"create role {name} login password 'secret' in role {role}"))
    other = url.replace(url.partition("://")[2].partition("@")[0], f"{name}:secret", 1)
    try:
        with Database(other) as database:
            if may:
                assert len(database.identify("P-1")) == 1
            else:
                with pytest.raises(NotAuthorised, match="grant radiolog_identity"):
                    database.identify("P-1")
    finally:
        drop_role(site, name)


@pytest.fixture
def as_role(site):
    """The URL of the site's database for a new user who is a member of one role alone."""
    users = []

    def url_of(role: str) -> str:
        users.append(f"{site.app}_{role}")
        asyncio.run(fetch(site, f"create role {users[-1]} login password 'secret' in role {role}"))
        url = site.database_url.get_secret_value()
        return url.replace(url.partition("://")[2].partition("@")[0], f"{users[-1]}:secret", 1)

    yield url_of
    for user in users:
        drop_role(site, user)


def drop_role(site, user):
    """Once its sessions have ended: they end after their connections have, and drop their temporary tables then."""
    count = f"select count(*) from pg_stat_activity where usename = '{user}'"
    World.until(lambda: asyncio.run(fetch(site, count)) == [(0,)])
    asyncio.run(fetch(site, f"drop role {user}"))


IDENTITY_QUERIES = (
    "select attributes from restricted.identity",
    "select patient_name from restricted.identified_diagnosis",
    "insert into restricted.identity values ('P', 'PATIENT', '{}', now(), now(), '1')",
    "update restricted.identity set attributes = '{}'",
    "copy restricted.identity to stdout",
    "create view public.open as select * from restricted.identity",
)


def test_no_other_role_touches_identities(as_role):
    for role in ("radiolog_reader", "radiolog_sink"):
        url = as_role(role)
        for query in IDENTITY_QUERIES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                asyncio.run(at(url, query))


def test_who_looks_pseudonyms_up_changes_nothing(as_role):
    url = as_role("radiolog_identity")
    for query in ("update restricted.identity set attributes = '{}'", "delete from restricted.identity"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            asyncio.run(at(url, query))


def test_two_sinks_keep_what_one_does_without_each_others_rights(site, as_role, database, diagnosis, letter, identity):
    known = ("imaging.identities", 0)
    findings, identities = as_role("radiolog_sink"), as_role("radiolog_identity_sink")
    with FindingsSink(findings) as one, IdentitiesSink(identities) as other:
        one.positions([PLACE])
        other.positions([known])
        for at_offset in (0, 2):  # what comes twice is kept once
            one.store([diagnosis(), letter(2)], {PLACE: Advance(at_offset, at_offset + 2)})
            other.store([identity("P-1", "Doe^Jane")], {known: Advance(at_offset, at_offset + 2)})
        other.store([letter(3)], {known: Advance(4, 5)})  # in the place of a record that is no identity
    assert len(database.diagnoses([diagnosis().image.event_id])) == 1
    assert len(database.dead_letters([letter(2).image_event_id, letter(3).image_event_id])) == 2
    assert len(database.identify("4711")) == 1
    assert database.positions() == {PLACE: 4, known: 5}
    for query in ("select * from diagnosis", "select * from finding", "select * from restricted.identified_diagnosis"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            asyncio.run(at(identities, query))


async def at(url, query):
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(query)
    finally:
        await connection.close()


async def fetch(site, query):
    connection = await asyncpg.connect(site.database_url.get_secret_value())
    try:
        return [tuple(record) for record in await connection.fetch(query)]
    finally:
        await connection.close()


def test_migrations_go_up_twice(site):
    assert migrate(site.database_url.get_secret_value()) == []


def test_migrations_are_named(bare_site):
    applied = migrate(bare_site.database_url.get_secret_value())
    assert applied == sorted(path.name for path in (ROOT / "sinks" / "migrations").glob("*.sql"))


def test_a_migration_that_fails_says_so_without_the_password():
    with pytest.raises(MigrationFailed) as caught:
        migrate("postgresql://radiolog:hunter2@127.0.0.1:1/radiolog?connect_timeout=1", wait_seconds=1)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@/db?host=/run/pg", "postgres://u:p@/db?socket=%2Frun%2Fpg"),
        ("postgresql://u:p@db.example:5432/db", "postgres://u:p@db.example:5432/db?sslmode=disable"),
        ("postgresql://u@h/db?sslmode=verify-full", "postgres://u@h/db?sslmode=verify-full"),
    ],
)
def test_urls_as_dbmate_reads_them(url, expected):
    assert dbmate_url(url) == expected
