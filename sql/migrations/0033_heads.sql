-- As 0030 says of commands. By itself, since a migration locks what it changes until its end: nodes lock heads before commands, so whoever
-- locked both in another order would have them end each other.
alter table vehicle_heads
	drop constraint vehicle_heads_check, drop constraint vehicle_heads_check1,
	add constraint claim_is_whole check (num_nulls(claim_id, claim_worker, claim_attempt) % 3 = 0) not valid;
