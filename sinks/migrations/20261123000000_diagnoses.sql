-- migrate:up

-- What models say of images; one row per diagnosis event, however often its record comes.
create table diagnosis (
    event_id          uuid primary key,
    image_event_id    uuid not null,
    image_topic       text not null,
    image_partition   integer not null,
    image_offset      bigint not null,
    patient_pseudonym text not null,
    study_uid         text not null,
    series_uid        text not null,
    sop_instance_uid  text not null,
    modality          text,
    body_part         text,
    status            text not null,
    reason            text,
    geometry          jsonb,
    scope_distance    double precision,
    scope_threshold   double precision,
    model_name        text not null,
    model_version     text not null,
    model_sha256      text not null,
    operating_point   text not null,
    spec_sha256       text not null,
    received_at       timestamptz not null,
    published_at      timestamptz not null,
    preprocessed_at   timestamptz not null,
    diagnosed_at      timestamptz not null,
    stored_at         timestamptz not null default clock_timestamp(),
    code_version      text not null
);
create index diagnosis_by_image on diagnosis (image_event_id);
create index diagnosis_by_study on diagnosis (study_uid);
create index diagnosis_by_patient on diagnosis (patient_pseudonym);
create index diagnosis_by_time on diagnosis (diagnosed_at);

create table finding (
    diagnosis_event_id uuid not null references diagnosis on delete cascade,
    code               text not null,
    name               text not null,
    probability        double precision not null check (probability between 0 and 1),
    threshold          double precision not null check (threshold between 0 and 1),
    decision           text not null,
    severity           text not null,
    area_share         double precision not null check (area_share between 0 and 1),
    explanation_height integer not null,
    explanation_width  integer not null,
    explanation        bytea not null,
    primary key (diagnosis_event_id, code)
);

-- Events that a stage could not process; the log still holds them at these coordinates.
create table dead_letter (
    event_id        uuid primary key,
    stage           text not null,
    error_class     text not null,
    reason          text not null,
    topic           text not null,
    "partition"     integer not null,
    "offset"        bigint not null,
    source_event_id uuid,
    image_event_id  uuid,
    study_uid       text,
    failed_at       timestamptz not null,
    stored_at       timestamptz not null default clock_timestamp(),
    code_version    text not null
);
create index dead_letter_by_image on dead_letter (image_event_id);

-- The next offset of each partition, moved in the transaction that stores the rows before it.
create table sink_position (
    sink        text not null,
    topic       text not null,
    "partition" integer not null,
    next_offset bigint not null,
    primary key (sink, topic, "partition")
);

-- migrate:down

drop table sink_position;
drop table dead_letter;
drop table finding;
drop table diagnosis;
