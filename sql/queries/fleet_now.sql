-- The moment at which a fleet's heads are read: everybody who has begun before it ($1 null), and whether all who had begun
-- before that ($1) are over.
select pg_snapshot_xmax(pg_current_snapshot())::text, $1::text is null or pg_snapshot_xmin(pg_current_snapshot()) >= $1::xid8
