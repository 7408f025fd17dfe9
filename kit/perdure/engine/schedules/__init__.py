"""Schedules: workflows that are started by the calendar. TEMPORAL.md, section 17.

`ranges` reads cron strings and calendar fields, `calendars` finds the times that match one calendar, `spec` joins calendars, intervals,
exclusions and jitter. All of it is pure: a specification and a time in, a time out.
"""
