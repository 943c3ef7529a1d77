create table first_things (
	name text primary key
);
insert into first_things values ('a "quoted" \back\ ünïcode; text ??/ trigraph');
