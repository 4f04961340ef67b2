"""Owns the composition root of the receiver: ``gunicorn app.wsgi:flask_app``; loaded after the fork."""

import atexit
import os

from app.observability import process_metrics, tracing
from app.web.factory import create_app
from config.logs import configure_logs
from config.settings import settings

configure_logs(settings())
process_metrics.begin("web", main=os.getppid(), slot=os.getpid())
tracing.begin("web")
flask_app = create_app(settings())
atexit.register(flask_app.extensions["receiver"].close)
