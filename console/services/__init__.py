"""The rules of the business: plain functions of session, actor and time. No web framework in here."""
