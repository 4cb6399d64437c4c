-- Where runs stand is asked for more often than anything else: without their specifications, which
-- take most of the room.

CREATE INDEX runs_by_standing ON runs (id, state, outcome);
