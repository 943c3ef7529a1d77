-- Two statements, so that what the first did must go when the second fails.
alter table first_things add column number int;
insert into first_things values ('second', (select number from second_number));
