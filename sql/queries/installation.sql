-- Who this database is: the installation that a broker's namespace belongs to.
select installation from meta
