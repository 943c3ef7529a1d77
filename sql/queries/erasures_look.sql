-- Takes those who were erased out of what some vehicles ($1, at most) have of them. Whether there is more to do at once.
select erasures_look($1::int)
