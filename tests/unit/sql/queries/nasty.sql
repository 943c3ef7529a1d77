select 1; -- 1 % "x" \ ]] [[ ${not_a_variable} @neither@ ä
