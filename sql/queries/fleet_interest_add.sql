-- This worker ($2) has subscribers for a fleet ($1; '*': for all vehicles).
insert into interest (kind, key, worker) values ('fleet', $1::text, $2::text) on conflict do nothing
