"""Makes the shared fixtures known to the tests of this folder."""

from host.fixtures import *  # noqa: F403
from threads import *  # noqa: F403
