-- What came back unsent, of the vehicles $1, and is not to be sent any more.
select take_back($1::text[])
