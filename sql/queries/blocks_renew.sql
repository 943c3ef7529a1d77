-- The broker may know nobody any more: who is shut out is told anew.
update blocks set published = 0 where blocked and published > 0
