"""The channels, an explicit list: a new one is one file and one line here."""

from __future__ import annotations

from console.notify.contract import Channel
from console.notify.email import EmailChannel, SmtpSettings
from console.notify.webhook import WebhookChannel, WebhookSettings
from console.settings import Settings


def channels(settings: Settings) -> dict[str, Channel]:
    """Every channel by its name."""
    smtp = SmtpSettings(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        username=settings.smtp_username,
        password=settings.smtp_password.get_secret_value(),
        sender=settings.smtp_sender,
        ca_file=settings.smtp_ca_file,
    )
    listed: tuple[Channel, ...] = (
        EmailChannel(smtp),
        WebhookChannel(WebhookSettings(allow_private=settings.webhook_private)),
    )
    return {channel.name: channel for channel in listed}
