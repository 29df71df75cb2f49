"""Dates as the project's language writes them, in one time zone: TIME_ZONE in config.py."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from deploy.environment import WORDS, ConfigError


def init_app(app):
    """Give templates the filter local_time."""
    name = app.config.get("TIME_ZONE", "UTC")
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigError("unknown_time_zone", name=name) from error
    months = WORDS["months"].split()

    @app.template_filter("local_time")
    def local_time(moment):
        """moment: a datetime with its time zone."""
        there = moment.astimezone(zone)
        return WORDS["date"].format(there=there, month=months[there.month - 1])
