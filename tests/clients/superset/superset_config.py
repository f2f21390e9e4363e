"""Superset as the test starts it: metadata in SQLite, nothing cached, one machine."""

import os

SECRET_KEY = "for tests only, for tests only, for tests only"
SQLALCHEMY_DATABASE_URI = "sqlite:///" + os.path.join(os.environ["SUPERSET_HOME"], "metadata.db")
# The test talks to its API as a program, not as a page.
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
FILTER_STATE_CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache"}
EXPLORE_FORM_DATA_CACHE_CONFIG = {"CACHE_TYPE": "SimpleCache"}
