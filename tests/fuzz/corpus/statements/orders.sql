-- Named statements: a service calls `run` with a name and parameters, and a grant can allow these
-- alone. Each begins with a heading; names are unique over all files of this directory.

-- name: orders_by_customer
-- The newest orders of one customer.
SELECT id, placed, total
FROM orders
WHERE customer = :customer
ORDER BY placed DESC
LIMIT :limit;

-- name: turnover_by_month
SELECT strftime('%Y-%m', placed) AS month, sum(total) AS total
FROM orders
GROUP BY month
ORDER BY month;
