"""Owns `make clean`: the private servers of this home and all they kept go; a running one is left alone."""

import sys

from config.settings import tiercel_home
from deploy.local.errors import AlreadyRunning
from deploy.local.stack import Services

if __name__ == "__main__":
    services = Services(tiercel_home())
    try:
        services.lock()
    except AlreadyRunning as error:
        sys.exit(f"tiercel: {error}; stop it first")
    services.stop()
    services.destroy()
