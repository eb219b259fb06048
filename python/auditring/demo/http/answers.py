"""What DuckDB is asked of the gateway at the end."""

ANSWERS = {
    "Who touched the salaries?": """
        SELECT principal, outcome, operation, count(DISTINCT resource) AS routes, count(*) AS requests
        FROM events WHERE resource LIKE '/v1/salaries%'
        GROUP BY ALL ORDER BY requests DESC, principal""",
    "What was denied?": """
        SELECT principal, status, operation, regexp_extract(resource, '^/v1/[a-z]+') AS route,
               count(*) AS requests, count(DISTINCT session) AS sessions
        FROM events WHERE outcome = 'denied' GROUP BY ALL ORDER BY requests DESC, principal, status, route""",
    "And who did how much?": """
        SELECT principal, count(DISTINCT session) AS sessions, count(*) AS requests,
               count(*) FILTER (outcome = 'denied') AS denied, count(*) FILTER (outcome = 'failure') AS failed,
               sum(bytes) AS bytes, round(quantile_cont(duration_ns, 0.95) / 1e6, 1) AS p95_ms
        FROM events WHERE action = 'HttpRequest' GROUP BY ALL ORDER BY requests DESC, principal""",
}
