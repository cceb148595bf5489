"""The embedded index takes the place of the text that was searched by its letters.

Revision 0009. A migration is history: it repeats what the models were on that day, and does not import them. The tokens
of the findings that are there are made afterwards (console.store.search.embedded.catch_up).
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

# Every sign that can stand in a token; white space alone parts them.
SIGNS = "".join(chr(code) for code in range(0x21, 0x7F) if not chr(code).isalnum())


def upgrade() -> None:
    """Make the table of tokens (its trigger: console.store.search.embedded.install)."""
    if op.get_bind().dialect.name == "sqlite":
        signs = SIGNS.replace("'", "''")
        tokenizer = f"ascii tokenchars '{signs}'".replace("'", "''")
        op.get_bind().exec_driver_sql(
            f"CREATE VIRTUAL TABLE finding_search USING fts5(words, tokenize = '{tokenizer}')"
        )
    else:
        op.execute(
            "CREATE TABLE finding_search (rowid BIGINT PRIMARY KEY REFERENCES finding (id) ON DELETE CASCADE, "
            "words TEXT NOT NULL, vector TSVECTOR NOT NULL "
            "GENERATED ALWAYS AS (array_to_tsvector(string_to_array(words, ' '))) STORED)"
        )
        op.execute("CREATE INDEX ix_finding_search_vector ON finding_search USING gin (vector)")
    op.execute("ALTER TABLE finding DROP COLUMN search_text")
