-- Notices whose time is over are none any more.
delete from notices where expires_at <= now()
