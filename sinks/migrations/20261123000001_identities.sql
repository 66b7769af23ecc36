-- migrate:up

-- Pseudonyms and what they stand for. Nobody but members of radiolog_identity reads this schema.
create schema restricted;

create table restricted.identity (
    pseudonym    text primary key,
    kind         text not null,
    attributes   jsonb not null,
    recorded_at  timestamptz not null,
    stored_at    timestamptz not null default clock_timestamp(),
    code_version text not null
);
-- By hash: an identifier of any length fits.
create index identity_by_patient_id on restricted.identity using hash ((attributes ->> 'PatientID'));
create index identity_by_accession_number on restricted.identity using hash ((attributes ->> 'AccessionNumber'));
create index identity_by_study on restricted.identity using hash ((attributes ->> 'StudyInstanceUID'));
create index identity_by_instance on restricted.identity using hash ((attributes ->> 'SOPInstanceUID'));

-- For a worklist that must name the patient of a diagnosis.
create view restricted.identified_diagnosis as
select
    patient.attributes ->> 'PatientID'          as patient_id,
    patient.attributes ->> 'IssuerOfPatientID'  as issuer_of_patient_id,
    patient.attributes ->> 'PatientName'        as patient_name,
    study.attributes ->> 'StudyInstanceUID'     as study_instance_uid,
    study.attributes ->> 'AccessionNumber'      as accession_number,
    instance.attributes ->> 'SOPInstanceUID'    as original_sop_instance_uid,
    diagnosis.*
from diagnosis
left join restricted.identity patient on patient.pseudonym = diagnosis.patient_pseudonym
left join restricted.identity study on study.pseudonym = diagnosis.study_uid
left join restricted.identity instance on instance.pseudonym = diagnosis.sop_instance_uid;

-- Roles belong to the whole server, so another database of it may have made them already.
do $$
begin
    if not exists (select from pg_roles where rolname = 'radiolog_reader') then
        create role radiolog_reader nologin;
    end if;
    if not exists (select from pg_roles where rolname = 'radiolog_identity') then
        create role radiolog_identity nologin;
    end if;
end
$$;
grant select on diagnosis, finding, dead_letter to radiolog_reader;
grant usage on schema restricted to radiolog_identity;
grant select on restricted.identity, restricted.identified_diagnosis to radiolog_identity;

-- migrate:down

revoke all on diagnosis, finding, dead_letter from radiolog_reader;
drop view restricted.identified_diagnosis;
drop table restricted.identity;
drop schema restricted;
