"""Evidence is kept compressed: it was half of the store.

Revision 0015. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

ROWS = 500  # at a time: evidence may be large
OLD = sa.table(
    "finding_evidence",
    sa.column("id", sa.BigInteger),
    sa.column("frames", sa.JSON),
    sa.column("pdus", sa.JSON),
    sa.column("pcap", sa.LargeBinary),
    sa.column("frames_packed", sa.LargeBinary),
    sa.column("pdus_packed", sa.LargeBinary),
)


def upgrade() -> None:
    """Pack row by row into new columns, and let these take the places of the old ones."""
    for name in ("frames_packed", "pdus_packed"):
        op.add_column("finding_evidence", sa.Column(name, sa.LargeBinary(), nullable=True))
    connection = op.get_bind()
    write = (
        sa.update(OLD)
        .where(OLD.c.id == sa.bindparam("row"))
        .values({name: sa.bindparam(name) for name in ("frames_packed", "pdus_packed", "pcap")})
    )
    last = 0
    while found := connection.execute(
        sa.select(OLD.c.id, OLD.c.frames, OLD.c.pdus, OLD.c.pcap).where(OLD.c.id > last).order_by(OLD.c.id).limit(ROWS)
    ).all():
        connection.execute(
            write,
            [
                {
                    "row": row.id,
                    "frames_packed": _list(row.frames),
                    "pdus_packed": _list(row.pdus),
                    "pcap": _packed(row.pcap),
                }
                for row in found
            ],
        )
        last = found[-1].id
    with op.batch_alter_table("finding_evidence") as table:
        for name in ("frames", "pdus"):
            table.drop_column(name)
            table.alter_column(f"{name}_packed", new_column_name=name, existing_type=sa.LargeBinary(), nullable=False)


def _list(value: list[Any]) -> bytes:
    return _packed(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() if value else b"")


def _packed(content: bytes) -> bytes:
    return zlib.compress(content, 1) if content else b""
