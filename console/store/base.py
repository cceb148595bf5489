"""What every table shares: typed declarative base, UTC times, the organisation that a row belongs to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, ForeignKey, Integer, MetaData, Table, text, types
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Constraints have names, so that a migration can change them on every database.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# SQLite counts rows up by itself only in a column that is declared INTEGER; its integers have 64 bits anyway.
BigId = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(types.TypeDecorator[datetime]):
    """An aware datetime, stored and given in UTC. A naive one is refused: nobody knows what it means."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware datetime to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What the database gives, as aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of all models; each has an integer `id`."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy declares it so)
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
        list[int]: JSON,
        list[dict[str, Any]]: JSON,
    }

    id: Mapped[int] = mapped_column(BigId, primary_key=True)


class OrgOwned(Base):
    """Base of every row that belongs to an organisation, which is every row but the organisations themselves."""

    __abstract__ = True

    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisation.id"), index=True)


def table_of(model: type[Base]) -> Table:
    """The table of a model, for statements on many rows at once that need no objects."""
    return cast(Table, model.__table__)


def where(condition: str) -> dict[str, Any]:
    """Arguments of an Index over the rows for which the condition, which both databases know, is true."""
    return {f"{database}_where": text(condition) for database in ("sqlite", "postgresql")}
