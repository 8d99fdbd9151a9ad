-- name: half
-- access: sometimes
SELECT 1
-- name: two_at_once
-- access: read
SELECT ';'; -- and
SELECT 2;
-- name: latin
SELECT 'Zürich'
-- name: good
--access:write
INSERT INTO t VALUES (E'it\'s; one', $$;$$);
-- -- access: sometimes
