-- A spread (fleet $1, notice $2, turn $3) has been settled up to a vehicle ($4), unless it began anew.
update notice_spreads set after = $4::text where fleet_id = $1::text and name = $2::text and turn = $3::xid8 and after < $4::text
