-- migrate:up

-- For a site whose sink runs as two, so that the one that writes diagnoses cannot read whom they are of, nor the other
-- what was found: `radiolog run sink --only findings` and `--only identities`. The owner of the tables may do both.
do $$
begin
    if not exists (select from pg_roles where rolname = 'radiolog_sink') then
        create role radiolog_sink nologin;
    end if;
    if not exists (select from pg_roles where rolname = 'radiolog_identity_sink') then
        create role radiolog_identity_sink nologin;
    end if;
end
$$;
-- Rows that are there stay as they are, but for a dead letter that was retried. Conflicts are found by reading keys.
grant select, insert on diagnosis, finding to radiolog_sink;
grant select, insert, update on dead_letter, sink_position to radiolog_sink, radiolog_identity_sink;
grant usage on schema restricted to radiolog_identity_sink;
grant select, insert, update on restricted.identity to radiolog_identity_sink;

-- migrate:down

revoke all on diagnosis, finding, dead_letter, sink_position from radiolog_sink;
revoke all on dead_letter, sink_position from radiolog_identity_sink;
revoke all on restricted.identity from radiolog_identity_sink;
revoke all on schema restricted from radiolog_identity_sink;
