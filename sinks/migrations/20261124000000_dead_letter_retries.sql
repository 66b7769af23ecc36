-- migrate:up

-- When the event was put on its topic once more; null while the letter is open, as it is again when that fails too.
alter table dead_letter add column retried_at timestamptz;
create index dead_letter_open on dead_letter (failed_at) where retried_at is null;

-- migrate:down

drop index dead_letter_open;
alter table dead_letter drop column retried_at;
