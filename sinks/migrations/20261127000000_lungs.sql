-- migrate:up

-- Where the lungs are: lungs_height x lungs_width bytes, row by row, 255 for certain; null where the model did not run.
alter table diagnosis add column lungs_height integer, add column lungs_width integer, add column lungs bytea;

-- migrate:down

alter table diagnosis drop column lungs_height, drop column lungs_width, drop column lungs;
