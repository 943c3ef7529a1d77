-- Nothing of a batch ($1) that was ended is left to take back: nobody ($2, under epoch $3) holds it any more.
delete from leases where name = 'batch/' || $1::text and holder = $2::text and epoch = $3::bigint
