"""The tables of the history, of which a file and a history in memory have the same."""

from __future__ import annotations

from bgsim.storage.large_values import MARK

STATEMENTS = (
    """
    CREATE TABLE jobs (                  -- asked for; also after their end
        id TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,            -- empty for none, as are token, idempotency_key, request_hash, webhook
        token TEXT NOT NULL,             -- the id of the token that asked
        idempotency_key TEXT NOT NULL,
        request_hash TEXT NOT NULL,      -- SHA-256
        simulation TEXT NOT NULL,
        parameters TEXT NOT NULL,        -- JSON, as in results
        seed TEXT NOT NULL,
        replicates INTEGER NOT NULL,
        options TEXT NOT NULL,           -- a JSON object: what submit was told besides
        tags TEXT NOT NULL,              -- a JSON list of texts
        webhook TEXT NOT NULL,           -- a JSON object of url, secret and events
        submitted_at TEXT NOT NULL,
        cancel_asked INTEGER NOT NULL,
        state TEXT NOT NULL,             -- empty until its end: completed, failed, cancelled
        started_at TEXT,
        ended_at TEXT,
        replicates_completed INTEGER NOT NULL,
        from_store INTEGER NOT NULL,     -- of these replicates
        retries INTEGER NOT NULL,        -- tries after the first
        error TEXT NOT NULL,             -- empty for none, as are store_error and result_hash
        store_error TEXT NOT NULL,
        result_hash TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE tokens (                -- who may ask over HTTP
        id TEXT PRIMARY KEY,
        digest TEXT NOT NULL,            -- SHA-256 of the secret, which is nowhere in the file
        role TEXT NOT NULL,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        created_at TEXT NOT NULL,
        expires_at TEXT,
        revoked_at TEXT
    ) STRICT
    """,
    """
    CREATE TABLE deliveries (            -- messages about jobs that are to be sent, or were
        id TEXT PRIMARY KEY,
        job TEXT NOT NULL,
        event TEXT NOT NULL,
        url TEXT NOT NULL,
        secret TEXT NOT NULL,            -- signs the message
        payload TEXT NOT NULL,           -- JSON
        created_at TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        due_at TEXT NOT NULL,            -- of the next attempt
        state TEXT NOT NULL,             -- pending, delivered, failed
        status INTEGER NOT NULL,         -- of the last answer; 0 if there was none
        error TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE audit (                 -- who did what over HTTP
        at TEXT NOT NULL,
        token TEXT NOT NULL,
        tenant TEXT NOT NULL,
        role TEXT NOT NULL,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        status INTEGER NOT NULL,
        detail TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX jobs_by_time ON jobs(submitted_at)",
    "CREATE INDEX jobs_by_state ON jobs(state, submitted_at)",
    "CREATE INDEX jobs_by_simulation ON jobs(simulation, submitted_at)",
    "CREATE INDEX jobs_by_tenant ON jobs(tenant, submitted_at)",
    "CREATE INDEX jobs_by_end ON jobs(ended_at) WHERE ended_at IS NOT NULL",
    "CREATE UNIQUE INDEX jobs_by_key ON jobs(token, idempotency_key) WHERE idempotency_key != ''",
    f"CREATE INDEX jobs_by_value ON jobs(parameters) WHERE instr(parameters, '{MARK}')",
    "CREATE INDEX deliveries_by_time ON deliveries(state, due_at)",
    "CREATE INDEX deliveries_by_job ON deliveries(job)",
    "CREATE INDEX audit_by_tenant ON audit(tenant)",
)
"""What makes the tables; a released one never changes."""
