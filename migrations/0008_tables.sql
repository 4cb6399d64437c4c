-- The table of runs whose fits an experiment without a file holds, by its whole path; NULL of others.
ALTER TABLE experiments ADD COLUMN source TEXT;
