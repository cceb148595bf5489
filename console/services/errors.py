"""How a service says no. One handler in the web layer maps each to a response."""

from __future__ import annotations


class ServiceError(Exception):
    """Base. `message` is an English msgid that people may read; `values` are put into it after translation."""

    status = 400

    def __init__(self, message: str = "", **values: object) -> None:
        super().__init__(message % values if values else message)
        self.message = message
        self.values = values


class NotFoundError(ServiceError):
    """There is no such thing for whoever asks: it does not exist, or it is somebody else's. Nobody can tell which."""

    status = 404


class ForbiddenError(ServiceError):
    """The actor may see it, but may not do that."""

    status = 403


class InvalidError(ServiceError):
    """The input does not make sense."""

    status = 400


class ConflictError(ServiceError):
    """Somebody else was first."""

    status = 409
