-- name: three
SELECT 4
