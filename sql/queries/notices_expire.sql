-- Notices whose time is over are none any more. What somebody has in hand is left for the next look: nobody is waited for in another order than theirs.
delete from notices n using (select o.ctid from notices o where o.expires_at <= now() for update skip locked) e where n.ctid = e.ctid
