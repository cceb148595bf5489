"""Evidence is kept compressed: it was half of the store.

Revision 0018. A migration is history: it repeats what the models were on that day, and does not import them.
"""

from __future__ import annotations

import json
from typing import Any

import lz4.block
import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

ROWS = 500  # at a time: evidence may be large
OLD = sa.table(
    "finding_evidence",
    sa.column("id", sa.BigInteger),
    sa.column("pdus", sa.JSON),
    sa.column("pcap", sa.LargeBinary),
    sa.column("packed", sa.LargeBinary),
)


def upgrade() -> None:
    """Pack row by row into a new column, and let it take the place of the old one."""
    op.add_column("finding_evidence", sa.Column("packed", sa.LargeBinary(), nullable=True))
    connection = op.get_bind()
    write = (
        sa.update(OLD)
        .where(OLD.c.id == sa.bindparam("row"))
        .values(packed=sa.bindparam("list"), pcap=sa.bindparam("file"))
    )
    last = 0
    while found := connection.execute(
        sa.select(OLD.c.id, OLD.c.pdus, OLD.c.pcap).where(OLD.c.id > last).order_by(OLD.c.id).limit(ROWS)
    ).all():
        packed = [{"row": row.id, "list": _list(row.pdus), "file": _packed(row.pcap)} for row in found]
        connection.execute(write, packed)
        last = found[-1].id
    with op.batch_alter_table("finding_evidence") as table:
        table.drop_column("pdus")
        table.alter_column("packed", new_column_name="pdus", existing_type=sa.LargeBinary(), nullable=False)


def _list(value: list[Any]) -> bytes:
    return _packed(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() if value else b"")


def _packed(content: bytes) -> bytes:
    return lz4.block.compress(content) if content else b""
