"""The programs and files by which people run dropscribe.

`cli` has the commands, `observe` health checks and metrics, `embedded` the servers of `try` and
`up`, `bootstrap` the set-up of servers, `wiring` the settings and what is made of them, `ingest`
`drop` and `transfer`, and `recovery` the repair of what stopped. `durations` reads and writes
lengths of time. `ansible` sets up hosts; `policies` has examples; `sample` has an archive to try.
"""
