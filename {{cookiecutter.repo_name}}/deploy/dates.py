"""Dates as the project's language writes them, in one time zone: TIME_ZONE in config.py."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from deploy.environment import WORDS, ConfigError

OF_THIS_COMPUTER = ("localtime", "posixrules")  # PostgreSQL knows no such zones


def init_app(app):
    """Give templates the filter local_time."""
    name = app.config.get("TIME_ZONE", "UTC")
    try:
        if name in OF_THIS_COMPUTER:
            raise ValueError(name)
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        raise ConfigError("unknown_time_zone", name=name) from error
    months = WORDS["months"].split()

    @app.template_filter("local_time")
    def local_time(moment):
        """moment: a datetime, of UTC where it names no time zone, or a date.

        None gives nothing.
        """
        if moment is None:
            return ""
        if not isinstance(moment, datetime):
            month = months[moment.month - 1]
            return WORDS["day"].format(there=moment, month=month)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        there = moment.astimezone(zone)
        month = months[there.month - 1]
        return WORDS["date"].format(there=there, month=month, zone=there.tzname())
