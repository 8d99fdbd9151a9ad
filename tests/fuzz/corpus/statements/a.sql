-- A comment may stand here.
SELECT 1;
-- name: one
SELECT 1
-- name: on e
SELECT 2
-- name: two
-- only a comment
-- name: three
SELECT 3;
