-- The wake-up that a provider ($1) knows by a message id ($2); the newest, should it count anew.
select u.vehicle_id, u.id from wakeups u where u.provider = $1::text and u.message_id = $2::text order by u.created_at desc limit 1
